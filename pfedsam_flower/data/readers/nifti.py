"""NIfTI volumes through SimpleITK, in array order z, y, x.

SimpleITK reads a file that was cut off without a word, so the bytes are counted before it may.
"""

import gzip
import struct
from math import prod
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from ..pixels import Grid, Pixels

CHUNK = 1 << 20


def read(path: Path) -> Pixels:
    """The volume with its scale factors applied, its spacing and its frame.

    Raises:
        ValueError, OSError and what else the libraries raise: the caller makes a DataError of it.
    """
    import SimpleITK as sitk

    _check_whole(path)
    image = sitk.ReadImage(str(path))
    while image.GetDimension() > 3:
        if image.GetSize()[-1] != 1:
            raise ValueError(
                f"it has {image.GetDimension()} axes, {image.GetSize()}; save one volume per file"
            )
        image = image[(slice(None),) * (image.GetDimension() - 1) + (0,)]
    n_channels = image.GetNumberOfComponentsPerPixel()
    array = sitk.GetArrayFromImage(image)
    if n_channels not in (1, 3) or np.iscomplexobj(array):
        raise ValueError(
            f"it has {n_channels} values of type {array.dtype} per voxel; 1 or 3 real ones are read"
        )
    values = array.astype(np.float32).reshape((-1, *array.shape[-2 - (n_channels > 1) :][:2], n_channels))
    x, y, z = (*image.GetSpacing(), 1.0)[:3]
    return Pixels(values, Grid(values.shape[:3], (z, y, x), (*image.GetOrigin(), *image.GetDirection())))


def grid(path: Path) -> Grid:
    """Shape and spacing from the header alone."""
    with _open(path) as file:
        dims, spacing, _ = _header(file.read(540))
    x, y, z = (*dims, 1)[:3]
    dx, dy, dz = (abs(step) for step in spacing)
    return Grid((z, y, x), (dz if len(dims) > 2 else 1.0, dy, dx))


def _open(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb"))


def _check_whole(path: Path) -> None:
    """Read the stream to its end (gzip checks its sum there) and compare with what the header promises."""
    with _open(path) as file:
        head = file.read(540)
        _, _, promised = _header(head)
        found = len(head)
        while chunk := file.read(CHUNK):
            found += len(chunk)
    if found < promised:
        raise ValueError(f"its header promises {promised} bytes, the file has {found}")


def _header(head: bytes) -> tuple[tuple[int, ...], tuple[float, ...], int]:
    """(sizes in order x, y, z, …, spacing in mm in order x, y, z, bytes of the whole file)."""
    for order in "<>":
        if len(head) >= 348 and struct.unpack_from(order + "i", head)[0] == 348:
            dims = struct.unpack_from(order + "8h", head, 40)
            bits = struct.unpack_from(order + "h", head, 72)[0]
            pixdim = struct.unpack_from(order + "8f", head, 76)
            start = struct.unpack_from(order + "f", head, 108)[0]
            break
        if len(head) == 540 and struct.unpack_from(order + "i", head)[0] == 540:
            dims = struct.unpack_from(order + "8q", head, 16)
            bits = struct.unpack_from(order + "h", head, 14)[0]
            pixdim = struct.unpack_from(order + "8d", head, 104)
            start = struct.unpack_from(order + "q", head, 168)[0]
            break
    else:
        raise ValueError("it does not begin with a NIfTI header")
    n = dims[0]
    if not 2 <= n <= 7 or min(dims[1 : n + 1]) < 1 or bits < 1:
        raise ValueError(
            f"its header has impossible sizes {dims[1 : max(n, 0) + 1]} or {bits} bits per voxel"
        )
    return dims[1 : n + 1], pixdim[1:4], int(start) + prod(dims[1 : n + 1]) * bits // 8
