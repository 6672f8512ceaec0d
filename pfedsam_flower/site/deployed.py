"""What a site deploys after a run: final shared + its personal, tried on one of its own test cases."""

from pathlib import Path

import numpy as np

from ..contract.methods import METHODS
from ..data.samples import load_site
from ..errors import StoreError
from ..model.exchange import import_shared, load_personal
from ..prediction.predictor import predict_logits
from ..settings.site import SiteSettings
from . import store
from .paths import cache_path, split_path, store_folder
from .trained import open_global
from .work import binding

MaskTriple = tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]


def example_predictions(site: SiteSettings, run_folder: Path) -> MaskTriple:
    """One test slice of the site and what each model marks on it; the last class, where it is largest.

    Returns:
        image float32 [H, W] or [H, W, 3] in 0..255, reference bool [H, W], and masks bool [H, W] named
        ``alone``, ``global``, ``personalised`` (those that exist).

    Raises:
        PfedsamError: data, checkpoint or store.
    """
    trained = open_global(run_folder, site)
    run, built = trained.run, trained.built
    data = load_site(
        site,
        run,
        split_path(site, run.federation.name),
        parts=("test",),
        cache=cache_path(site, run.federation.name),
    )
    folder = store_folder(site, run.federation.name, run.method)
    kept = store.newest(folder, binding(run, site, built))
    if kept is None:
        raise StoreError("PFS-603", "the site has no personal state for this run", where=str(folder))
    personal = kept[1]
    case, place = max(
        ((case, int(d)) for case in data.test for d in range(len(case.image))),
        key=lambda found: int(found[0].target[-1, found[1]].sum()),
    )
    rule = trained.rule
    first = max(0, place - rule.neighbours)
    around = case.image[first : place + rule.neighbours + 1]

    def marked(*, personal: bool) -> np.ndarray:
        logits = predict_logits(built.model, around, rule, case.spacing_mm, personal=personal)
        return logits[-1, place - first] > 0

    load_personal(built.model, built.roles, personal.tensors)
    masks = {"global": marked(personal=False)}
    if personal.own is not None:
        import_shared(built.model, built.contract, personal.own)
    if METHODS[run.method].has_personal:
        masks["personalised"] = marked(personal=bool(METHODS[run.method].personal))
    if personal.alone is not None:
        import_shared(built.model, built.contract, personal.alone)
        masks["alone"] = marked(personal=False)
    image = case.image[place] if case.image.shape[-1] == 3 else case.image[place, :, :, 0]
    return image, case.target[-1, place], masks
