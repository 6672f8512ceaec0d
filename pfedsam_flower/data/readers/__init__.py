"""Files → pixels. A format is a row in ``READERS`` and one in ``GRIDS``.

Whatever goes wrong in a library becomes one sentence: a DataError with PFS-204.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from ...errors import DataError
from ..pixels import Grid, Pixels
from . import nifti, pillow

READERS: dict[str, Callable[[Path], Pixels]] = {
    ".png": pillow.read,
    ".tif": pillow.read,
    ".tiff": pillow.read,
    ".jpg": pillow.read,
    ".jpeg": pillow.read,
    ".nii": nifti.read,
    ".nii.gz": nifti.read,
}

GRIDS: dict[str, Callable[[Path], Grid]] = {
    suffix: nifti.grid if reader is nifti.read else pillow.grid for suffix, reader in READERS.items()
}

LOSSY = (".jpg", ".jpeg")
LARGEST_VALUE = 1e30  # beyond it no intensity means anything, and differences overflow float32
LARGEST_LABEL = 2**24  # float32 holds whole numbers exactly up to here

ResultT = TypeVar("ResultT")


def suffix_of(path: Path) -> str:
    """The key of ``READERS`` for a file ('.nii.gz' counts as one suffix), '' for any other file."""
    name = path.name.lower()
    return max((s for s in READERS if name.endswith(s) and name != s), key=len, default="")


def stem_of(path: Path) -> str:
    """The file's name without that suffix."""
    return path.name[: len(path.name) - len(suffix_of(path))]


def read_image(path: Path) -> Pixels:
    """An image: float32 [slices, H, W, 1 or 3], all values finite.

    Raises:
        DataError: PFS-204 when the file is of an unknown format, cut, damaged, or holds NaN or Inf.
    """
    pixels = _guarded(READERS, path)
    usable = np.abs(pixels.values) <= LARGEST_VALUE  # False for NaN
    if not usable.all():
        n_bad, n = int((~usable).sum()), usable.size
        raise _unreadable(
            path, f"{n_bad} of the image's {n} values are NaN or infinite", "replace or export them again"
        )
    return pixels


def read_labels(path: Path) -> np.ndarray:
    """A mask's label map, int32 [slices, H, W]; see ``read_mask``."""
    return read_mask(path)[0]


def read_mask(path: Path) -> tuple[np.ndarray, Grid]:
    """A mask: int32 [slices, H, W] of whole numbers 0 … 2**24, and its grid.

    Three equal channels count as one; an alpha channel is ignored.

    Raises:
        DataError: PFS-204 when the file cannot be read, is coloured, lossy, or has other numbers.
    """
    if suffix_of(path) in LOSSY:
        raise _unreadable(path, "JPEG blurs the values of a mask", "save masks as PNG, TIFF or NIfTI")
    pixels = _guarded(READERS, path)
    values = pixels.values[..., 0]
    if (pixels.values != pixels.values[..., :1]).any():
        raise _unreadable(
            path, "the mask is coloured", "save one whole number per pixel, not a picture of the mask"
        )
    # NaN fails the first comparison, so it never reaches the cast
    if not ((values >= 0) & (values <= LARGEST_LABEL) & (values == np.floor(values))).all():
        raise _unreadable(
            path,
            f"the mask has values that are not whole numbers from 0 to {LARGEST_LABEL}",
            "save it as integers",
        )
    return values.astype(np.int32), pixels.grid


def read_grid(path: Path) -> Grid:
    """The grid of an image or mask from its header; cheap.

    Raises:
        DataError: PFS-204 when the header cannot be read.
    """
    return _guarded(GRIDS, path)


def _guarded(table: dict[str, Callable[[Path], ResultT]], path: Path) -> ResultT:
    suffix = suffix_of(path)
    if not suffix:
        raise _unreadable(path, "the format is not known", "known: " + ", ".join(READERS))
    try:
        return table[suffix](path)
    except Exception as error:  # libraries raise anything on damaged input
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise _unreadable(path, f"the file cannot be read: {lines[-1]}", "copy or export it again") from error


def _unreadable(path: Path, message: str, hint: str) -> DataError:
    return DataError("PFS-204", message, where=str(path), hint=hint)
