"""One round at a site, from broadcast to delta. No Flower, no clock but a stopwatch, no disk.

Both phases start from the broadcast, because what a hospital deploys is *final shared + its personal*:
personal parameters must fit parameters that came from the server (method.md A11 to A13).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter

import numpy as np
from torch import Tensor

from ..contract.checks import euclidean_norm
from ..contract.messages import Timings
from ..contract.methods import METHODS
from ..data.cases import CaseData
from ..data.fitting import input_rule
from ..data.samples import SiteData
from ..data.transforms import augment
from ..evaluation.score import Tally, candidates, choose_mix, mixed, shrunk
from ..learning.batches import Batch, batches
from ..learning.losses import teacher_quality, warmed
from ..learning.phases import global_phase, local_phase
from ..learning.seeds import derive
from ..model.build import Built
from ..model.exchange import export_shared, import_shared, load_personal, personal_state
from ..prediction.predictor import predict_logits
from ..settings.run import RunSettings
from .store import Personal


@dataclass(frozen=True)
class RoundResult:
    """What a round gave. ``delta`` is float32 [n_values], None for the closing round."""

    delta: np.ndarray | None
    personal: Personal
    metrics: dict[str, float]
    seconds: Timings


def site_round(
    kind: str,
    number: int,
    broadcast: np.ndarray,
    built: Built,
    data: SiteData,
    personal: Personal | None,
    run: RunSettings,
    site: str,
) -> RoundResult:
    """Both phases of a training round, or the closing round's local phase and final scores.

    The same arguments give the same result, to the bit on a CPU with the same number of threads.

    Args:
        kind: ``train`` or ``close``.
        number: 1 … rounds, rounds + 1 for ``close``.
        broadcast: the shared parameters from the server, float32 [n_values].
        built: the model; left with the broadcast and the new personal parameters in it.
        personal: the site's state after its last round, None at its first.
    """
    work = _Work(number, broadcast, built, data, run, site)
    personal = personal or _fresh(built)
    import_shared(built.model, built.contract, broadcast)
    load_personal(built.model, built.roles, personal.tensors)
    quality = 1.0
    if kind == "train" and (number - 1) % run.evaluation.every == 0:
        quality = work.validate(personal)
    personalise = METHODS[run.method].local_phase and number >= run.training.personal_from
    delta = None
    if kind == "close":
        if personalise:
            personal = work.local(personal, quality)
        if run.evaluation.alone:
            personal = work.alone(personal, run.training.local_steps)
        work.close(personal)
    else:
        order = ["local", "global"] if run.training.phase_order == "local-first" else ["global", "local"]
        for phase in order:
            if phase == "global":
                delta = work.global_()
            elif personalise:
                personal = work.local(personal, quality)
        if run.evaluation.alone:
            personal = work.alone(personal, run.training.global_steps + run.training.local_steps)
    return RoundResult(delta, personal, work.metrics, Timings(**work.seconds))


def _fresh(built: Built) -> Personal:
    """The state of a site that starts: fresh experts, and the common start for the model alone."""
    return Personal(personal_state(built.model, built.roles), {}, export_shared(built.model, built.contract))


class _Work:
    """The parts of one round; collects numbers and seconds on the way."""

    def __init__(
        self, number: int, broadcast: np.ndarray, built: Built, data: SiteData, run: RunSettings, site: str
    ) -> None:
        self.number, self.broadcast, self.built, self.data, self.run = number, broadcast, built, data, run
        self.site = site
        self.metrics: dict[str, float] = {}
        self.seconds: dict[str, float] = {}

    def global_(self) -> np.ndarray:
        """The delta of a global phase."""
        start = perf_counter()
        model, contract = self.built.model, self.built.contract
        drawn = self._draw("global", self.run.training.global_steps)
        result = global_phase(model, self.built.roles, drawn, self.run.training)
        delta = export_shared(model, contract) - self.broadcast
        import_shared(model, contract, self.broadcast)
        self._note("loss.global", result.loss)
        self._spent("global_", start)
        return delta

    def local(self, personal: Personal, quality: float) -> Personal:
        """The personal state after a local phase on the frozen broadcast."""
        start = perf_counter()
        model, run = self.built.model, self.run
        weight = 0.0
        if run.distillation.direction == "global-to-personal":
            weight = quality * warmed(run.distillation.weight, self.number, run.distillation.warmup_rounds)
        drawn = self._draw("local", run.training.local_steps)
        result = local_phase(
            model,
            self.built.roles,
            drawn,
            run.training,
            weight,
            run.distillation.temperature,
            personal.optimiser,
        )
        self._note("loss.local", result.loss)
        self.metrics["distillation.weight"] = weight
        entropies = [_relative_entropy(e.usage) for e in model.experts if e.usage is not None]
        if entropies:
            self.metrics["gate.entropy"] = sum(entropies) / len(entropies)
        self._spent("local", start)
        return replace(personal, tensors=personal_state(model, self.built.roles), optimiser=result.optimiser)

    def alone(self, personal: Personal, steps: int) -> Personal:
        """The model trained without the federation, a round further."""
        start = perf_counter()
        model, contract = self.built.model, self.built.contract
        if personal.alone is None:
            raise ValueError("the model trained alone was not kept")
        import_shared(model, contract, personal.alone)
        result = global_phase(model, self.built.roles, self._draw("alone", steps), self.run.training)
        alone = export_shared(model, contract)
        import_shared(model, contract, self.broadcast)
        self._note("loss.alone", result.loss)
        self._spent("alone", start)
        return replace(personal, alone=alone)

    def validate(self, personal: Personal) -> float:
        """Validation Dice of the models as they are; returns the teacher's quality."""
        start = perf_counter()
        tallies = {name: Tally() for name in self._models(personal)}
        for case in self.data.validation:
            for name, values in self._logits(case, personal).items():
                tallies[name].add(case, values)
        scores = {name: one.dice for name, one in tallies.items()}
        for name, score in scores.items():
            self._note(f"validation.dice.{name}", score)
        self._spent("evaluate", start)
        return teacher_quality(scores["global"], scores.get("personal"))

    def close(self, personal: Personal) -> None:
        """The mix chosen on validation, then the test scores of every model and of the mix."""
        start = perf_counter()
        models = self._models(personal)
        mixes = candidates(models)
        tallies, tried = {name: Tally() for name in models}, [Tally() for _ in mixes]
        for case in self.data.validation:
            logits = self._logits(case, personal)
            for name, values in logits.items():
                tallies[name].add(case, values)
            for mix, one in zip(mixes, tried, strict=True):
                one.add(case, mixed(logits, mix))
        for name, one in tallies.items():
            self._note(f"validation.dice.{name}", one.dice)
        best = choose_mix(mixes, [one.dice for one in tried])
        chosen = shrunk(best, len(self.data.split.validation))
        self.metrics |= {f"mix.{name}": share for name, share in chosen.items()}
        tested = {name: Tally() for name in (*models, "deployed")}
        for case in self.data.test:
            logits = self._logits(case, personal)
            for name, values in (logits | {"deployed": mixed(logits, chosen)}).items():
                tested[name].add(case, values)
        for name, one in tested.items():
            self._note(f"test.dice.{name}", one.dice)
            self.metrics[f"test.marked.{name}"] = float(one.marked)
            self.metrics["test.empty"] = float(one.empty)
            self.metrics["test.undefined"] = float(sum(o.dice is None for o in one.overlaps.values()))
        self.metrics["test.cases"] = float(len(self.data.test))
        self._spent("evaluate", start)

    def _models(self, personal: Personal) -> list[str]:
        """Names of the models that are scored: personal where there is one, alone where it is trained."""
        alone = self.run.evaluation.alone and personal.alone is not None
        return ["global"] + ["personal"] * bool(self.built.model.experts) + ["alone"] * alone

    def _logits(self, case: CaseData, personal: Personal) -> dict[str, np.ndarray]:
        """One case's logits per model."""
        model, contract = self.built.model, self.built.contract
        rule = input_rule(self.run.image, model.pixels.stretch)
        predict: Callable[..., np.ndarray] = partial(predict_logits, model, case.image, rule, case.spacing_mm)
        logits = {"global": predict(personal=False)}
        if model.experts:
            logits["personal"] = predict(personal=True)
        if self.run.evaluation.alone and personal.alone is not None:
            import_shared(model, contract, personal.alone)
            logits["alone"] = predict(personal=False)
            import_shared(model, contract, self.broadcast)
        return logits

    def _draw(self, purpose: str, steps: int) -> Iterator[Batch]:
        training, model = self.run.training, self.built.model
        samples = self.data.train
        seed = derive(self.run.seed, self.number, self.site, purpose)
        change = augment if training.augment else None
        return batches(samples, steps, training.batch_size, seed, model.logits_size, change, model.device)

    def _note(self, name: str, value: float | None) -> None:
        if value is not None and math.isfinite(value):
            self.metrics[name] = float(value)

    def _spent(self, part: str, start: float) -> None:
        self.seconds[part] = self.seconds.get(part, 0.0) + perf_counter() - start


def _relative_entropy(usage: Tensor) -> float:
    """Entropy of a mean gate over log E: 1 when all experts are used alike, 0 when one is used alone."""
    values = [float(u) for u in usage]
    if len(values) < 2:
        return 1.0
    return -sum(u * math.log(u) for u in values if u > 0) / math.log(len(values))


def norm_of(delta: np.ndarray | None) -> float:
    """Euclidean norm of a delta, 0 for none."""
    return 0.0 if delta is None else euclidean_norm(delta)
