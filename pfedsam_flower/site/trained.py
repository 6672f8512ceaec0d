"""A run's models when it has ended: the final shared parameters, with a site's personal ones or without."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from ..contract.messages import RoundReply
from ..contract.methods import METHODS
from ..contract.schema import digest
from ..data.fitting import InputRule, Spacing, input_rule
from ..errors import ContractError, PfedsamError, SettingsError, StoreError
from ..evaluation.score import as_logits, weighted
from ..model.build import Built, build
from ..model.exchange import import_shared, load_personal
from ..prediction.predictor import predict_logits
from ..settings.run import RunSettings
from ..settings.site import SiteSettings
from . import store
from .hello import run_settings
from .paths import store_folder
from .rounds import newest_round
from .work import binding

Which = Literal["deployed", "personalised", "global"]


@dataclass(frozen=True, eq=False)
class Trained:
    """A run's model, ready to be asked.

    Attributes:
        built: with the run's final shared parameters in it, and the site's personal ones.
        round: number of the shared parameters.
        shares: of ``global``, ``personal`` and ``alone`` in the logits; they sum to 1.
        shared: packed, float32 [n_values].
        copies: the same of other models by name: ``alone``, trained at the site only; ``personal`` where the
            method ends with a copy of the shared parameters.
    """

    run: RunSettings
    built: Built
    round: int
    shares: dict[str, float]
    shared: np.ndarray
    copies: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def rule(self) -> InputRule:
        """How a slice becomes the network's square."""
        return input_rule(self.run.image, self.built.model.pixels.stretch)

    def __str__(self) -> str:
        mix = ", ".join(f"{name} {share:.2f}" for name, share in sorted(self.shares.items()))
        return f"federation {self.run.federation.name}, round {self.round}: {mix}"


def open_trained(
    run_folder: Path, which: Which, site: SiteSettings | None = None, checkpoint: str = ""
) -> Trained:
    """The model of a run.

    Args:
        run_folder: the coordinator's, or a copy: settings.json, contract.json, the newest round's folder.
        which: ``deployed``, the mix that the site chose in the closing round; ``personalised``, the final
            shared parameters with the site's personal ones; ``global``, the shared ones alone.
        site: whose models, device and backbone weights; only ``global`` can do without.
        checkpoint: path of the backbone's weights, before the site's own.

    Raises:
        SettingsError: PFS-103 when there is no such model.
        CheckpointError: PFS-301 … PFS-304.
        ContractError: PFS-401 when the backbone or the software is not the one that was trained.
        StoreError: PFS-601 foreign personal state, PFS-603 something is missing or damaged.
    """
    if which != "global" and site is None:
        raise SettingsError(
            "PFS-103",
            f"the {which} model is a site's own, and no site is named",
            hint="name it with --sites FILE --site NAME, or ask for --model global",
        )
    trained = open_global(run_folder, site, checkpoint)
    run, built = trained.run, trained.built
    if which == "global" and not METHODS[run.method].has_global:
        raise SettingsError("PFS-103", f"what {run.method} averages is no model without a site's own part")
    if which == "global" or site is None:
        return trained
    if which == "personalised" and not METHODS[run.method].has_personal:
        raise SettingsError("PFS-103", f"a run of {run.method} has no personal parameters")
    personal, closing = _closed(site, trained)
    load_personal(built.model, built.roles, personal.tensors)
    copies = {"alone": personal.alone, "personal": personal.own}
    trained = replace(trained, copies={k: v for k, v in copies.items() if v is not None})
    if which == "personalised":
        return replace(trained, shares={"personal": 1.0})
    shares = {
        name.removeprefix("mix."): share
        for name, share in closing.metrics.items()
        if name.startswith("mix.") and share > 0
    }
    if not shares:
        raise StoreError("PFS-603", "the site's closing round says no mix", where=str(run_folder))
    return replace(trained, shares=shares)


def open_global(run_folder: Path, site: SiteSettings | None = None, checkpoint: str = "") -> Trained:
    """The model with a run's final shared parameters; see ``open_trained``."""
    run = _settings(run_folder)
    number, shared = _newest(run_folder)
    if site is not None:
        torch.set_num_threads(site.threads)
    built = build(run, checkpoint or (site.checkpoint if site else ""), site.device if site else "cpu")
    _check_contract(run_folder, built)
    import_shared(built.model, built.contract, shared)
    return Trained(run, built, number, {"global": 1.0}, shared)


def mixed_logits(trained: Trained, image: np.ndarray, spacing_mm: Spacing) -> np.ndarray:
    """The logits of the mix on the grid of the slices, float32 [K, D, H, W]; a mask is ``logits > 0``.

    Args:
        image: float32 [D, H, W, C] in 0..255, as ``data.cases.prepare_image`` gives it.
        spacing_mm: between slices, rows and columns.
    """
    model, contract = trained.built.model, trained.built.contract
    total: np.ndarray | None = None
    for name, share in sorted(trained.shares.items()):
        copy = trained.copies.get(name)
        if copy is not None:
            import_shared(model, contract, copy)
        try:
            on = name == "personal"  # changes nothing where a copy is all that the method keeps
            logits = predict_logits(model, image, trained.rule, spacing_mm, personal=on)
        finally:
            if copy is not None:
                import_shared(model, contract, trained.shared)
        if len(trained.shares) == 1:
            return logits
        part = weighted(logits, share)
        total = part if total is None else np.add(total, part, out=total)
    assert total is not None
    return as_logits(total)


def _settings(run_folder: Path) -> RunSettings:
    path = run_folder / "settings.json"
    try:
        return run_settings(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, AttributeError, PfedsamError) as error:
        raise StoreError(
            "PFS-603",
            f"the run's settings cannot be read: {error}",
            where=str(path),
            hint="name the folder of one run, the one that holds settings.json and round-0001",
        ) from error


def _newest(run_folder: Path) -> tuple[int, np.ndarray]:
    found = newest_round(run_folder)
    if found is None or found[0] == 0:  # round 0 is what everybody started from
        raise StoreError("PFS-603", "the run has no finished round", where=str(run_folder))
    return found


def _check_contract(run_folder: Path, built: Built) -> None:
    path = run_folder / "contract.json"
    try:
        agreed = path.read_bytes()
    except OSError as error:
        raise StoreError("PFS-603", f"the run's contract cannot be read: {error}", where=str(path)) from error
    if agreed != built.contract.to_json().encode():
        raise ContractError(
            "PFS-401",
            "the run was trained on other backbone weights, or with other software, than are here",
            where=str(path),
            hint="name the weights that the run was started with (--checkpoint), or install its release",
        )


def _closed(site: SiteSettings, trained: Trained) -> tuple[store.Personal, RoundReply]:
    """The site's personal parameters that were fitted to these shared ones, and what it said then."""
    run, built, number = trained.run, trained.built, trained.round
    folder, bound = store_folder(site, run.federation.name, run.method), binding(run, site, built)
    kept = store.newest(folder, bound)
    said = store.stored_reply(folder, bound, "close", number + 1, digest(trained.shared), None)
    if kept is None or said is None or kept[0] != number + 1:
        last = "nothing" if kept is None else f"personal parameters of round {kept[0]}"
        raise StoreError(
            "PFS-603",
            f"{site.site} has no personal parameters for the shared ones of round {number}: its closing "
            f"round is missing; there is {last}",
            where=str(folder),
            hint="let the run finish with this site, or ask for --model global",
        )
    return kept[1], said[0]
