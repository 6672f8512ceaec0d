"""Files → pixels. A format is a row in ``READERS``, ``MASKS`` and ``GRIDS``; a DICOM series is a folder.

Whatever goes wrong in a library becomes one sentence: a DataError, PFS-204 where a file cannot be read,
PFS-207 where it can but is not one regular volume.
"""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import numpy as np

from ...errors import DataError
from ..pixels import Grid, Pixels
from . import dicom, metaimage, nifti, nrrd, pillow, tiff
from .dicom import Series as Series
from .dicom import series_in as series_in
from .misnamed import misnamed
from .names import check_name
from .refusals import AGAIN, unreadable

_FORMATS = {
    pillow: (".png", ".jpg", ".jpeg", ".bmp"),
    tiff: (".tif", ".tiff"),
    nifti: (".nii", ".nii.gz"),
    nrrd: (".nrrd", ".nhdr"),
    metaimage: (".mha", ".mhd"),
    dicom: (".dcm",),
}

READERS: dict[str, Callable[[Path], Pixels]] = {
    suffix: module.read for module, suffixes in _FORMATS.items() for suffix in suffixes
}

MASKS: dict[str, Callable[[Path], Pixels]] = {
    suffix: module.read_stored for module, suffixes in _FORMATS.items() for suffix in suffixes
}
"""As ``READERS``, but the numbers as they are stored: what is right for an image turns a mask around."""

GRIDS: dict[str, Callable[[Path], Grid]] = {
    suffix: module.grid for module, suffixes in _FORMATS.items() for suffix in suffixes
}

ITK_SAYS = re.compile(r"^(ITK |sitk::)?ERROR: (\w+\(0x[0-9a-f]+\): )?")
LARGEST_VALUE = 1e30  # beyond it no intensity means anything, and differences overflow float32
LARGEST_LABEL = 2**24  # float32 holds whole numbers exactly up to here

ResultT = TypeVar("ResultT")


def suffix_of(path: Path) -> str:
    """The key of ``READERS`` for a file ('.nii.gz' counts as one suffix), '' for any other file; cheap.

    A file of another name counts as .dcm if it begins as DICOM: scanners call it anything.
    """
    return _ending(path, READERS) or (".dcm" if dicom.is_dicom(path) else "")


def stem_of(path: Path) -> str:
    """The file's name without its ending, if that is one of a known format."""
    return path.name[: len(path.name) - len(_ending(path, (*READERS, *dicom.ENDINGS)))]


def _ending(path: Path, known: Iterable[str]) -> str:
    name = path.name.lower()
    return max((s for s in known if name.endswith(s) and name != s), key=len, default="")


def is_case_path(path: Path) -> bool:
    """Whether a path is a file of a known format or a folder with DICOM files (``folder#UID`` too); cheap."""
    folder = dicom.split(path)[0]
    return dicom.holds_dicom(folder) if folder.is_dir() else path.is_file() and bool(suffix_of(path))


def companions(path: Path) -> tuple[Path, ...]:
    """Where the voxels of a file lie, if a file of their own has them; cheap."""
    module = {".mhd": metaimage, ".mha": metaimage, ".nhdr": nrrd, ".nrrd": nrrd}.get(suffix_of(path))
    try:
        name = module.detached(path) if module else ""
    except (DataError, OSError, ValueError):  # who reads the file will be told
        name = ""
    return (path.parent / name,) if name else ()


def read_image(path: Path) -> Pixels:
    """An image: float32 [slices, H, W, 1 or 3], all values finite.

    Raises:
        DataError: PFS-204 when the file is of an unknown format, cut, damaged, or holds NaN or Inf; PFS-207
            when it is not one regular volume.
    """
    pixels = _guarded(READERS, path)
    usable = np.abs(pixels.values) <= LARGEST_VALUE  # False for NaN
    if not usable.all():
        n_bad, n = int((~usable).sum()), usable.size
        raise unreadable(
            path, f"{n_bad} of the image's {n} values are NaN or infinite", "replace or export them again"
        )
    return pixels


def read_labels(path: Path) -> np.ndarray:
    """A mask's label map, int32 [slices, H, W]; see ``read_mask``."""
    return read_mask(path)[0]


def read_mask(path: Path) -> tuple[np.ndarray, Grid]:
    """A mask: int32 [slices, H, W] of whole numbers 0 … 2**24, and its grid.

    The numbers are those that are stored, never inverted, scaled or coloured. Three equal channels count
    as one.

    Raises:
        DataError: PFS-204 when the file cannot be read, is coloured, lossy, has an alpha channel that is not
            opaque, or other numbers; PFS-207 when it is not one regular volume.
    """
    pixels = _guarded(MASKS, path)
    values = pixels.values[..., 0]
    if (pixels.values[..., 1:] != pixels.values[..., :1]).any():  # NaN differs from itself
        raise unreadable(
            path, "the mask is coloured", "save one whole number per pixel, not a picture of the mask"
        )
    # NaN fails the first comparison, so it never reaches the cast
    if not ((values >= 0) & (values <= LARGEST_LABEL) & (values == np.floor(values))).all():
        raise unreadable(
            path,
            f"the mask has values that are not whole numbers from 0 to {LARGEST_LABEL}",
            "save it as integers",
        )
    return values.astype(np.int32), pixels.grid


def read_grid(path: Path) -> Grid:
    """The grid of an image or mask from its header, equal to what reading gives; cheap.

    Raises:
        DataError: PFS-204 when the header cannot be read, PFS-207 when it is not that of one regular volume.
    """
    return _guarded(GRIDS, path)


def _guarded(table: dict[str, Callable[[Path], ResultT]], path: Path) -> ResultT:
    check_name(path)
    folder = dicom.split(path)[0].is_dir()
    suffix = ".dcm" if folder else suffix_of(path)
    if not suffix:
        raise unreadable(path, "the format is not known", "known: " + ", ".join(READERS))
    if not folder and path.exists() and not path.is_file():
        raise unreadable(path, "it is no plain file (a pipe, a device or a socket)", "put a file there")
    try:
        return table[suffix](path)
    except Exception as error:  # libraries raise anything on damaged input
        if other := misnamed(path, suffix):
            raise other from error
        if isinstance(error, DataError):
            raise
        lines = str(error).strip().splitlines() or [type(error).__name__]
        said = ITK_SAYS.sub("", lines[-1])
        raise unreadable(path, f"the file cannot be read: {said}", AGAIN) from error
