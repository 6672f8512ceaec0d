"""NIfTI-1 volumes.

SimpleITK says where the voxels lie, and nothing more: it reads a file that was cut off without a word, NaN as
0, and adds an intercept where the standard says that nothing is scaled. The voxels are read here.
Header: NIfTI-1 data format, nifti.nimh.nih.gov (offsets as in nifti1.h).
"""

import gzip
import logging
import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import isfinite, prod
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from ..pixels import TOLERANCE, UNITS_MM, Apart, Grid, Pixels, affine, corners, farthest
from ..pixels import place as at
from . import itk
from .refusals import unreadable, unusable
from .scaling import IDENTITY, refused_in_mask, scaled

IMAGE_IO = "NiftiImageIO"
CHUNK = 1 << 20
HEADER_BYTES = 348
TO_LPS = np.diag((-1.0, -1.0, 1.0))  # from NIfTI's RAS
QFORM_CODE = 252  # offset; the sform code follows
UNITS_AT, LENGTH_BITS = 123, 7  # offset of xyzt_units, and which of its bits are the unit of length
UNITS = {0: "mm", 1: "m", 2: "mm", 3: "um"}  # 0: not said
# by data type; those of more than one number per voxel (colour) have no letter
HALF_TURN = 1e-7  # square of a quaternion's real part below which rounding made it, as nifti1_io.c has it
COLOUR, RGB24 = "V3", 128
BITS = {2: 8, 4: 16, 8: 32, 16: 32, 64: 64, 128: 24, 256: 8, 512: 16, 768: 32, 1024: 64, 1280: 64}
LETTERS = {2: "u", 4: "i", 8: "i", 16: "f", 64: "f", 256: "i", 512: "u", 768: "u", 1024: "i", 1280: "u"}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Header:
    """What counts in a NIfTI header.

    Attributes:
        sizes, spacing: in order x, y, z, …
        unit: of all lengths here, of ``pixels.UNITS_MM``.
        scale: slope and intercept; (1, 0) where there are none.
        start: offset of the first voxel. bytes: per voxel.
        kind: byte order and letter of the voxel type, as numpy spells it ('<f4', '>i2'; '<V3' is colour).
        qform, sform: codes; 0 says that the matrix means nothing.
        quaternion: b, c, d of the qform. shift: its origin. handed: its qfac, 1 or -1.
        affine: float64 [3, 4] of the sform.
    """

    sizes: tuple[int, ...]
    spacing: tuple[float, ...]
    unit: str
    scale: tuple[float, float]
    start: int
    bytes: int
    kind: str
    qform: int
    sform: int
    quaternion: tuple[float, ...]
    shift: tuple[float, ...]
    handed: float
    affine: np.ndarray


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
    header, body = check(path)
    place = _grid(path, header)
    if header.kind[1:] == COLOUR:
        return header, Pixels(np.frombuffer(body, np.uint8).reshape(*place.shape, 3), place)
    n_channels = prod(header.sizes) // prod(place.shape)
    if header.kind[1] == "V" or n_channels not in (1, 3):
        raise itk.not_real(path, n_channels, f"{header.bytes} bytes each")
    numbers = np.frombuffer(body, header.kind).reshape(n_channels, *place.shape)
    return header, Pixels(np.moveaxis(numbers, 0, -1), place)


def check(path: Path) -> tuple[Header, bytearray]:
    """The header and the voxels, once the file has as many bytes as it promises.

    Raises:
        DataError: PFS-204 when it has more or fewer, or the header contradicts itself.
    """
    header = _checked(path)
    promised = header.start + prod(header.sizes) * header.bytes
    body, found = bytearray(), 0
    with _open(path) as file:
        while chunk := file.read(CHUNK):
            found += len(chunk)
            if found <= promised:  # of a file that is too long the rest is only counted
                body += chunk
    if found != promised:
        raise unreadable(path, f"its header promises {promised} bytes, the file has {found}")
    return header, body[header.start :]


def _checked(path: Path) -> Header:
    """The header, once it does not contradict itself."""
    with _open(path) as file:
        header = _parse(path, file.read(HEADER_BYTES))
    steps = [s for n, s in zip(header.sizes, header.spacing, strict=False) if n > 1]
    if not all(np.isfinite(s) and s > 0 for s in steps):
        raise unreadable(path, f"its header gives voxels of {steps} {header.unit}")
    if header.qform and not sum(q * q for q in header.quaternion) <= 1.001:
        raise unreadable(path, f"its header gives a rotation {header.quaternion} that is none")
    if header.sform and not np.isfinite(header.affine).all():
        raise unreadable(path, "its sform holds numbers that are not finite")
    if header.sform and not header.qform:
        itk.check_axes(path, header.affine[:, :3])  # ITK would say no more than that it found no rotation
    return header


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

    forms = _forms(header, place)
    found = {name: apart(form) for name, form in forms.items()}
    used = min(found, key=lambda name: found[name].voxels)
    other = max(found.values(), key=lambda one: one.voxels)
    if other.voxels <= TOLERANCE:
        return
    sizes, two_sizes = np.linalg.norm(forms[used][:, :3], axis=0), False
    if "sform" in forms:
        sizes = np.linalg.norm(forms["sform"][:, :3], axis=0)
        resized = forms["sform"] / np.append(np.where(sizes, sizes, 1), 1) * np.append(_pixdim(place), 1)
        two_sizes = apart(resized).voxels <= TOLERANCE < found["sform"].voxels
    if found[used].voxels > TOLERANCE or two_sizes:
        raise unusable(
            path,
            f"its {'sform' if header.sform else 'qform'} has voxels of {_times(sizes)} mm, its pixdim of "
            f"{_times(_pixdim(place))} mm: {other}",
            "save it again with a tool that writes both alike",
        )
    log.warning(
        "%s has two orientations or origins that differ (qform and sform), %s; its %s is used, for the masks "
        "that are written as well; a viewer that prefers the other one shows them elsewhere",
        path.name,
        other,
        used,
    )


def _forms(header: Header, place: Grid) -> dict[str, np.ndarray]:
    """The forms that count: float64 [3, 4] mm from index to place, as ``pixels.affine``."""
    to_mm = UNITS_MM[header.unit]
    forms = {
        "qform": (header.qform, _rotation(header) * _pixdim(place), header.shift),
        "sform": (header.sform, header.affine[:, :3] * to_mm, header.affine[:, 3]),
    }
    flat = [[1], [1], [len(header.sizes) > 2]]  # of a flat file ITK drops where it lies across itself
    return {
        name: TO_LPS @ np.column_stack([steps, np.multiply(shift, to_mm)]) * flat
        for name, (code, steps, shift) in forms.items()
        if code
    }


def _pixdim(place: Grid) -> tuple[float, ...]:
    """Voxel sizes x, y, z in mm."""
    return (place.spacing_mm or (1.0, 1.0, 1.0))[::-1]


def _scale(path: Path, slope: float, intercept: float) -> tuple[float, float]:
    """Slope and intercept. A slope of 0 says that there are none, whatever stands beside it.

    So does one that is no number: libraries write it where nothing is scaled.
    """
    if not isfinite(slope) or slope == 0:
        return IDENTITY
    if not isfinite(intercept):
        raise unreadable(path, f"its header scales its values by {slope:g} and adds {intercept:g}")
    return slope, intercept


def _rotation(header: Header) -> np.ndarray:
    """Direction cosines of the qform, float64 [3, 3], one axis per column, in RAS."""
    b, c, d = header.quaternion
    rest = 1.0 - (b * b + c * c + d * d)
    if rest < HALF_TURN:
        b, c, d = np.array((b, c, d)) / np.sqrt(b * b + c * c + d * d)
    a = float(np.sqrt(rest)) if rest >= HALF_TURN else 0.0
    turn = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    return turn @ np.diag((1.0, 1.0, header.handed))


def _times(numbers: Iterable[float]) -> str:
    return " x ".join(f"{n:g}" for n in numbers)


def _open(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb") if _zipped(path) else path.open("rb"))


def _zipped(path: Path) -> bool:
    return path.name.lower().endswith(".gz")


def _parse(path: Path, head: bytes) -> Header:
    for order in "<>":
        if len(head) >= 4 and struct.unpack_from(order + "i", head)[0] == 540:
            raise unreadable(path, "it is NIfTI-2, which is not read", "save it as NIfTI-1")
        if len(head) == HEADER_BYTES and struct.unpack_from(order + "i", head)[0] == HEADER_BYTES:
            break
    else:
        raise unreadable(path, "it does not begin with a NIfTI header")

    def get(form: str, offset: int) -> tuple[float, ...]:
        return struct.unpack_from(order + form, head, offset)

    n, *dims = (int(d) for d in get("8h", 40))
    kind, bits = (int(v) for v in get("2h", 70))
    start = get("f", 108)[0]
    if head[344:348] != b"n+1\0" or not start >= HEADER_BYTES + 4 or start != int(start):
        raise unreadable(path, "its header does not say where in this file the voxels begin")
    if not 2 <= n <= 7 or min(dims[:n]) < 1 or BITS.get(kind) != bits:
        raise unreadable(
            path, f"its header has {n} axes of {dims[: max(n, 0)]} voxels of type {kind} with {bits} bits"
        )
    code = head[UNITS_AT] & LENGTH_BITS
    if code not in UNITS:
        raise unreadable(
            path, f"its header measures in a unit of length {code} that is none", "save it in mm"
        )
    return Header(
        sizes=tuple(dims[:n]),
        spacing=get("8f", 76)[1 : min(n, 3) + 1],
        unit=UNITS[code],
        scale=_scale(path, *get("2f", 112)) if kind != RGB24 else IDENTITY,
        start=int(start),
        bytes=bits // 8,
        kind=f"{order}{LETTERS.get(kind, 'V')}{bits // 8}",
        qform=int(get("h", QFORM_CODE)[0]),
        sform=int(get("h", QFORM_CODE + 2)[0]),
        quaternion=get("3f", 256),
        shift=get("3f", 268),
        handed=-1.0 if get("f", 76)[0] < 0 else 1.0,
        affine=np.array(get("12f", 280), np.float64).reshape(3, 4),
    )
