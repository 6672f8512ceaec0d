"""Whether the slices of a series make up one regular volume, and in which order.

SimpleITK sorts slices but reports a mean distance for whatever it is given, and no tilt. Lengths are measured
in voxels, as between the grids of two files: where a slice's farthest corner lies, and where it should.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

APART = 0.25  # voxels from its place in the regular volume, for no slice more
ALIKE = 0.05  # voxels: one writer's headers of one series agree to this, and more is not rounding
EVEN = 0.01  # of the distance between slices: what rounding in headers makes
HALF = 0.5  # sine below which two directions are hardly two
TILT = 0.002  # sideways shift of the last slice per depth: 0.1 degrees
SAME = 1e-3  # mm: at one place


@dataclass(frozen=True)
class Stack:
    """A regular volume.

    Attributes:
        order: index of the file of each slice. step_mm: distance of slices.
        origin: position of the first slice. direction: 3 x 3, row by row, one axis (x, y, z) per column.
    """

    order: tuple[int, ...]
    step_mm: float
    origin: tuple[float, ...]
    direction: tuple[float, ...]


class Gap(NamedTuple):
    """Where slices are missing: the indices of the files before and after, their places in mm, how many."""

    before: int
    after: int
    from_mm: float
    to_mm: float
    missing: int


@dataclass(frozen=True)
class Refusal:
    """Why slices are no volume ("lacks 2 slices"), what to do, counts that may travel.

    Attributes:
        gaps: where slices are missing. odd: indices of the files that are unlike most. doubles: of those
            that lie where another one does.
    """

    reason: str
    hint: str
    counts: dict[str, int] = field(default_factory=dict)
    gaps: tuple[Gap, ...] = ()
    odd: tuple[int, ...] = ()
    doubles: tuple[tuple[int, ...], ...] = ()


def stack(
    positions: np.ndarray, orientations: np.ndarray, spacings: np.ndarray, shape: tuple[int, int]
) -> Stack | Refusal:
    """Order and grid of a series.

    Args:
        positions: [n, 3] mm, centre of each first pixel. orientations: [n, 6] cosines of the rows' and the
            columns' direction. spacings: [n, 2] mm. As DICOM gives them; n at least 2.
        shape: rows and columns of each slice.
    """
    normal = np.cross(orientations[0, :3], orientations[0, 3:])
    along = positions @ normal
    distances = np.diff(np.sort(along))
    distance = float(np.median(distances[distances > SAME])) if (distances > SAME).any() else spacings.min()
    if mixed := _mixed(orientations, spacings, shape, distance):
        return mixed
    direction = frame_of(orientations[0], spacings[0], shape)
    if isinstance(direction, Refusal):
        return direction
    along = positions @ direction[:, 2]
    order = np.argsort(along, kind="stable")
    along, positions = along[order], positions[order]
    steps = np.diff(along)
    if (steps <= (same := max(SAME, EVEN * distance))).any():
        return _repeated(along, order, same)
    across = positions - positions[0] - np.outer(along - along[0], direction[:, 2])
    shift = float(np.linalg.norm(across, axis=1).max())
    rounding = max(TILT * (along[-1] - along[0]), ALIKE * spacings.min())
    if shift > min(APART * spacings.min(), rounding):
        angle = np.degrees(np.arctan2(shift, along[-1] - along[0]))
        return Refusal(
            f"has a tilted gantry: its slices shift sideways by {angle:.3g} degrees" + _uneven(steps),
            "resample it to a regular grid first (tools call it gantry tilt correction), its mask too",
        )
    step = float((along[-1] - along[0]) / len(steps))
    away = np.abs(along - along[0] - step * np.arange(len(along))).max()
    even = np.abs(steps - step).max() <= EVEN * step
    if away > (APART if even else EVEN) * step:
        return _gaps(along, order)
    flat = (*direction.ravel().tolist(),)
    return Stack(tuple(order.tolist()), step, tuple(positions[0].tolist()), flat)


def frame_of(
    orientation: np.ndarray, spacing: Sequence[float], shape: tuple[int, int]
) -> np.ndarray | Refusal:
    """Directions [3, 3], one axis (x, y, z) per column, from the six cosines of DICOM, rounding undone.

    Refused is what is no rounding: where it would move the farthest corner of a slice of this spacing
    (row, column) and shape by more than ``APART`` voxels.
    """
    row, column = orientation[:3], orientation[3:]
    refusal = Refusal(
        "has row and column directions that are not of length 1 and at right angles", "export it again"
    )
    if np.linalg.norm(np.cross(row, column)) < HALF:
        return refusal
    right = row / np.linalg.norm(row)
    down = column - (column @ right) * right
    down = down / np.linalg.norm(down)
    lengths = np.array(spacing) * (np.array(shape) - 1)
    away = np.stack([(row - right) * lengths[1], (column - down) * lengths[0]])
    corners = np.stack([*away, away.sum(axis=0)])
    if np.abs(corners @ np.stack([right / spacing[1], down / spacing[0]], axis=1)).max() > APART:
        return refusal
    return np.stack([right, down, np.cross(right, down)], axis=1)


def _mixed(
    orientations: np.ndarray, spacings: np.ndarray, shape: tuple[int, int], distance: float
) -> Refusal | None:
    """Slices whose corners lie elsewhere than those of a slice at the same place would."""
    same = np.broadcast_to(spacings[0], spacings.shape)
    by_sense = _kinds(orientations, same, shape, distance)
    if len(set(by_sense)) > 1:
        return Refusal(
            f"mixes slices of {len(set(by_sense))} orientations",
            "export each orientation as a series of its own",
            odd=_odd(by_sense),
        )
    by_size = _kinds(orientations, spacings, shape, distance)
    if len(set(by_size)) > 1:
        hint = "export each spacing as a series of its own"
        return Refusal("mixes pixel spacings", hint, odd=_odd(by_size))
    return None


def _kinds(
    orientations: np.ndarray, spacings: np.ndarray, shape: tuple[int, int], distance: float
) -> list[int]:
    """For each slice the index of the first whose corners lie as its own do, to ``ALIKE`` voxels."""
    right = orientations[:, :3] * (spacings[:, 1:] * (shape[1] - 1))
    down = orientations[:, 3:] * (spacings[:, :1] * (shape[0] - 1))
    corners = np.stack([right, down, right + down], axis=1)
    kinds = np.full(len(corners), -1)
    while (kinds < 0).any():
        first = int(np.argmax(kinds < 0))
        row, column = orientations[first, :3], orientations[first, 3:]
        voxel = spacings[first, 1], spacings[first, 0], distance
        axes = np.stack([row, column, np.cross(row, column)], axis=1) / voxel
        alike = np.abs((corners - corners[first]) @ axes).max(axis=(1, 2)) <= ALIKE
        kinds[alike & (kinds < 0)] = first
        kinds[first] = first  # also where its numbers are no numbers
    return [int(kind) for kind in kinds]


def _odd(kinds: list[int]) -> tuple[int, ...]:
    """The slices that are not of the most common kind, () when no kind has more than half."""
    usual, n = Counter(kinds).most_common(1)[0]
    return tuple(k for k, kind in enumerate(kinds) if kind != usual) if 2 * n > len(kinds) else ()


def _repeated(along: np.ndarray, order: np.ndarray, same: float) -> Refusal:
    places = np.cumsum(np.diff(along, prepend=along[0]) > same)
    groups = Counter(places.tolist())
    counts = {"places": len(groups)}
    doubles = tuple(tuple(order[places == place].tolist()) for place, n in groups.items() if n > 1)
    hint = "export one image per place: one time point, echo or reconstruction in a series"
    n = groups[0]
    if len(groups) == 1:
        reason = f"has all {len(along)} slices at one place"
    elif len(set(groups.values())) == 1:
        reason = f"has {n} images at each of {len(groups)} places (time points, echoes or copies)"
    else:
        reason = f"has more than one image at {len(doubles)} of {len(groups)} places"
    return Refusal(reason, hint, counts, doubles=doubles)


def _gaps(along: np.ndarray, order: np.ndarray) -> Refusal:
    """Distances are the usual one or multiples of it; the usual one is that of most, or else the smallest."""
    steps = np.diff(along)
    for usual, most in ((np.median(steps), len(along) * 1000), (steps.min(), len(steps))):
        multiples = np.maximum(np.round(steps / usual), 1)
        usual = steps.sum() / multiples.sum()
        missing = int((multiples - 1).sum())
        if 0 < missing <= most and (np.abs(steps - multiples * usual) <= 5 * EVEN * usual).all():
            much = "most" if 2 * (multiples == 1).sum() > len(steps) else "some"
            return Refusal(
                f"lacks {missing} slice{'s' * (missing != 1)}: {much} lie {usual:.4g} mm apart, "
                f"{'some' if much == 'most' else 'others'} {steps.max():.4g} mm",
                "copy the missing files into the folder, or export the series again",
                {"missing": missing},
                tuple(
                    Gap(int(order[k]), int(order[k + 1]), along[k], along[k + 1], int(multiples[k] - 1))
                    for k in np.flatnonzero(multiples > 1)
                ),
            )
    return Refusal(
        f"has unevenly spaced slices: {steps.min():.4g} to {steps.max():.4g} mm apart",
        "resample it to even spacing first, its mask too",
    )


def _uneven(steps: np.ndarray) -> str:
    if np.ptp(steps) <= EVEN * np.median(steps):
        return ""
    return f", and they lie unevenly, {steps.min():.4g} to {steps.max():.4g} mm apart"
