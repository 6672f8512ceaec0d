"""One case's masks against its reference: a row of scores per class. For a file, not for training."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from .metrics import overlap

TOLERANCE = 2.0
"""mm, or pixels where the spacing is not known: how far a surface may be off and count as right."""


@dataclass(frozen=True)
class ClassScore:
    """One class in one case.

    Attributes:
        dice: None when the class is in neither mask, 0 when it is in one of them.
        hd95, nsd: None unless the class is in both masks; see ``surface_scores``.
        unit: of ``hd95`` and ``tolerance``, mm or pixel.
        predicted, reference: voxels.
        voxel_ml: volume of one voxel, None when the spacing is not known.
    """

    case: str
    name: str
    dice: float | None
    hd95: float | None
    nsd: float | None
    unit: str
    tolerance: float
    predicted: int
    reference: int
    voxel_ml: float | None

    @property
    def empty(self) -> str:
        """Which mask has nothing of the class: '', prediction, reference or both."""
        if self.predicted and self.reference:
            return ""
        return "both" if self.predicted == self.reference else "reference" if self.predicted else "prediction"


def score_case(
    case: str,
    classes: Sequence[str],
    predictions: np.ndarray,
    references: np.ndarray,
    annotated: np.ndarray,
    spacing_mm: Sequence[float] | None,
    tolerance: float = TOLERANCE,
) -> list[ClassScore]:
    """A row per annotated class.

    Args:
        predictions, references: bool [K, D, H, W] on one grid.
        annotated: bool [K]; the others have no reference and no row.
        spacing_mm: of the axes D, H, W; None: distances are in pixels.
    """
    from .surface import surface_scores  # MONAI: seconds, and only scores need it

    rows = []
    for k in np.flatnonzero(annotated).tolist():
        one = overlap(predictions[k], references[k])
        surface = None
        if one.predicted and one.reference:
            surface = surface_scores(predictions[k], references[k], spacing_mm or (1.0, 1.0, 1.0), tolerance)
        rows.append(
            ClassScore(
                case=case,
                name=classes[k],
                dice=one.dice,
                hd95=surface.hd95 if surface else None,
                nsd=surface.nsd if surface else None,
                unit="mm" if spacing_mm else "pixel",
                tolerance=tolerance,
                predicted=one.predicted,
                reference=one.reference,
                voxel_ml=float(np.prod(spacing_mm)) / 1000 if spacing_mm else None,
            )
        )
    return rows


@dataclass(frozen=True)
class Mean:
    """A class over cases: means of what is defined, and how often it is.

    Attributes:
        dice, hd95, nsd: None when nowhere defined.
        n_dice, n_surface: cases that the means are of.
        unit: of ``hd95``; 'mixed' where some cases are in mm and some in pixels, which have no mean.
    """

    name: str
    dice: float | None
    n_dice: int
    hd95: float | None
    nsd: float | None
    n_surface: int
    unit: str


def mean_scores(rows: Iterable[ClassScore]) -> list[Mean]:
    """One per class, in order of appearance."""
    by_class: dict[str, list[ClassScore]] = {}
    for row in rows:
        by_class.setdefault(row.name, []).append(row)
    return [_mean(name, found) for name, found in by_class.items()]


def _mean(name: str, rows: list[ClassScore]) -> Mean:
    dice = [row.dice for row in rows if row.dice is not None]
    surfaces = [(row.hd95, row.nsd) for row in rows if row.hd95 is not None and row.nsd is not None]
    units = {row.unit for row in rows}
    one_unit = bool(surfaces) and len(units) == 1
    return Mean(
        name=name,
        dice=fmean(dice) if dice else None,
        n_dice=len(dice),
        hd95=fmean(hd95 for hd95, _ in surfaces) if one_unit else None,
        nsd=fmean(nsd for _, nsd in surfaces) if one_unit else None,
        n_surface=len(surfaces),
        unit=units.pop() if len(units) == 1 else "mixed",
    )
