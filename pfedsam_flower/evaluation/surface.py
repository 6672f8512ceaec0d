"""How far two surfaces lie apart, through MONAI.

A surface is a mask's voxels with a face on something else; beyond the image's border there is nothing, so
a mask that is cut by the border has surface there. Distances go from the centre of each surface voxel of
one mask to the nearest of the other, both ways. Voxels are counted, not the areas that they stand for: with
thick slices a voxel of the top counts as much as one of the side.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.metrics import compute_hausdorff_distance, compute_surface_dice

PERCENTILE = 95


@dataclass(frozen=True)
class Surface:
    """Attributes:
    hd95: the larger one of both directions' 95th percentile (interpolated), in the unit of the spacing.
    nsd: normalised surface Dice, the share of all surface voxels within the tolerance, 0..1.
    """

    hd95: float
    nsd: float


def surface_scores(
    prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float], tolerance: float
) -> Surface:
    """Distances between the surfaces of two masks; an axis of one voxel is left out: a slice is scored in 2D.

    Args:
        prediction, reference: bool, the same shape [D, H, W], neither of them empty.
        spacing: of each axis, in mm or, where it is not known, ones.
        tolerance: in the unit of ``spacing``; a distance of exactly this is within it.

    Raises:
        ValueError: one of the masks is empty, which has no distance.
    """
    if not (prediction.any() and reference.any()):
        raise ValueError("an empty mask has no surface")
    flat = next((axis for axis, n in enumerate(prediction.shape) if n == 1), None)
    if flat is not None:
        prediction, reference = prediction.squeeze(flat), reference.squeeze(flat)
        spacing = [step for axis, step in enumerate(spacing) if axis != flat]
    box = tuple(_extent(prediction, reference, axis) for axis in range(prediction.ndim))
    ours, theirs = (torch.from_numpy(m[box].astype(np.float32))[None, None] for m in (prediction, reference))
    given: dict[str, Any] = {"include_background": True, "spacing": [float(step) for step in spacing]}
    with warnings.catch_warnings():
        # MONAI 1.6 warns of an argument that it passes to itself
        warnings.simplefilter("ignore", FutureWarning)
        hd95 = compute_hausdorff_distance(ours, theirs, percentile=PERCENTILE, **given)
        nsd = compute_surface_dice(ours, theirs, [float(tolerance)], **given)
    return Surface(hd95.item(), nsd.item())


def _extent(one: np.ndarray, other: np.ndarray, axis: int) -> slice:
    """Where either mask is, along an axis: the rest of a large volume takes part in nothing."""
    rest = tuple(a for a in range(one.ndim) if a != axis)
    places = np.flatnonzero(one.any(axis=rest) | other.any(axis=rest))
    return slice(int(places[0]), int(places[-1]) + 1)
