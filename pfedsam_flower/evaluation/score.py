"""Cases and their logits → scores per patient → numbers that may be reported."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from ..data.cases import CaseData
from .metrics import Overlap, mean_dice, overlap

PRIOR_PATIENTS = 4
"""Validation sets are small: the mix is drawn towards equal shares as if so many patients had voted."""


def patient_overlaps(
    cases: Sequence[CaseData], logits: Sequence[np.ndarray]
) -> tuple[dict[tuple[str, int], Overlap], dict[str, float]]:
    """Overlap per (patient, annotated class), and counts of cases with nothing to find.

    Args:
        logits: [K, D, H, W] per case, on the case's own grid.

    Returns:
        The overlaps; and ``empty``, cases × classes without reference, and ``marked``, of those with a mark.
    """
    found: dict[tuple[str, int], Overlap] = {}
    empty = marked = 0
    for case, values in zip(cases, logits, strict=True):
        for k in np.flatnonzero(case.annotated):
            one = overlap(values[k] > 0, case.target[k])
            key = (case.case.patient, int(k))
            found[key] = found.get(key, Overlap()) + one
            empty += one.reference == 0
            marked += one.reference == 0 and one.predicted > 0
    return found, {"empty": float(empty), "marked": float(marked)}


def dice_of(cases: Sequence[CaseData], logits: Sequence[np.ndarray]) -> float | None:
    """Mean Dice over patients and annotated classes."""
    return mean_dice(patient_overlaps(cases, logits)[0].values())


def sum_of(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Their sum, first to last."""
    total = arrays[0]
    for array in arrays[1:]:
        total = total + array
    return total


def mixed(logits: Mapping[str, Sequence[np.ndarray]], mix: Mapping[str, float]) -> list[np.ndarray]:
    """The models' logits, each times its share of the mix, summed per case."""
    n_cases = len(next(iter(logits.values())))
    return [sum_of([mix[name] * logits[name][i] for name in sorted(logits)]) for i in range(n_cases)]


def choose_mix(cases: Sequence[CaseData], logits: Mapping[str, Sequence[np.ndarray]]) -> dict[str, float]:
    """Which mix of its models a site should deploy: shares by name that sum to 1.

    The best on validation of: all alike, every pair alike, each model by itself (the earlier one of
    equals). Validation sets are small, so the shares are shrunk towards all alike: with n patients
    (n · best + PRIOR · alike) / (n + PRIOR).

    Args:
        logits: per model its logits of every case.
    """
    names = sorted(logits)
    groups = [group for size in range(len(names), 0, -1) for group in combinations(names, size)]
    groups.sort(key=lambda group: (len(group) != len(names), -len(group)))
    shares = [{name: float(name in group) / len(group) for name in names} for group in groups]
    defined = [dice_of(cases, mixed(logits, mix)) for mix in shares]
    scores = [-1.0 if score is None else score for score in defined]
    best = scores.index(max(scores))
    n = len({case.case.patient for case in cases})
    alike, chosen = shares[0], shares[best]
    return {name: (n * chosen[name] + PRIOR_PATIENTS * alike[name]) / (n + PRIOR_PATIENTS) for name in names}
