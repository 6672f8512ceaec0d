"""What the models of a site are worth: on validation in each round, on its test cases at the end."""

import hashlib
from time import perf_counter

import numpy as np

from ..contract.methods import METHODS
from ..contract.schema import digest
from ..data.cases import CaseData
from ..data.fitting import input_rule
from ..evaluation.score import Tally, chosen_mix, mixed
from ..learning.losses import teacher_quality
from ..model.exchange import import_shared
from ..prediction.predictor import decoder_logits, enlarged
from .recall import Arrays
from .scores import CaseScore, case_scores
from .store import Personal
from .training import Work


def validate(work: Work, personal: Personal) -> float:
    """Validation Dice of the models as they are, noted; returns the teacher's quality."""
    start = perf_counter()
    tallies = {name: Tally() for name in _models(work, personal)}
    for case in work.data.validation:
        for name, values in _logits(work, case, personal).items():
            tallies[name].add(case, values)
    scores = {name: one.dice for name, one in tallies.items()}
    for name, score in scores.items():
        work.note(f"validation.dice.{name}", score)
    work.spent("evaluate", start)
    return teacher_quality(scores.get("global"), scores.get("personal"))


def close(work: Work, personal: Personal) -> list[CaseScore]:
    """The mixes chosen on validation, then the test scores of every model and mix; the means are noted.

    ``deployed`` mixes all models; ``blend``, where one was trained alone, those that the federation made.
    """
    start = perf_counter()
    models = _models(work, personal)
    groups = {"deployed": models}
    if len(models) == 3:
        groups["blend"] = [name for name in models if name != "alone"]
    tallies = {name: Tally() for name in models}
    for case in work.data.validation:
        for name, values in _logits(work, case, personal).items():
            tallies[name].add(case, values)
    for name, one in tallies.items():
        work.note(f"validation.dice.{name}", one.dice)
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

    pixels = hashlib.sha256(np.ascontiguousarray(case.image).tobytes()).hexdigest()
    found = work.recalled(["logits", case.case.id, pixels, case.spacing_mm, digest(packed)], make)
    height, width = (int(n) for n in found["valid"])
    return enlarged(
        found["logits"], work.run.image.size, (height, width), case.image.shape[1:3], model.device
    )


def _predicted(work: Work, case: CaseData, own: np.ndarray | None) -> np.ndarray:
    """Logits of the personalised model, with the site's own copy of the shared parameters if it has one."""
    if own is not None:
        import_shared(work.built.model, work.built.contract, own)
    try:
        logits, valid = _decoded(work, case, personal=True)
    finally:
        if own is not None:
            import_shared(work.built.model, work.built.contract, work.broadcast)
    return enlarged(logits, work.run.image.size, valid, case.image.shape[1:3], work.built.model.device)


def _decoded(work: Work, case: CaseData, *, personal: bool) -> tuple[np.ndarray, tuple[int, int]]:
    model = work.built.model
    rule = input_rule(work.run.image, model.pixels.stretch)
    return decoder_logits(model, case.image, rule, case.spacing_mm, personal=personal)
