"""Scale factors of a header: applied to images, refused in masks."""

from pathlib import Path

import numpy as np

from ...errors import DataError
from .refusals import unreadable

IDENTITY = (1.0, 0.0)


def scaled(values: np.ndarray, scale: tuple[float, float]) -> np.ndarray:
    """float32 slope * values + intercept, reckoned in double; an identity changes nothing.

    Args:
        values: real numbers [slices, …].
        scale: slope and intercept.
    """
    result = np.empty(values.shape, np.float32)
    slope, intercept = scale
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused as that
        for out, one in zip(result, values, strict=True):  # a whole volume in float64 is large
            out[...] = one if scale == IDENTITY else slope * one.astype(np.float64) + intercept
    return result


def refused_in_mask(path: Path, scale: tuple[float, float]) -> DataError:
    """For a mask whose numbers mean others than the stored ones: which of both are labels nobody says."""
    slope, intercept = scale
    return unreadable(
        path,
        f"the mask's header scales its labels (times {slope:g} plus {intercept:g})",
        "save it as whole numbers without scale factors: slope 1, intercept 0",
    )
