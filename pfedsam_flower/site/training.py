"""The phases of a round at a site: steps, learning rates, what is remembered."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..contract.methods import METHODS
from ..contract.schema import digest
from ..contract.software import software
from ..data.samples import SiteData
from ..data.transforms import augment
from ..learning.batches import Batch, batches
from ..learning.losses import teacher_quality, warmed
from ..learning.phases import global_phase, joint_phase, local_phase
from ..learning.rates import Factor, falling, steady
from ..learning.seeds import derive
from ..model.build import Built
from ..model.exchange import export_shared, import_shared, personal_state
from ..model.lmoe import evenness
from ..model.roles import Role, resting
from ..settings.run import RunSettings
from .recall import Arrays, Recall, forgetful, samples_digest, tensors_digest
from .store import Personal

SHARED_PHASE = {
    "batch_size",
    "learning_rate_shared",
    "weight_decay",
    "clip_norm",
    "schedule",
    "proximal",
    "augment",
    "precision",
}
"""Training settings that a phase of shared parameters depends on, its steps apart."""


class Work:
    """One round's work; collects numbers and seconds on the way.

    Attributes:
        validated: Dice of the models on this round's validation; empty where there was none.
    """

    def __init__(
        self,
        number: int,
        broadcast: np.ndarray,
        built: Built,
        data: SiteData,
        run: RunSettings,
        site: str,
        recall: Recall,
    ) -> None:
        self.number, self.broadcast, self.built, self.data, self.run = number, broadcast, built, data, run
        self.site, self.recall = site, recall
        self.validated: dict[str, float | None] = {}
        self.metrics: dict[str, float] = {}
        self.seconds: dict[str, float] = {}

    @property
    def closing(self) -> bool:
        """Whether this is the closing round."""
        return self.number > self.run.rounds

    @property
    def validates(self) -> bool:
        """Whether the models are validated before this round's steps.

        In the closing round only where a teacher must be trusted.
        """
        if not self.closing:
            return (self.number - 1) % self.run.evaluation.every == 0
        learns = METHODS[self.run.method].personal and self._personal_steps()[0] > 0
        return bool(learns) and self._distillation("global-to-personal") > 0

    @property
    def trains_alone(self) -> bool:
        """Whether a model is trained without the federation: only where the shared parameters are one."""
        return self.run.evaluation.alone and METHODS[self.run.method].has_global

    def global_(self, personal: Personal) -> np.ndarray:
        """The delta of a global phase."""
        start = perf_counter()
        distillation, steps = self.run.distillation, self.run.training.global_steps
        weight = self._distillation("personal-to-global")
        ditto = "pull" in METHODS[self.run.method].round  # it pulls its copy, not what is averaged
        first, total = (self.number - 1) * steps, self.run.rounds * steps

        def make() -> Arrays:
            result = global_phase(
                self.built.model,
                self._roles_now(),
                self._draw("global", steps),
                self.run.training,
                factor=self._factor(first, total),
                pull_to=None if ditto else self._tensors(self.broadcast),
                distillation_weight=weight,
                temperature=distillation.temperature,
            )
            after = export_shared(self.built.model, self.built.contract)
            return {"delta": after - self.broadcast, "loss": _loss(result.loss)}

        more = [weight, distillation.temperature, tensors_digest(personal.tensors)] if weight else []
        more += ["unpulled"] if ditto else []
        found = self.recalled(["global", steps, first, total, digest(self.broadcast), *more], make)
        import_shared(self.built.model, self.built.contract, self.broadcast)
        self.note("loss.global", float(found["loss"]))
        self.spent("global_", start)
        return found["delta"]

    def local(self, personal: Personal) -> Personal:
        """The personal state after a local phase on the frozen broadcast."""
        steps, first, total = self._personal_steps()
        if not steps:
            return personal
        start = perf_counter()
        model, run = self.built.model, self.run
        weight = self._distillation("global-to-personal")
        result = local_phase(
            model,
            self.built.roles,
            self._draw("local", steps),
            run.training,
            weight,
            run.distillation.temperature,
            personal.optimiser,
            factor=self._factor(first, total),
        )
        self.note("loss.local", result.loss)
        self.metrics["distillation.weight"] = weight
        self._note_gates()
        self.spent("local", start)
        return replace(personal, tensors=personal_state(model, self.built.roles), optimiser=result.optimiser)

    def joint(self, personal: Personal) -> tuple[np.ndarray, Personal]:
        """The delta and the personal state after shared and personal parameters were trained together."""
        start = perf_counter()
        model, run = self.built.model, self.run
        steps = run.training.global_steps
        result = joint_phase(
            model,
            self._roles_now(),
            self._draw("joint", steps),
            run.training,
            personal.optimiser,
            factor=self._factor((self.number - 1) * steps, run.rounds * steps),
        )
        delta = export_shared(model, self.built.contract) - self.broadcast
        import_shared(model, self.built.contract, self.broadcast)
        self.note("loss.global", result.loss)
        self._note_gates()
        self.spent("global_", start)
        kept = personal_state(model, self.built.roles)
        return delta, replace(personal, tensors=kept, optimiser=result.optimiser)

    def own(self, personal: Personal, *, pulled: bool) -> Personal:
        """The site's own copy of the shared parameters, trained on: kept between rounds if ``pulled``."""
        steps, first, total = self._personal_steps()
        if not steps:
            return personal
        start = perf_counter()
        if METHODS[self.run.method].personal:
            return self._own_with_personal(personal, steps, first, total)
        begin = personal.own if pulled and personal.own is not None else self.broadcast
        moments = personal.own_optimiser if pulled else {}
        packed, moments, loss = self._copy(
            "own", begin, moments, steps, first, total, self.broadcast if pulled else None
        )
        self.note("loss.local", loss)
        self.spent("local", start)
        return replace(personal, own=packed, own_optimiser=moments)

    def _own_with_personal(self, personal: Personal, steps: int, first: int, total: int) -> Personal:
        """A copy of the broadcast and the personal parameters trained together, the broadcast as teacher."""
        start = perf_counter()
        model, run = self.built.model, self.run
        weight = self._distillation("global-to-personal")
        result = joint_phase(
            model,
            self.built.roles,
            self._draw("own", steps),
            run.training,
            personal.optimiser,
            factor=self._factor(first, total),
            teacher=self._tensors(self.broadcast),
            distillation_weight=weight,
            temperature=run.distillation.temperature,
        )
        packed = export_shared(model, self.built.contract)
        import_shared(model, self.built.contract, self.broadcast)
        self.note("loss.local", result.loss)
        self.metrics["distillation.weight"] = weight
        self._note_gates()
        self.spent("local", start)
        kept = personal_state(model, self.built.roles)
        return replace(personal, tensors=kept, optimiser=result.optimiser, own=packed)

    def alone(self, personal: Personal) -> Personal:
        """The model trained without the federation a round on; all rounds where the first is the last."""
        start = perf_counter()
        if personal.alone is None:
            raise ValueError("the model trained alone was not kept")
        training = self.run.training
        begin, moments = personal.alone, personal.alone_optimiser

        def before(number: int) -> int:
            late = max(0, number - training.personal_from)
            return (number - 1) * training.global_steps + late * training.local_steps

        total = before(self.run.rounds + 1) + training.closing_steps
        first = 0 if self.closing and not moments else before(self.number)
        steps = (total if self.closing else before(self.number + 1)) - first
        packed, moments, loss = self._copy("alone", begin, moments, steps, first, total)
        self.note("loss.alone", loss)
        self.spent("alone", start)
        return replace(personal, alone=packed, alone_optimiser=moments)

    def note(self, name: str, value: float | None) -> None:
        """Keep a number for the reply, unless it is not defined."""
        if value is not None and math.isfinite(value):
            self.metrics[name] = float(value)

    def spent(self, part: str, start: float) -> None:
        """Add the seconds since ``start`` to a part of the round."""
        self.seconds[part] = self.seconds.get(part, 0.0) + perf_counter() - start

    def _copy(
        self,
        purpose: str,
        begin: np.ndarray,
        moments: dict[str, Tensor],
        steps: int,
        first: int,
        total: int,
        pull_to: np.ndarray | None = None,
    ) -> tuple[np.ndarray, dict[str, Tensor], float | None]:
        """Another set of shared parameters trained at the site: packed, moments, mean loss."""
        model, contract = self.built.model, self.built.contract

        def make() -> Arrays:
            import_shared(model, contract, begin)
            result = global_phase(
                model,
                self.built.roles,
                self._draw(purpose, steps),
                self.run.training,
                factor=self._factor(first, total),
                optimiser=moments,
                pull_to=None if pull_to is None else self._tensors(pull_to),
            )
            after = {f"moments/{k}": v.numpy() for k, v in result.shared.items()}
            return after | {"packed": export_shared(model, contract), "loss": _loss(result.loss)}

        pull = digest(pull_to) if pull_to is not None else ""
        key = [purpose, steps, first, total, digest(begin), tensors_digest(moments), pull]
        found = self.recalled(key, make)
        import_shared(model, contract, self.broadcast)
        kept = {
            k.removeprefix("moments/"): torch.from_numpy(v.copy())
            for k, v in found.items()
            if k.startswith("moments/")
        }
        return found["packed"], kept, float(found["loss"])

    def _personal_steps(self) -> tuple[int, int, int]:
        """Steps of this round's personal phase; how many came before; how many the whole run has."""
        training, rounds = self.run.training, self.run.rounds
        method = METHODS[self.run.method]
        in_rounds = bool({"local", "pull"} & set(method.round)) * training.local_steps
        before = max(0, self.number - training.personal_from) * in_rounds
        total = max(0, rounds + 1 - training.personal_from) * in_rounds + training.closing_steps
        if self.closing:
            return training.closing_steps, before, total
        return (in_rounds if self.number >= training.personal_from else 0), before, total

    def _distillation(self, direction: str) -> float:
        """The term's weight in this round for a phase with a teacher of this direction."""
        settings = self.run.distillation
        if settings.direction not in (direction, "both") or not METHODS[self.run.method].has_global:
            return 0.0
        quality = teacher_quality(*(self.validated.get(name) for name in direction.split("-to-")))
        return quality * warmed(settings.weight, self.number, settings.warmup_rounds)

    def _factor(self, first: int, total: int) -> Factor:
        return falling(first, total) if self.run.training.schedule == "falling" else steady

    def _roles_now(self) -> dict[str, Role]:
        """The roles, with the factor of LoRA that rests in this round frozen."""
        if self.run.lora.train == "both":
            return self.built.roles
        return resting(self.built.roles, "a" if self.number % 2 else "b")

    def _tensors(self, packed: np.ndarray) -> Mapping[str, Tensor]:
        device = self.built.model.device
        arrays = self.built.contract.unpack(packed)
        return {key: torch.from_numpy(values.copy()).to(device) for key, values in arrays.items()}

    def _draw(self, purpose: str, steps: int) -> Iterator[Batch]:
        training, model = self.run.training, self.built.model
        seed = derive(self.run.seed, self.number, self.site, purpose)
        change = augment if training.augment else None
        return batches(
            self.data.train, steps, training.batch_size, seed, model.logits_size, change, model.device
        )

    def recalled(self, key: list[Any], make: Callable[[], Arrays]) -> Arrays:
        """The result of a step that depends on the shared parameters only, and on what ``key`` adds."""
        if self.recall is forgetful:
            return make()
        return self.recall([*self._common, self.number, *key], make)

    @cached_property
    def _common(self) -> list[Any]:
        """What every step of shared parameters depends on."""
        run, contract = self.run, self.built.contract
        return [
            software(),
            torch.get_num_threads(),
            str(self.built.model.device),
            contract.backbone,
            contract.tensors,
            run.seed,
            run.classes,
            run.image.model_dump(),
            run.lora.model_dump(),
            run.decoder.model_dump(include={"mode"}),  # a change of its own is not in what is shared
            run.training.model_dump(include=SHARED_PHASE),
            self.site,
            samples_digest(self.data.train),
        ]

    def _note_gates(self) -> None:
        entropies = [evenness(e.usage) for e in self.built.model.experts if e.usage is not None]
        if entropies:
            self.metrics["gate.entropy"] = sum(entropies) / len(entropies)


def _loss(value: float | None) -> np.ndarray:
    return np.array(math.nan if value is None else value)
