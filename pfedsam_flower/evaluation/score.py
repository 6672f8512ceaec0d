"""Cases and their logits, one case at a time → scores per patient → numbers that may be reported."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from ..data.cases import CaseData
from .metrics import Overlap, mean_dice, overlap

PRIOR_PATIENTS = 4
"""Validation sets are small: the mix is drawn towards equal shares as if so many patients had voted."""


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
    """The models' logits of one case, each times its share of the mix, summed in the order of names."""
    names = sorted(logits)
    total = mix[names[0]] * logits[names[0]]
    for name in names[1:]:
        total = total + mix[name] * logits[name]
    return total


def candidates(names: Iterable[str]) -> list[dict[str, float]]:
    """The mixes that are tried, shares by name: all alike first, then every smaller group alike."""
    ordered = sorted(names)
    groups = [group for size in range(len(ordered), 0, -1) for group in combinations(ordered, size)]
    return [{name: float(name in group) / len(group) for name in ordered} for group in groups]


def choose_mix(mixes: Sequence[Mapping[str, float]], scores: Sequence[float | None]) -> Mapping[str, float]:
    """The mix with the best score on validation, the earlier one of equals; not defined counts as worst."""
    defined = [-1.0 if score is None else score for score in scores]
    return mixes[defined.index(max(defined))]


def shrunk(mix: Mapping[str, float], n_patients: int) -> dict[str, float]:
    """The mix, drawn towards all alike: (n · mix + PRIOR · alike) / (n + PRIOR)."""
    alike = 1.0 / len(mix)
    return {
        name: (n_patients * share + PRIOR_PATIENTS * alike) / (n_patients + PRIOR_PATIENTS)
        for name, share in mix.items()
    }
