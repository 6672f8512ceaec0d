"""Cases and their logits, one case at a time → scores per patient → numbers that may be reported."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from ..data.cases import CaseData
from .metrics import Overlap, mean_dice, overlap


@dataclass(eq=False)
class Tally:
    """What one model marked, counted case after case; no voxel is kept.

    Attributes:
        overlaps: per (patient, annotated class).
        empty: cases x classes without reference. marked: of those, the ones with a mark.
    """

    overlaps: dict[tuple[str, int], Overlap] = field(default_factory=dict)
    empty: int = 0
    marked: int = 0

    def add(self, case: CaseData, logits: np.ndarray) -> None:
        """One more case; logits [K, D, H, W] on its own grid."""
        for k in np.flatnonzero(case.annotated):
            one = overlap(logits[k] > 0, case.target[k])
            key = (case.case.patient, int(k))
            self.overlaps[key] = self.overlaps.get(key, Overlap()) + one
            self.empty += one.reference == 0
            self.marked += one.reference == 0 and one.predicted > 0

    @property
    def by_patient(self) -> dict[str, float]:
        """Mean Dice over the annotated classes by patient; without the patients where none is defined."""
        patients = sorted({patient for patient, _ in self.overlaps})
        found = {
            patient: mean_dice(one for (name, _), one in self.overlaps.items() if name == patient)
            for patient in patients
        }
        return {patient: dice for patient, dice in found.items() if dice is not None}

    @property
    def dice(self) -> float | None:
        """Mean over patients and annotated classes, None when none is defined."""
        return mean_dice(self.overlaps.values())


def tally(cases: Iterable[CaseData], logits: Iterable[np.ndarray]) -> Tally:
    """All cases counted; both may be generators, then one case is in memory at a time."""
    counted = Tally()
    for case, values in zip(cases, logits, strict=True):
        counted.add(case, values)
    return counted


def mixed(logits: Mapping[str, np.ndarray], mix: Mapping[str, float]) -> np.ndarray:
    """Logits of the models' mean probability of one case, each with its share; one model's are its own.

    Probabilities and not logits are averaged: a model that has seen few patients is often sure of itself
    where it is wrong, and a large logit would outvote the others.
    """
    names = [name for name in sorted(logits) if mix[name] > 0]
    if len(names) == 1:
        return logits[names[0]]
    total = weighted(logits[names[0]], mix[names[0]])
    for name in names[1:]:
        total += weighted(logits[name], mix[name])
    return as_logits(total)


def weighted(logits: np.ndarray, share: float) -> np.ndarray:
    """The probabilities times ``share``, float32."""
    return torch.sigmoid(torch.from_numpy(logits)).mul_(share).numpy()


def as_logits(probabilities: np.ndarray) -> np.ndarray:
    """Logits of probabilities, float32: above 0 where they are above 0.5."""
    return torch.logit(torch.from_numpy(probabilities), eps=1e-6).numpy()


def chosen_mix(tallies: Mapping[str, Tally]) -> dict[str, float]:
    """Shares of the models in what a site deploys, by name: equal, 0 for those that validation rules out.

    The rule of one standard error (Breiman et al., Classification and Regression Trees, 1984, 3.4.3): ruled
    out is what is behind the best by more than one standard error of the paired difference per patient. Few
    patients, or patients that disagree, rule out nothing: then a mean of all is safer than a choice.

    Args:
        tallies: what each model marked on the validation cases; the same cases for all.
    """
    scores = {name: tallies[name].by_patient for name in sorted(tallies)}
    patients = sorted(set.intersection(*(set(one) for one in scores.values()))) if scores else []
    if len(patients) < 2:
        return {name: 1 / len(scores) for name in scores}
    dice = {name: np.array([one[patient] for patient in patients]) for name, one in scores.items()}
    best = max(dice, key=lambda name: float(dice[name].mean()))
    kept = [name for name in dice if _within_one_error(dice[best] - dice[name])]
    return {name: (name in kept) / len(kept) for name in dice}


def _within_one_error(behind: np.ndarray) -> bool:
    return float(behind.mean()) <= float(behind.std(ddof=1)) / len(behind) ** 0.5
