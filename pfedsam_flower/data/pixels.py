"""Pixels of one file as every reader returns them."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Grid:
    """Where the pixels of a file lie, as its header says.

    Attributes:
        shape: (slices, height, width).
        spacing_mm: (z, y, x), None for formats that do not know it.
        frame: origin (x, y, z) and direction cosines, None likewise.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float] | None = None
    frame: tuple[float, ...] | None = None

    def difference(self, other: "Grid") -> str:
        """What makes ``other`` another grid, in words; empty when both are one.

        Spacings and frames are compared where both files have them, to a tenth of a millimetre or
        of a thousandth (direction): tools round differently when they write a mask.
        """
        if self.shape != other.shape:
            return f"{_times(self.shape)} and {_times(other.shape)} (slices x height x width)"
        if (
            self.spacing_mm
            and other.spacing_mm
            and not np.allclose(self.spacing_mm, other.spacing_mm, rtol=1e-3)
        ):
            return f"spacing {_times(self.spacing_mm)} and {_times(other.spacing_mm)} mm"
        if self.frame and other.frame and len(self.frame) == len(other.frame):
            n = round(len(self.frame) ** 0.5)  # n + n * n numbers in n dimensions
            if not np.allclose(self.frame[n:], other.frame[n:], atol=1e-3):
                return "their axes point in other directions"
            if not np.allclose(self.frame[:n], other.frame[:n], rtol=0, atol=0.1):
                return f"their first voxels lie at {_times(self.frame[:n])} and {_times(other.frame[:n])} mm"
        return ""


@dataclass(frozen=True)
class Pixels:
    """One image or mask.

    Attributes:
        values: float32 [slices, height, width, channels], channels 1 or 3, as stored (not scaled).
        grid: where they lie.
    """

    values: np.ndarray
    grid: Grid

    @property
    def spacing_mm(self) -> tuple[float, float, float] | None:
        """(z, y, x) or None."""
        return self.grid.spacing_mm


def _times(numbers: tuple[float, ...]) -> str:
    return " x ".join(f"{n:g}" for n in numbers)
