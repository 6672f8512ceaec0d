"""NIfTI-1 volumes.

SimpleITK says where the voxels lie, and nothing more: it reads a file that was cut off without a word, NaN as
0, and adds an intercept where the standard says that nothing is scaled. The voxels are read here.
"""

import gzip
import logging
import re
from collections.abc import Iterable
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from ..pixels import TOLERANCE, Apart, Grid, Pixels, affine, corners, farthest
from ..pixels import place as at
from . import itk
from .nifti_header import COLOUR, HEADER_BYTES, Header, forms, parse
from .refusals import unreadable, unusable
from .scaling import IDENTITY, refused_in_mask, scaled

IMAGE_IO = "NiftiImageIO"
CHUNK = 1 << 20

log = logging.getLogger(__name__)


def read(path: Path) -> Pixels:
    """The volume with its scale factors applied, as the standard has them.

    Raises:
        DataError: PFS-204, PFS-207; and what else the libraries raise.
    """
    header, pixels = _stored(path)
    return replace(pixels, values=scaled(pixels.values, header.scale))


def read_stored(path: Path) -> Pixels:
    """The numbers of a mask as they are stored, in their type.

    Raises:
        DataError: as ``read``, and PFS-204 when scale factors give them another meaning.
    """
    header, pixels = _stored(path)
    if header.scale != IDENTITY:
        raise refused_in_mask(path, header.scale)
    return pixels


def grid(path: Path) -> Grid:
    """The grid from the header alone; no frame where the file gives no orientation."""
    return _grid(path, _checked(path))


def _grid(path: Path, header: Header) -> Grid:
    oriented = bool(header.qform or header.sform)
    place = itk.grid(path, IMAGE_IO, itk.Stated(oriented=oriented, placed=oriented))  # it knows the units
    _agree(path, header, place)
    return replace(place, unit=header.unit)


def _stored(path: Path) -> tuple[Header, Pixels]:
    whole = bytearray()
    header = check(path, whole)
    place = _grid(path, header)
    if header.kind[1:] == COLOUR:
        return header, Pixels(
            np.frombuffer(whole, np.uint8, offset=header.start).reshape(*place.shape, 3), place
        )
    n_channels = prod(header.sizes) // prod(place.shape)
    if header.kind[1] == "V" or n_channels not in (1, 3):
        raise itk.not_real(path, n_channels, f"{header.bytes} bytes each")
    numbers = np.frombuffer(whole, header.kind, offset=header.start).reshape(n_channels, *place.shape)
    return header, Pixels(np.moveaxis(numbers, 0, -1), place)


def check(path: Path, into: bytearray | None = None) -> Header:
    """The header, once the file has as many bytes as it promises.

    Args:
        into: takes the whole file, unpacked.

    Raises:
        DataError: PFS-204 when it has more or fewer, or the header contradicts itself.
    """
    header = _checked(path)
    promised, found = header.start + prod(header.sizes) * header.bytes, 0
    with _open(path) as file:
        while chunk := file.read(CHUNK):
            found += len(chunk)
            if into is not None and found <= promised:  # of a file that is too long the rest is only counted
                into += chunk
    if found != promised:
        raise unreadable(path, f"its header promises {promised} bytes, the file has {found}")
    return header


def _checked(path: Path) -> Header:
    ending = re.search(r"\.nii(\.gz)?$", path.name, re.IGNORECASE)
    if ending and ending[0] not in (ending[0].lower(), ending[0].upper()):  # nifti_clib refuses the name
        raise unreadable(
            path,
            f"its suffix {ending[0]} mixes small and capital letters, which NIfTI's library refuses",
            f"rename it, so that it ends in {ending[0].lower()}",
        )
    with _open(path) as file:
        return parse(path, file.read(HEADER_BYTES))


def _agree(path: Path, header: Header, place: Grid) -> None:
    """ITK takes directions from the sform but voxel sizes from pixdim: refuse where they contradict.

    Where a file has two forms and they lie apart, say which is used. Where it has neither, say so: the volume
    is cut as it is stored.
    """
    if place.frame is None:
        log.warning("%s says nothing about its orientation (qform and sform codes are 0)", path.name)
        return
    matrix, index = affine(place), corners(place.shape)
    here = at(matrix, index)

    def apart(form: np.ndarray) -> Apart:
        return farthest(index, here, at(form, index), matrix[:, :3])

    pixdim = (place.spacing_mm or (1.0, 1.0, 1.0))[::-1]
    stated = forms(header, pixdim)
    found = {name: apart(form) for name, form in stated.items()}
    used = min(found, key=lambda name: found[name].voxels)
    other = max(found.values(), key=lambda one: one.voxels)
    if other.voxels <= TOLERANCE:
        return
    sizes, two_sizes = np.linalg.norm(stated[used][:, :3], axis=0), False
    if "sform" in stated:
        sizes = np.linalg.norm(stated["sform"][:, :3], axis=0)
        resized = stated["sform"] / np.append(np.where(sizes, sizes, 1), 1) * np.append(pixdim, 1)
        two_sizes = apart(resized).voxels <= TOLERANCE < found["sform"].voxels
    if found[used].voxels > TOLERANCE or two_sizes:
        raise unusable(
            path,
            f"its {'sform' if header.sform else 'qform'} has voxels of {_times(sizes)} mm, its pixdim of "
            f"{_times(pixdim)} mm: {other}",
            "save it again with a tool that writes both alike",
        )
    log.warning(
        "%s has two orientations or origins that differ (qform and sform), %s; its %s is used, for the masks "
        "that are written as well; a viewer that prefers the other one shows them elsewhere",
        path.name,
        other,
        used,
    )


def _times(numbers: Iterable[float]) -> str:
    return " x ".join(f"{n:g}" for n in numbers)


def _open(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb") if _zipped(path) else path.open("rb"))


def _zipped(path: Path) -> bool:
    return path.name.lower().endswith(".gz")
