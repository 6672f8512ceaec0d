"""What the models of a site are worth: on validation in each round, on its test cases at the end."""

import hashlib
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
import torch

from ..contract.methods import METHODS
from ..contract.schema import digest
from ..data.cases import CaseData
from ..data.fitting import input_rule
from ..evaluation.score import Tally, chosen_mix, mixed
from ..model.exchange import import_shared
from ..prediction.predictor import Tokens, decoder_logits, enlarged, made
from .recall import Arrays, forgetful, tensors_digest
from .scores import CaseScore, case_scores
from .store import Personal
from .training import Work


def validate(work: Work, personal: Personal) -> None:
    """Validation Dice of the models as they are, noted; it decides how far they may teach in this round."""
    start = perf_counter()
    work.validated = {name: one.dice for name, one in _validation(work, personal).items()}
    work.spent("evaluate", start)


def close(work: Work, personal: Personal) -> list[CaseScore]:
    """The mixes chosen on validation, then the test scores of every model and mix; the means are noted.

    ``deployed`` mixes all models; ``blend``, where one was trained alone, those that the federation made.
    """
    start = perf_counter()
    models = _models(work, personal)
    groups = {"deployed": models}
    if len(models) == 3:
        groups["blend"] = [name for name in models if name != "alone"]
    tallies = _validation(work, personal)
    chosen = {group: chosen_mix({name: tallies[name] for name in names}) for group, names in groups.items()}
    work.metrics |= {f"mix.{name}": share for name, share in chosen["deployed"].items()}
    tested = {name: Tally() for name in (*models, *chosen)}
    rows: list[CaseScore] = []
    surface = work.run.evaluation.surface
    for case in work.data.test:
        logits = _logits(work, case, personal)
        mixtures = {group: _mixed(logits, mix) for group, mix in chosen.items()}
        for name, values in (logits | mixtures).items():
            tested[name].add(case, values)
            rows += case_scores(name, case, values, work.run.classes, surface=surface)
    for name, one in tested.items():
        work.note(f"test.dice.{name}", one.dice)
        work.metrics[f"test.marked.{name}"] = float(one.marked)
        work.metrics["test.empty"] = float(one.empty)
        work.metrics["test.undefined"] = float(sum(o.dice is None for o in one.overlaps.values()))
    work.metrics["test.cases"] = float(len(work.data.test))
    work.spent("evaluate", start)
    return rows


def _validation(work: Work, personal: Personal) -> dict[str, Tally]:
    """What the validation cases say of each model; Dice is noted."""
    tallies = {name: Tally() for name in _models(work, personal)}
    for case in work.data.validation:
        for name, values in _logits(work, case, personal).items():
            tallies[name].add(case, values)
    for name, one in tallies.items():
        work.note(f"validation.dice.{name}", one.dice)
    return tallies


def _mixed(logits: dict[str, np.ndarray], mix: dict[str, float]) -> np.ndarray:
    return mixed({name: logits[name] for name in mix}, mix)


def _models(work: Work, personal: Personal) -> list[str]:
    """Names of the models that are scored: those of the method, and alone where it is trained."""
    method = METHODS[work.run.method]
    found = ["global"] if method.has_global else []
    # a copy that is made in the closing round is not there before
    if method.personal or personal.own is not None:
        found.append("personal")
    if work.trains_alone and personal.alone is not None:
        found.append("alone")
    return found


def _logits(work: Work, case: CaseData, personal: Personal) -> dict[str, np.ndarray]:
    """One case's logits per model, float32 [K, D, H, W] each."""
    found = {}
    for name in _models(work, personal):
        if name == "personal" and METHODS[work.run.method].personal:
            found[name] = _predicted(work, case, personal.own)
        elif name == "global":
            found[name] = _of_shared(work, case, work.broadcast)
        else:
            packed = personal.alone if name == "alone" else personal.own
            assert packed is not None
            found[name] = _of_shared(work, case, packed)
    return found


def _of_shared(work: Work, case: CaseData, packed: np.ndarray) -> np.ndarray:
    """Logits of the global model with these shared parameters; the broadcast is back in place afterwards."""
    model, contract = work.built.model, work.built.contract

    def make() -> Arrays:
        import_shared(model, contract, packed)
        try:
            logits, valid = _decoded(work, case, personal=False)
        finally:
            import_shared(model, contract, work.broadcast)
        return {"logits": logits, "valid": np.array(valid)}

    found = work.recalled(["logits", *_known_by(case), digest(packed)], make)
    height, width = (int(n) for n in found["valid"])
    return enlarged(
        found["logits"], work.run.image.size, (height, width), case.image.shape[1:3], model.device
    )


def _predicted(work: Work, case: CaseData, own: np.ndarray | None) -> np.ndarray:
    """Logits of the personalised model, with the site's own copy of the shared parameters if it has one."""
    if own is not None:
        import_shared(work.built.model, work.built.contract, own)
    try:
        # a copy of its own is no other row's
        tokens = _remembered(work, case) if own is None else made
        logits, valid = _decoded(work, case, personal=True, tokens=tokens)
    finally:
        if own is not None:
            import_shared(work.built.model, work.built.contract, work.broadcast)
    return enlarged(logits, work.run.image.size, valid, case.image.shape[1:3], work.built.model.device)


def _decoded(
    work: Work, case: CaseData, *, personal: bool, tokens: Tokens = made
) -> tuple[np.ndarray, tuple[int, int]]:
    model = work.built.model
    rule = input_rule(work.run.image, model.pixels.stretch)
    return decoder_logits(model, case.image, rule, case.spacing_mm, personal=personal, tokens=tokens)


def _remembered(work: Work, case: CaseData) -> Tokens:
    """What the first block with experts sees of a case: computed once for all rows that share the trunk.

    Training has no use for it, for each of its steps augments the images anew.
    """
    model = work.built.model
    # a GPU makes tokens faster than a disk gives them
    if work.recall is forgetful or model.device.type != "cpu":
        return made
    trunk = tensors_digest(model.trunk_state(work.built.roles))
    known = [*_known_by(case), model.first_personal_block, trunk]

    def tokens(first: int, make: Callable[[], torch.Tensor]) -> torch.Tensor:
        found = work.recalled(["tokens", first, *known], lambda: {"tokens": make().numpy()})
        return torch.from_numpy(found["tokens"])

    return tokens


def _known_by(case: CaseData) -> list[Any]:
    pixels = hashlib.sha256(np.ascontiguousarray(case.image).tobytes()).hexdigest()
    return [case.case.id, pixels, case.spacing_mm]
