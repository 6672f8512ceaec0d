"""Which way a stored volume is cut into slices, and how they lie: by permutation and flips, nothing lost.

One scanner stores a volume from the feet up, the next from the front backwards; a network must not have to
learn that. Frames are ITK's: x grows to the patient's left, y to the back, z to the head; the numbers of a
direction matrix stand row by row, its column j is where index axis j (x, y, z) points. Arrays are [z, y, x].
"""

from dataclasses import dataclass, replace
from itertools import permutations, product

import numpy as np

from .pixels import Grid, affine

VIEWS: dict[str, tuple[tuple[int, int], ...]] = {
    "axial": ((2, +1), (1, +1), (0, +1)),
    "coronal": ((1, +1), (2, -1), (0, +1)),
    "sagittal": ((0, +1), (2, -1), (1, +1)),
}
"""Per plane the patient axis (0 left, 1 back, 2 head) and its sense, of slices, rows and columns. So shown
as radiologists see them: the patient's left at the right of the picture, the front or the head on top."""

CLEARLY = 1.2
"""A spacing is clearly the largest when it is so many times each other one."""


@dataclass(frozen=True)
class Slicing:
    """How stored [z, y, x] arrays become slices.

    Attributes:
        axes: the stored axes that become slices, rows and columns.
        flips: which of these three run backwards.
    """

    axes: tuple[int, int, int] = (0, 1, 2)
    flips: tuple[bool, bool, bool] = (False, False, False)


AS_STORED = Slicing()
WAYS = [
    Slicing((a, b, c), (d, e, f))
    for a, b, c in permutations(range(3))
    for d, e, f in product((False, True), repeat=3)
]
"""All 48 ways to exchange and reverse three axes, the first of which is none."""


def slicing_of(grid: Grid, plane: str) -> Slicing:
    """The slicing of a volume for a plane of ``VIEWS``, ``acquisition`` or ``stored``.

    Acquisition: across the axis with clearly the largest spacing, or the only one of length 1; axial when
    there is none. An oblique volume is cut along the stored axes nearest to the patient's. Pixels without a
    frame in space (PNG, TIFF) are taken as stored.
    """
    if plane == "stored" or grid.frame is None or len(grid.frame) != 12:
        return AS_STORED
    # columns in order of the stored axes z, y, x
    directions = np.array(grid.frame[3:]).reshape(3, 3)[:, ::-1]
    stored = max(  # the stored axis of each patient axis; of equals the first
        permutations(range(3)),
        key=lambda axes: round(sum(abs(directions[patient, axes[patient]]) for patient in range(3)), 9),
    )
    through = _through(grid) if plane == "acquisition" else None
    if plane == "acquisition":
        views = VIEWS.items()
        plane = next((name for name, view in views if stored[view[0][0]] == through), "axial")
    view = VIEWS[plane]
    first, second, third = (stored[patient] for patient, _ in view)
    flips = tuple(bool(directions[patient, stored[patient]] * sense < 0) for patient, sense in view)
    return Slicing((first, second, third), (flips[0], flips[1], flips[2]))


def to_slices(array: np.ndarray, slicing: Slicing) -> np.ndarray:
    """A stored array [z, y, x, ...] as slices [D, H, W, ...]; a view."""
    rest = tuple(range(3, array.ndim))
    return np.flip(array.transpose(*slicing.axes, *rest), _flipped(slicing))


def from_slices(slices: np.ndarray, slicing: Slicing) -> np.ndarray:
    """Slices [D, H, W, ...] back to [z, y, x, ...]: the exact inverse of ``to_slices``; a view."""
    rest = tuple(range(3, slices.ndim))
    back = tuple(slicing.axes.index(axis) for axis in range(3))
    return np.flip(slices, _flipped(slicing)).transpose(*back, *rest)


def slice_spacing(grid: Grid, slicing: Slicing) -> tuple[float, float, float] | None:
    """mm between slices, rows and columns; None when the grid does not know."""
    if grid.spacing_mm is None:
        return None
    between, row, column = (grid.spacing_mm[axis] for axis in slicing.axes)
    return between, row, column


def onto(grid: Grid, other: Grid) -> tuple[Slicing, str]:
    """How arrays stored on ``other`` are turned (``to_slices``) to lie as those of ``grid`` do.

    Returns:
        The nearest of all ``WAYS``, ``AS_STORED`` where a file does not say how it lies; and what then still
        makes both differ, in words, empty when all voxels of one are those of the other.
    """
    difference = grid.difference(other)
    if not difference or any(one.spacing_mm is None or one.frame is None for one in (grid, other)):
        return AS_STORED, difference
    found = [(apart.voxels, way) for way in WAYS if (apart := grid.apart(turned(other, way)))]
    if not found:
        return AS_STORED, difference
    way = min(found, key=lambda one: round(one[0], 6))[1]  # of equals the first
    return way, grid.difference(turned(other, way))


def turned(grid: Grid, slicing: Slicing) -> Grid:
    """The grid of ``to_slices(array, slicing)`` for an array stored on ``grid``, which states its place."""
    assert grid.spacing_mm is not None
    axes, back, matrix = list(slicing.axes), np.array(slicing.flips), affine(grid)
    shape, spacing = np.array(grid.shape)[axes], np.array(grid.spacing_mm)[axes]
    steps = matrix[:, 2::-1][:, axes]  # columns in order of the array's axes
    origin = matrix[:, 3] + steps @ (back * (shape - 1))
    directions = (steps / spacing * np.where(back, -1, 1))[:, ::-1]
    frame = (*origin.tolist(), *directions.ravel().tolist())
    return replace(grid, shape=tuple(shape.tolist()), spacing_mm=tuple(spacing.tolist()), frame=frame)


def _flipped(slicing: Slicing) -> tuple[int, ...]:
    return tuple(axis for axis in range(3) if slicing.flips[axis])


def _through(grid: Grid) -> int | None:
    """The stored axis across which the volume was taken, None when nothing says so."""
    single = [axis for axis in range(3) if grid.shape[axis] == 1]
    if len(single) == 1:
        return single[0]
    if grid.spacing_mm is None:
        return None
    largest = int(np.argmax(grid.spacing_mm))
    others = [grid.spacing_mm[axis] for axis in range(3) if axis != largest]
    return largest if grid.spacing_mm[largest] > CLEARLY * max(others) else None
