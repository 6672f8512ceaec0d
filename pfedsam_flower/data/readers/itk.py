"""What every format read through SimpleITK shares: arrays in order z, y, x and a checked grid."""

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from math import prod
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ...errors import DataError
from ..pixels import UNITS_MM, Grid, Pixels
from .names import check_name
from .refusals import unreadable, unusable
from .scaling import IDENTITY, scaled

SKEW = 1e-3  # largest cosine between two axes that still counts as a right angle

# what libjpeg and MetaIO print: of data that they decode to something all the same, and of the rest
CORRUPT = (b"Corrupt JPEG data", b"Premature end of JPEG", b"Uncompress failed")
NOISE = (b"Unsupported JPEG data precision", b"MetaObject:", b"MetaImage:", b"DimSize required")
_stderr = threading.Lock()


@cache
def simpleitk() -> ModuleType:
    """SimpleITK, told to keep its warnings off the user's screen."""
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    return sitk


@dataclass(frozen=True)
class Stated:
    """What a header says of the place; ITK fills in 1, 0 and identity for the rest, in silence.

    Attributes:
        spaced: how large voxels are. oriented: where axes point. placed: where the first voxel lies.
        unit: of the lengths that ITK passes on as they are (NRRD, MetaImage), of ``UNITS_MM``.
    """

    spaced: bool = True
    oriented: bool = True
    placed: bool = True
    unit: str = "mm"


AS_ITK_SAYS = Stated()


def read(path: Path, image_io: str, stated: Stated = AS_ITK_SAYS) -> Pixels:
    """``stored`` as float32."""
    pixels = stored(path, image_io, stated)
    return replace(pixels, values=scaled(pixels.values, IDENTITY))


def stored(path: Path, image_io: str, stated: Stated = AS_ITK_SAYS) -> Pixels:
    """The whole file by the ITK reader named ``image_io``, its numbers as they are stored, in their type.

    Raises:
        DataError: PFS-207 when it is not one volume with axes at right angles, PFS-204 when its values
            are not 1 or 3 real numbers per voxel, and as ``grid``.
    """
    place = grid(path, image_io, stated)  # what both readings say differs where a spacing is negative
    with _stderr_checked(path):
        image = _reader(path, image_io).Execute()
    n_channels = image.GetNumberOfComponentsPerPixel()
    array = simpleitk().GetArrayFromImage(image)
    if n_channels not in (1, 3) or np.iscomplexobj(array):
        raise not_real(path, n_channels, str(array.dtype))
    return Pixels(array.reshape(*place.shape, n_channels), place)


def not_real(path: Path, n_channels: int, kind: str) -> DataError:
    """For voxels of other than 1 or 3 real numbers."""
    return unreadable(
        path,
        f"it has {n_channels} values of type {kind} per voxel; 1 or 3 real ones are read",
        "save one channel, or three of colour",
    )


def grid(path: Path, image_io: str, stated: Stated) -> Grid:
    """The grid from the header alone, equal to that of ``stored``.

    Raises:
        DataError: PFS-207 when the axes are not at right angles or there are several volumes, PFS-204
            when the header gives no place at all.
    """
    reader = _reader(path, image_io)
    with _stderr_checked(path):
        try:
            reader.ReadImageInformation()
        except RuntimeError as error:
            raise (sheared(path) if "orthonormal" in str(error) else error) from error
    return _grid(path, reader, stated)


@contextmanager
def _stderr_checked(path: Path) -> Iterator[None]:
    """Hold what the process writes to stderr: some libraries say only there that data are corrupt.

    What is not theirs is passed on afterwards.
    """
    with _stderr, tempfile.TemporaryFile() as held:
        saved = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            held.seek(0)
            lines = held.read().splitlines(keepends=True)
            os.write(2, b"".join(line for line in lines if not line.startswith(NOISE + CORRUPT)))
    if any(line.startswith(CORRUPT) for line in lines):
        raise unreadable(path, "its compressed data are corrupt")


def _reader(path: Path, image_io: str) -> Any:
    check_name(path)  # of a slice, which nobody has looked at yet
    reader = simpleitk().ImageFileReader()
    reader.SetImageIO(image_io)  # by name: what is inside must be what the suffix says
    reader.SetFileName(str(path))
    return reader


def _grid(path: Path, header: Any, stated: Stated) -> Grid:
    """``header``: a SimpleITK reader that has read the header. Spacings may be negative there."""
    size, n = header.GetSize(), header.GetDimension()
    n_volumes = prod(size[3:])
    if n_volumes != 1:
        raise unusable(
            path,
            f"it has {n} axes, {size}: {n_volumes} volumes",
            "save one volume per file",
            volumes=n_volumes,
        )
    k = min(n, 3)
    spacing, origin, direction = np.ones(3), np.zeros(3), np.eye(3)
    spacing[:k], origin[:k] = header.GetSpacing()[:k], header.GetOrigin()[:k]
    direction[:k, :k] = np.reshape(header.GetDirection(), (n, n))[:k, :k]
    if not (np.isfinite(spacing).all() and np.isfinite(origin).all() and np.isfinite(direction).all()):
        raise unreadable(path, "its header places the voxels at numbers that are not finite")
    if (spacing == 0).any():
        raise unreadable(path, f"its header gives voxels of {_times(spacing)} mm")
    if (spacing < 0).any() and not stated.oriented:
        raise unreadable(
            path,
            "its header gives a negative distance of voxels, and not where axes point",
            "save it with directions, and distances above 0",
        )
    spacing, direction = np.abs(spacing), direction * np.sign(spacing)
    check_axes(path, direction)
    if np.abs(np.linalg.norm(direction, axis=0) - 1).max() > SKEW:
        raise unreadable(path, "its header gives directions that are not of length 1")
    x, y, z = (*size[:k], 1)[:3]
    to_mm = UNITS_MM[stated.unit]
    dx, dy, dz = (float(d) * to_mm for d in spacing)
    first, axes = (origin * to_mm).tolist(), direction.ravel().tolist()
    frame = (*first, *axes) if stated.oriented else tuple(first) if stated.placed else None
    return Grid((z, y, x), (dz, dy, dx) if stated.spaced else None, frame, stated.unit)


def check_axes(path: Path, direction: np.ndarray) -> None:
    """Refuse a frame (float [3, 3], one axis per column) whose axes are not at right angles."""
    lengths = np.linalg.norm(direction, axis=0)
    if (lengths == 0).any():
        raise unreadable(path, "its header gives an axis without a direction")
    cosines = (direction / lengths).T @ (direction / lengths)
    if np.abs(cosines - np.eye(3)).max() > SKEW:
        raise sheared(path)


def sheared(path: Path) -> DataError:
    """For axes that are not at right angles."""
    return unusable(
        path,
        "its axes are not at right angles (a sheared volume, as a tilted gantry gives)",
        "resample it to a regular grid, image and mask together",
    )


def _times(numbers: np.ndarray) -> str:
    return " x ".join(f"{n:g}" for n in numbers)
