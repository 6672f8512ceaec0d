"""Whether the slices of a series make up one regular volume, and in which order.

SimpleITK sorts slices but reports a mean distance for whatever it is given, and no tilt.
"""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

TOLERANCE = 0.01  # of the distance between slices: what rounding in headers makes
UNIT = 1e-3  # how far direction cosines may be from unit length and from a right angle
TILT = 0.002  # sideways shift of the last slice per depth: 0.1 degrees
LATERAL = 0.05  # of a pixel: a smaller shift is rounding of positions
SAME = 1e-3  # how far the orientations of two slices may differ


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


@dataclass(frozen=True)
class Refusal:
    """Why slices are no volume ("... lacks 2 slices"), what to do, counts that may travel."""

    reason: str
    hint: str
    counts: dict[str, int] = field(default_factory=dict)


def stack(positions: np.ndarray, orientations: np.ndarray, spacings: np.ndarray) -> Stack | Refusal:
    """Order and grid of a series.

    Args:
        positions: [n, 3] mm, centre of each first pixel. orientations: [n, 6] cosines of the rows' and the
            columns' direction. spacings: [n, 2] mm. As DICOM gives them; n at least 2.
    """
    n_kinds = len({tuple(row) for row in np.round(orientations, 2)})
    if np.abs(orientations - orientations[0]).max() > SAME:
        split = "export each orientation as a series of its own"
        return Refusal(f"mixes slices of {max(n_kinds, 2)} orientations", split)
    if not np.allclose(spacings, spacings[0], rtol=1e-3):
        return Refusal("mixes pixel spacings", "export each spacing as a series of its own")
    direction = frame_of(orientations[0])
    if isinstance(direction, Refusal):
        return direction
    along = positions @ direction[:, 2]
    order = np.argsort(along, kind="stable")
    along, positions = along[order], positions[order]
    steps = np.diff(along)
    usual = float(np.median(steps[steps > SAME])) if (steps > SAME).any() else 0.0
    if (steps <= max(SAME, TOLERANCE * usual)).any():
        return _repeated(along, max(SAME, TOLERANCE * usual))
    across = positions - positions[0] - np.outer(along - along[0], direction[:, 2])
    shift = float(np.linalg.norm(across, axis=1).max())
    if shift > max(TILT * (along[-1] - along[0]), LATERAL * spacings.min()):
        angle = np.degrees(np.arctan2(shift, along[-1] - along[0]))
        return Refusal(
            f"has a tilted gantry: its slices shift sideways by {angle:.1f} degrees" + _uneven(steps),
            "resample it to a regular grid first (tools call it gantry tilt correction), its mask too",
        )
    step = float((along[-1] - along[0]) / len(steps))
    places = along[0] + step * np.arange(len(along))
    even = np.abs(steps - step).max() <= TOLERANCE * step
    if not even and np.abs(along - places).max() > TOLERANCE * step:
        return _gaps(steps, usual)
    flat = (*direction.ravel().tolist(),)
    return Stack(tuple(order.tolist()), step, tuple(positions[0].tolist()), flat)


def frame_of(orientation: np.ndarray) -> np.ndarray | Refusal:
    """Directions [3, 3], one axis (x, y, z) per column, from the six cosines of DICOM, rounding undone."""
    row, column = orientation[:3], orientation[3:]
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if abs(lengths[0] - 1) > UNIT or abs(lengths[1] - 1) > UNIT or abs(row @ column) > UNIT:
        return Refusal("has row and column directions that are not at right angles", "export it again")
    row = row / lengths[0]
    column = column - (column @ row) * row
    column = column / np.linalg.norm(column)
    return np.stack([row, column, np.cross(row, column)], axis=1)


def _repeated(along: np.ndarray, same: float) -> Refusal:
    groups = Counter(np.cumsum(np.diff(along, prepend=along[0]) > same).tolist())
    counts = {"places": len(groups)}
    hint = "export one image per place: one time point, echo or reconstruction in a series"
    if len(groups) == 1:
        return Refusal(f"has all {len(along)} slices at one place", hint, counts)
    if len(set(groups.values())) == 1:
        n = groups[0]
        return Refusal(
            f"has {n} images at each of {len(groups)} places (time points, echoes or copies)", hint, counts
        )
    n_double = sum(n > 1 for n in groups.values())
    return Refusal(f"has more than one image at {n_double} of {len(groups)} places", hint, counts)


def _gaps(steps: np.ndarray, usual: float) -> Refusal:
    multiples = np.round(steps / usual)
    missing = int((multiples - 1).sum())
    if missing > 0 and (np.abs(steps - multiples * usual) <= 5 * TOLERANCE * usual).all():
        return Refusal(
            f"lacks {missing} slice{'s' * (missing != 1)}: most lie {usual:.4g} mm apart, some "
            f"{steps.max():.4g} mm",
            "copy the missing files into the folder, or export the series again",
            {"missing": missing},
        )
    return Refusal(
        f"has unevenly spaced slices: {steps.min():.4g} to {steps.max():.4g} mm apart",
        "resample it to even spacing first, its mask too",
    )


def _uneven(steps: np.ndarray) -> str:
    if np.ptp(steps) <= TOLERANCE * np.median(steps):
        return ""
    return f", and they lie unevenly, {steps.min():.4g} to {steps.max():.4g} mm apart"
