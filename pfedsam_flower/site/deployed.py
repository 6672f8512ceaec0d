"""What a site deploys after a run: final shared + its personal, tried on one of its own test cases."""

import json
from pathlib import Path

import numpy as np
import torch

from ..data.samples import load_site
from ..errors import StoreError
from ..model.build import build
from ..model.exchange import import_shared, load_personal
from ..prediction.predictor import predict_logits
from ..settings.site import SiteSettings
from . import store
from .hello import run_settings
from .paths import split_path, store_folder
from .work import binding

MaskTriple = tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]


def newest_shared(run_folder: Path) -> Path:
    """The shared parameters of the newest whole round of a run.

    Raises:
        StoreError: PFS-603 when the run has none.
    """
    found = sorted(run_folder.glob("round-*/shared.safetensors"))
    if not found:
        raise StoreError("PFS-603", "the run has no finished round", where=str(run_folder))
    return found[-1]


def example_predictions(site: SiteSettings, run_folder: Path) -> MaskTriple:
    """One test slice of the site and what each model marks on it; the last class, where it is largest.

    Returns:
        image float32 [H, W] or [H, W, 3] in 0..255, reference bool [H, W], and masks bool [H, W] named
        ``alone``, ``global``, ``personalised`` (those that exist).

    Raises:
        PfedsamError: data, checkpoint or store.
    """
    from safetensors.numpy import load_file

    torch.set_num_threads(site.threads)
    run = run_settings(json.loads((run_folder / "settings.json").read_text(encoding="utf-8")))
    built = build(run, site.checkpoint, site.device)
    data = load_site(site, run, split_path(site, run.federation.name), parts=("test",))
    folder = store_folder(site, run.federation.name, run.method)
    kept = store.newest(folder, binding(run, site, built))
    if kept is None:
        raise StoreError("PFS-603", "the site has no personal state for this run", where=str(folder))
    personal = kept[1]
    case, place = max(
        ((case, int(d)) for case in data.test for d in range(len(case.image))),
        key=lambda found: int(found[0].target[-1, found[1]].sum()),
    )
    one = case.image[place : place + 1]
    shared = load_file(newest_shared(run_folder))["shared"]
    import_shared(built.model, built.contract, shared)
    load_personal(built.model, built.roles, personal.tensors)
    masks = {"global": predict_logits(built.model, one, personal=False)[-1, 0] > 0}
    if built.model.experts:
        masks["personalised"] = predict_logits(built.model, one, personal=True)[-1, 0] > 0
    if personal.alone is not None:
        import_shared(built.model, built.contract, personal.alone)
        masks["alone"] = predict_logits(built.model, one, personal=False)[-1, 0] > 0
    image = one[0] if one.shape[-1] == 3 else one[0, :, :, 0]
    return image, case.target[-1, place], masks
