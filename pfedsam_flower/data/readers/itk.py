"""What every format read through SimpleITK shares: arrays in order z, y, x and a checked grid."""

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from math import prod
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..pixels import Grid, Pixels
from .refusals import unreadable, unusable

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


def read(path: Path, image_io: str, *, spaced: bool = True, oriented: bool = True) -> Pixels:
    """The whole file by the ITK reader named ``image_io``; see ``grid`` for the two switches.

    Raises:
        DataError: PFS-207 when it is not one volume with axes at right angles, PFS-204 when its values
            are not 1 or 3 real numbers per voxel.
    """
    with _stderr_checked(path):
        image = _reader(path, image_io).Execute()
    place = _grid(path, image, spaced, oriented)
    n_channels = image.GetNumberOfComponentsPerPixel()
    array = simpleitk().GetArrayViewFromImage(image)
    if n_channels not in (1, 3) or np.iscomplexobj(array):
        raise unreadable(
            path,
            f"it has {n_channels} values of type {array.dtype} per voxel; 1 or 3 real ones are read",
            "save one channel, or three of colour",
        )
    return Pixels(array.astype(np.float32).reshape(*place.shape, n_channels), place)


def grid(path: Path, image_io: str, *, spaced: bool = True, oriented: bool = True) -> Grid:
    """The grid from the header alone, equal to that of ``read``.

    Args:
        spaced: the file states voxel sizes; else the spacing is None.
        oriented: it states where its axes point; else the frame is None.
    """
    reader = _reader(path, image_io)
    with _stderr_checked(path):
        reader.ReadImageInformation()
    return _grid(path, reader, spaced, oriented)


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
    reader = simpleitk().ImageFileReader()
    reader.SetImageIO(image_io)  # by name: what is inside must be what the suffix says
    reader.SetFileName(str(path))
    return reader


def _grid(path: Path, header: Any, spaced: bool, oriented: bool) -> Grid:
    """``header``: a SimpleITK image, or a reader that has read the header."""
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
    check_axes(path, direction)
    x, y, z = (*size[:k], 1)[:3]
    dx, dy, dz = (float(d) for d in spacing)
    frame = (*origin.tolist(), *direction.ravel().tolist())
    return Grid((z, y, x), (dz, dy, dx) if spaced else None, frame if oriented else None)


def check_axes(path: Path, direction: np.ndarray) -> None:
    """Refuse a frame (float [3, 3], one axis per column) whose axes are not at right angles."""
    lengths = np.linalg.norm(direction, axis=0)
    if (lengths == 0).any():
        raise unreadable(path, "its header gives an axis without a direction")
    cosines = (direction / lengths).T @ (direction / lengths)
    if np.abs(cosines - np.eye(3)).max() > SKEW:
        raise unusable(
            path,
            "its axes are not at right angles (a sheared volume, as a tilted gantry gives)",
            "resample it to a regular grid, image and mask together",
        )
