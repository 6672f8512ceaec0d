"""Arrays → volume files on a given grid.

A file is written beside its place, counted, synced and swapped in: whoever looks sees the old file or the
whole new one, never a part.
"""

import gzip
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ...errors import StoreError
from ..pixels import Grid
from . import itk, metaimage, nifti, nrrd

CHECKS: dict[str, Callable[[Path], object]] = {
    ".nii.gz": nifti.check,
    ".nrrd": nrrd.check,
    ".mha": metaimage.check,
}


def write_volume(path: Path, values: np.ndarray, grid: Grid) -> None:
    """Write ``values`` as .nii.gz, .nrrd or .mha, compressed; an existing file is replaced.

    Args:
        values: [D, H, W], or [D, H, W, C] with C numbers per voxel. Whole numbers and truth values are
            stored in the smallest type that holds them (unsigned where none is negative), others as
            float32.
        grid: of the shape [D, H, W]. NIfTI keeps it in single precision, the others in double. A grid
            without a frame gives a NIfTI without orientation; NRRD and MetaImage then say identity.

    Raises:
        StoreError: PFS-604 when it cannot be written; nothing is left behind.
        ValueError: values and grid differ in shape, or the suffix is another.
    """
    suffix = next((s for s in CHECKS if path.name.lower().endswith(s)), "")
    if not suffix or values.shape[:3] != grid.shape or values.ndim not in (3, 4):
        raise ValueError(f"{path.name}: values {values.shape} on grid {grid.shape}, as one of {list(CHECKS)}")
    # the suffix stays at the end: it tells the writer what to write
    beside = path.with_name(f".{path.name[: -len(suffix)]}.{os.getpid()}{suffix}")
    try:
        _write(beside, _smallest(values), grid, suffix)
        CHECKS[suffix](beside)
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
    image = sitk.GetImageFromArray(np.ascontiguousarray(values), isVector=values.ndim == 4)
    image.SetSpacing((grid.spacing_mm or (1.0, 1.0, 1.0))[::-1])
    if grid.frame is not None:
        image.SetOrigin(grid.frame[:3])
        image.SetDirection(grid.frame[3:])
    if suffix != ".nii.gz" or grid.frame is not None:
        sitk.WriteImage(image, str(path), True)
        return
    plain = path.with_name(path.name.removesuffix(".gz"))
    try:
        sitk.WriteImage(image, str(plain), False)
        with plain.open("r+b") as file:  # SimpleITK cannot write that nothing is known of the orientation
            file.seek(nifti.QFORM_CODE)
            file.write(bytes(4))
        with plain.open("rb") as whole, gzip.open(path, "wb", compresslevel=6) as packed:
            shutil.copyfileobj(whole, packed)
    finally:
        plain.unlink(missing_ok=True)


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
