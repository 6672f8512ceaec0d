"""NIfTI-1 volumes.

SimpleITK reads a file that was cut off without a word, and NaN as 0, so the bytes are counted and floats
looked at before it may.
Header: NIfTI-1 data format, nifti.nimh.nih.gov (offsets as in nifti1.h).
"""

import gzip
import logging
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from ..pixels import Grid, Pixels
from . import itk
from .refusals import unreadable, unusable

IMAGE_IO = "NiftiImageIO"
CHUNK = 1 << 20
HEADER_BYTES = 348
ORIGIN_MM = 0.1  # as far as origins may lie apart and count as one, see pixels.Grid
TO_LPS = np.diag((-1.0, -1.0, 1.0))  # from NIfTI's RAS
QFORM_CODE = 252  # offset; the sform code follows
# by data type; those of more than one number per voxel (colour) have no letter
BITS = {2: 8, 4: 16, 8: 32, 16: 32, 64: 64, 128: 24, 256: 8, 512: 16, 768: 32, 1024: 64, 1280: 64}
LETTERS = {2: "u", 4: "i", 8: "i", 16: "f", 64: "f", 256: "i", 512: "u", 768: "u", 1024: "i", 1280: "u"}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Header:
    """What counts in a NIfTI header.

    Attributes:
        sizes, spacing_mm: in order x, y, z, …
        start: offset of the first voxel. bytes: per voxel.
        kind: byte order and letter of the voxel type, as numpy spells it ('<f4', '>i2'; '<V3' is colour).
        qform, sform: codes; 0 says that the matrix means nothing.
        quaternion: b, c, d of the qform. shift: its origin. handed: its qfac, 1 or -1.
        affine: float64 [3, 4] of the sform.
    """

    sizes: tuple[int, ...]
    spacing_mm: tuple[float, ...]
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
    """The volume with its scale factors applied.

    Raises:
        DataError: PFS-204, PFS-207; and what else the libraries raise.
    """
    header = check(path)
    pixels = itk.read(path, IMAGE_IO, oriented=bool(header.qform or header.sform))
    _agree(path, header, pixels.grid)
    return pixels


def read_stored(path: Path) -> Pixels:
    """The numbers of a mask as they are stored."""
    return read(path)


def grid(path: Path) -> Grid:
    """The grid from the header alone; no frame where the file gives no orientation."""
    header = _checked(path)
    place = itk.grid(path, IMAGE_IO, oriented=bool(header.qform or header.sform))
    _agree(path, header, place)
    return place


def check(path: Path) -> Header:
    """The header, once the file has as many bytes as it promises.

    Raises:
        DataError: PFS-204 when it has more or fewer, or the header contradicts itself.
    """
    header = _checked(path)
    found, n_bad = 0, 0
    with _open(path) as file:
        found += len(file.read(header.start))
        while chunk := file.read(CHUNK):
            found += len(chunk)
            if header.kind[1] == "f":
                numbers = np.frombuffer(chunk[: len(chunk) // header.bytes * header.bytes], header.kind)
                n_bad += numbers.size - int(np.isfinite(numbers).sum())
    promised = header.start + prod(header.sizes) * header.bytes
    if found != promised:
        raise unreadable(path, f"its header promises {promised} bytes, the file has {found}")
    if n_bad:
        text = f"{n_bad} of its {prod(header.sizes)} voxels are NaN or infinite"
        raise unreadable(path, text, "replace or export them again")
    return header


def _checked(path: Path) -> Header:
    """The header, once it does not contradict itself."""
    with _open(path) as file:
        header = _parse(path, file.read(HEADER_BYTES))
    steps = [s for n, s in zip(header.sizes, header.spacing_mm, strict=False) if n > 1]
    if not all(np.isfinite(s) and s > 0 for s in steps):
        raise unreadable(path, f"its header gives voxels of {steps} mm")
    if header.qform and not sum(q * q for q in header.quaternion) <= 1.001:
        raise unreadable(path, f"its header gives a rotation {header.quaternion} that is none")
    if header.sform and not np.isfinite(header.affine).all():
        raise unreadable(path, "its sform holds numbers that are not finite")
    if header.sform and not header.qform:
        itk.check_axes(path, header.affine[:, :3])  # ITK would say no more than that it found no rotation
    return header


def _agree(path: Path, header: Header, place: Grid) -> None:
    """ITK takes directions from the sform but voxel sizes from pixdim: refuse where they contradict.

    Where there is neither qform nor sform, say so: the volume is cut as it is stored.
    """
    if not (header.qform or header.sform):
        log.warning("%s says nothing about its orientation (qform and sform codes are 0)", path.name)
    if not header.sform or place.frame is None or place.spacing_mm is None:
        return
    lengths = np.linalg.norm(header.affine[:, :3], axis=0)
    spacing = np.array(place.spacing_mm[::-1])
    used = np.arange(3) < len(header.sizes)
    directions = header.affine[:, :3] / np.where(lengths, lengths, 1)
    taken = np.allclose(
        (TO_LPS @ directions)[:, used], np.reshape(place.frame[3:], (3, 3))[:, used], atol=1e-3
    )
    if taken and not np.allclose(lengths[used], spacing[used], rtol=1e-2):
        raise unusable(
            path,
            f"its sform has voxels of {_some(lengths)} mm, its pixdim of {_some(spacing)} mm",
            "save it again with a tool that writes both alike",
        )
    taken = taken and np.allclose(TO_LPS @ header.affine[:, 3], place.frame[:3], atol=ORIGIN_MM)
    turned = header.qform and not np.allclose(directions[:, used], _rotation(header)[:, used], atol=1e-3)
    moved = header.qform and not np.allclose(header.affine[:, 3], header.shift, atol=ORIGIN_MM)
    if not taken or turned or moved:
        log.warning(
            "%s has two orientations or origins that differ (qform and sform): its %s is used, for the masks "
            "that are written as well; a viewer that prefers the other one shows them elsewhere",
            path.name,
            "sform" if taken else "qform",
        )


def _rotation(header: Header) -> np.ndarray:
    """Direction cosines of the qform, float64 [3, 3], one axis per column, in RAS."""
    b, c, d = header.quaternion
    a = float(np.sqrt(max(0.0, 1.0 - (b * b + c * c + d * d))))
    turn = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    return turn @ np.diag((1.0, 1.0, header.handed))


def _some(numbers: np.ndarray) -> str:
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
    return Header(
        sizes=tuple(dims[:n]),
        spacing_mm=get("8f", 76)[1 : min(n, 3) + 1],
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
