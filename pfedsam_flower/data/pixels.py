"""Pixels of one file as every reader returns them, and how far two grids lie apart."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

TOLERANCE = 0.25
"""Voxels by which the farthest corners of two grids may lie apart and be one place.

Below a half, so that a mask carried over by nearest neighbour would stay as it is, and so that the half
voxel between a voxel's corner and its centre is seen. Above what tools round: 512 pixels of 0.7421875 mm
written as 0.742 end 0.13 voxels early; NIfTI's single precision is 0.00003 mm at 500 mm.
"""

UNITS_MM = {"m": 1e3, "cm": 10.0, "mm": 1.0, "um": 1e-3, "nm": 1e-6}
"""mm of each unit of length in which a header may be written."""


@dataclass(frozen=True)
class Grid:
    """Where the pixels of a file lie, as its header says.

    Attributes:
        shape: (slices, height, width).
        spacing_mm: (z, y, x), each above 0; None for formats that do not know it.
        frame: origin (x, y, z) in mm and direction cosines (3 x 3, row by row), x to the patient's left, y to
            the back, z to the head; the origin alone where the file gives no directions, which other readers
            take for identity; None where it gives neither.
        unit: of ``UNITS_MM``, in which the file states lengths; for who writes a file beside it.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float] | None = None
    frame: tuple[float, ...] | None = None
    unit: str = "mm"

    def difference(self, other: "Grid") -> str:
        """What makes ``other`` another grid, in words; empty when both are one.

        Places are compared as far as both files state them, by ``TOLERANCE``. An axis of one voxel has no
        length, so its spacing and its sense say nothing about where voxels lie.
        """
        if self.shape != other.shape:
            return f"{_times(self.shape)} and {_times(other.shape)} (slices x height x width)"
        apart = self.apart(other)
        if apart is None or apart.voxels <= TOLERANCE:
            return ""
        return f"{apart}: {_cause(self, other)}"

    def apart(self, other: "Grid") -> "Apart | None":
        """How far the corners lie apart; None for another shape, and where a file states no spacing."""
        if self.shape != other.shape or self.spacing_mm is None or other.spacing_mm is None:
            return None
        here, there = affine(_with(self, other.frame)), affine(_with(other, self.frame))
        index = corners(self.shape)
        return farthest(index, place(here, index), place(there, index), here[:, :3])


@dataclass(frozen=True)
class Apart:
    """How far one point of a grid lies from its place in another one.

    Attributes:
        voxels: along the axis where it is farthest. mm: as the crow flies.
        index: the point's (x, y, z).
    """

    voxels: float
    mm: float
    index: tuple[int, ...]

    def __str__(self) -> str:
        at = " x ".join(str(n) for n in self.index[::-1])
        return f"they lie up to {self.voxels:.3g} voxels ({self.mm:.3g} mm) apart, farthest at voxel {at}"


def farthest(index: np.ndarray, here: np.ndarray, there: np.ndarray, steps: np.ndarray) -> Apart:
    """The point whose two places lie farthest apart, counted in voxels.

    The one rule by which grids are compared, of two files, of two statements in one header and of the
    slices of a series; ``TOLERANCE`` is its limit.

    Args:
        index: [n, 3], the points' x, y, z in the grid, for the answer.
        here, there: float [n, 3], their places in mm.
        steps: float [3, 3] mm, column j leads to the next voxel along index axis j.
    """
    away = there - here
    voxels = np.abs(np.linalg.solve(steps, away.T)).max(axis=0)
    mm = np.linalg.norm(away, axis=1)
    # the first of those that are equal but for rounding, whatever the size of a voxel
    worst = max(range(len(index)), key=lambda n: (round(voxels[n], 6), round(mm[n] / (mm.max() or 1.0), 6)))
    return Apart(float(voxels[worst]), float(mm[worst]), tuple(int(n) for n in index[worst]))


def corners(shape: tuple[int, int, int]) -> np.ndarray:
    """Indices (x, y, z) of the eight voxels at the corners, int [8, 3], the first voxel first."""
    return np.array(list(product(*((0, n - 1) for n in shape[::-1]))))


def affine(grid: Grid) -> np.ndarray:
    """float64 [3, 4] mm, from index (x, y, z, 1) to place; what the grid leaves open is 1 mm, identity, 0."""
    frame = grid.frame or ()
    directions = np.reshape(frame[3:], (3, 3)) if len(frame) == 12 else np.eye(3)
    steps = directions * np.array((grid.spacing_mm or (1.0, 1.0, 1.0))[::-1])
    return np.column_stack([steps, frame[:3] if frame else np.zeros(3)])


def place(matrix: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Places in mm, float64 [n, 3], of indices [n, 3] by a matrix as ``affine`` gives it."""
    return index @ matrix[:, :3].T + matrix[:, 3]


@dataclass(frozen=True)
class Pixels:
    """One image or mask.

    Attributes:
        values: float32 [slices, height, width, channels], channels 1 or 3, the numbers that the file means
            (not scaled to anything); of a mask those that are stored, in any type.
        grid: where they lie.
    """

    values: np.ndarray
    grid: Grid

    @property
    def spacing_mm(self) -> tuple[float, float, float] | None:
        """(z, y, x) or None."""
        return self.grid.spacing_mm


def _with(grid: Grid, frame: tuple[float, ...] | None) -> Grid:
    """The grid, in the other one's frame where its file gives none, so that this makes no difference."""
    return grid if grid.frame else replace(grid, frame=frame)


def _cause(one: Grid, other: Grid) -> str:
    """The first of spacing, directions and origin that differs enough to matter."""
    assert one.spacing_mm
    assert other.spacing_mm
    pairs = zip(one.spacing_mm, other.spacing_mm, one.shape, strict=True)
    if any(abs(a - b) / a * (n - 1) > TOLERANCE / 2 for a, b, n in pairs):
        return f"spacing {_times(one.spacing_mm)} and {_times(other.spacing_mm)} mm"
    first, second = affine(one), affine(other)
    turned = np.abs(first[:, :3] / one.spacing_mm[::-1] - second[:, :3] / other.spacing_mm[::-1]).max()
    if turned * (max(one.shape) - 1) > TOLERANCE / 2:
        return "their axes point in other directions"
    return f"their first voxels lie at {_times(first[:, 3])} and {_times(second[:, 3])} mm"


def _times(numbers: Iterable[float]) -> str:
    return " x ".join(f"{n:g}" for n in numbers)
