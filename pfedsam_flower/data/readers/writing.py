"""Arrays → volume files on a given grid.

A file is written beside its place, counted, synced and swapped in: whoever looks sees the old file or the
whole new one, never a part.
"""

import gzip
import os
import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np

from ...errors import StoreError
from ..pixels import UNITS_MM, Grid
from . import itk, metaimage, nifti, nifti_header, nrrd, restating
from .names import can_be_given, printable


@dataclass(frozen=True)
class Format:
    """How a format is finished, once SimpleITK has written it.

    Attributes:
        units: of lengths, in which it can state a grid.
        restate: makes its header say what the grid does.
        check: refuses a file that came out short.
    """

    units: Collection[str]
    restate: Callable[[Path, Grid, str], None]
    check: Callable[[Path], object]


FORMATS = {
    ".nii.gz": Format(nifti_header.UNITS.values(), restating.in_nifti, nifti.check),
    ".nrrd": Format(UNITS_MM, restating.in_nrrd, nrrd.check),
    ".mha": Format(metaimage.UNITS, restating.in_metaimage, metaimage.check),
}


def write_volume(path: Path, values: np.ndarray, grid: Grid) -> None:
    """Write ``values`` as .nii.gz, .nrrd or .mha, compressed; an existing file is replaced.

    Args:
        values: [D, H, W], or [D, H, W, C] with C numbers per voxel. Whole numbers and truth values are
            stored in the smallest type that holds them (unsigned where none is negative), others as
            float32.
        grid: of the shape [D, H, W]; what it does not know the header leaves open. Stated in the grid's
            unit (NIfTI and MetaImage know some, and else mm). NIfTI keeps it in single precision, the others
            in double; an origin without directions becomes one with identity there.

    Raises:
        StoreError: PFS-604 when it cannot be written; nothing is left behind.
        ValueError: values and grid differ in shape, or the suffix is another.
    """
    suffix = next((s for s in FORMATS if path.name.lower().endswith(s)), "")
    if not suffix or values.shape[:3] != grid.shape or values.ndim not in (3, 4):
        raise ValueError(
            f"{path.name}: values {values.shape} on grid {grid.shape}, as one of {list(FORMATS)}"
        )
    if not can_be_given(path):
        text = "a mask cannot be written: its path has bytes that are no UTF-8 or control characters"
        raise StoreError("PFS-604", text, where=printable(path), hint="choose another output folder or name")
    # the suffix tells the writer what to write; the rest is short, as the name may be as long as it can
    beside = path.with_name(f".{os.getpid()}-{crc32(os.fsencode(path.name)):08x}{suffix}")
    try:
        _write(beside, _smallest(values), grid, suffix)
        FORMATS[suffix].check(beside)
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
    except Exception as error:  # SimpleITK raises RuntimeError on a full disk
        lines = str(getattr(error, "strerror", None) or error).strip().splitlines()
        raise StoreError(
            "PFS-604",
            f"a volume cannot be written: {lines[-1] if lines else type(error).__name__}",
            where=str(path),
            hint="free space on the disk and check the rights of the folder",
        ) from error
    finally:
        beside.unlink(missing_ok=True)


def _write(path: Path, values: np.ndarray, grid: Grid, suffix: str) -> None:
    sitk = itk.simpleitk()
    unit = grid.unit if grid.unit in FORMATS[suffix].units else "mm"
    image = sitk.GetImageFromArray(np.ascontiguousarray(values), isVector=values.ndim == 4)
    if grid.spacing_mm is not None:
        image.SetSpacing([d / UNITS_MM[unit] for d in grid.spacing_mm[::-1]])
    if grid.frame is not None:
        image.SetOrigin([x / UNITS_MM[unit] for x in grid.frame[:3]])
        if len(grid.frame) == 12:
            image.SetDirection(grid.frame[3:])
    plain = path.with_name(path.name.removesuffix(".gz"))
    try:
        sitk.WriteImage(image, str(plain), plain == path)
        FORMATS[suffix].restate(plain, grid, unit)
        if plain != path:
            _pack(plain, path)
    finally:
        if plain != path:
            plain.unlink(missing_ok=True)


def _pack(plain: Path, path: Path) -> None:
    """As .gz, without name and time: the same volume gives the same bytes."""
    with (
        plain.open("rb") as whole,
        path.open("wb") as file,
        gzip.GzipFile("", "wb", 6, file, mtime=0) as packed,
    ):
        shutil.copyfileobj(whole, packed)


def _smallest(values: np.ndarray) -> np.ndarray:
    if values.dtype == np.bool_:
        return values.astype(np.uint8)
    if not np.issubdtype(values.dtype, np.integer):
        return values.astype(np.float32)
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    kinds = (np.uint8, np.uint16, np.uint32) if low >= 0 else (np.int8, np.int16, np.int32)
    for kind in kinds:
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return values.astype(kind)
    raise ValueError(f"labels from {low} to {high} do not fit 32 bits")
