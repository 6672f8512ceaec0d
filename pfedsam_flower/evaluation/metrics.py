"""Dice, with the policy for empty masks said aloud.

The unit is the patient: voxel counts of all of a patient's cases are summed first, so slices of one scan
count as one scan. Both reference and prediction empty: undefined, left out and counted. One of them
empty: 0. How often something was marked where nothing is, is reported beside Dice.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Overlap:
    """Voxel counts of one patient and class; they add up over cases."""

    both: int = 0
    predicted: int = 0
    reference: int = 0

    def __add__(self, other: "Overlap") -> "Overlap":
        return Overlap(
            self.both + other.both, self.predicted + other.predicted, self.reference + other.reference
        )

    @property
    def dice(self) -> float | None:
        """2 |P ∩ R| / (|P| + |R|); None when both are empty."""
        total = self.predicted + self.reference
        return 2 * self.both / total if total else None


def overlap(prediction: np.ndarray, reference: np.ndarray) -> Overlap:
    """Counts of two bool masks on the same grid."""
    return Overlap(int((prediction & reference).sum()), int(prediction.sum()), int(reference.sum()))


def mean_dice(overlaps: Iterable[Overlap]) -> float | None:
    """Mean over the defined values, None when there is none."""
    defined = [o.dice for o in overlaps if o.dice is not None]
    return sum(defined) / len(defined) if defined else None
