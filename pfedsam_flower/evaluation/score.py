"""Cases and their logits → scores per patient → numbers that may be reported."""

from collections.abc import Mapping, Sequence

import numpy as np

from ..data.cases import CaseData
from .metrics import Overlap, mean_dice, overlap

PRIOR_PATIENTS = 4
"""Validation sets are small: the blend is drawn towards 0.5 as if this many patients had voted for it."""


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


def blended(personal: Sequence[np.ndarray], shared: Sequence[np.ndarray], blend: float) -> list[np.ndarray]:
    """blend · personalised + (1 - blend) · global, on logits."""
    return [blend * p + (1 - blend) * g for p, g in zip(personal, shared, strict=True)]


def choose_blend(
    cases: Sequence[CaseData], personal: Sequence[np.ndarray], shared: Sequence[np.ndarray]
) -> float:
    """Which mix of the two models a site should deploy, 0 (global) to 1 (personalised).

    The best of five mixes on validation, shrunk towards 0.5: with n patients
    (n · best + PRIOR · 0.5) / (n + PRIOR). 0.5 when validation defines no Dice.
    """
    scores: Mapping[float, float | None] = {
        mix: dice_of(cases, blended(personal, shared, mix)) for mix in (0.5, 0.25, 0.75, 0.0, 1.0)
    }
    defined = {mix: score for mix, score in scores.items() if score is not None}
    if not defined:
        return 0.5
    best = max(defined, key=lambda mix: defined[mix])
    patients = len({case.case.patient for case in cases})
    return (patients * best + PRIOR_PATIENTS * 0.5) / (patients + PRIOR_PATIENTS)
