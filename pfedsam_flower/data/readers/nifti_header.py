"""What a NIfTI-1 header says.

NIfTI-1 data format, nifti.nimh.nih.gov (offsets as in nifti1.h).
"""

import struct
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import numpy as np

from ..pixels import UNITS_MM
from . import itk
from .refusals import unreadable
from .scaling import IDENTITY

HEADER_BYTES = 348
TO_LPS = np.diag((-1.0, -1.0, 1.0))  # from NIfTI's RAS
QFORM_CODE = 252  # offset; the sform code follows
UNITS_AT, LENGTH_BITS = 123, 7  # offset of xyzt_units, and which of its bits are the unit of length
UNITS = {0: "mm", 1: "m", 2: "mm", 3: "um"}  # 0: not said
HALF_TURN = 1e-7  # square of a quaternion's real part below which rounding made it, as nifti1_io.c has it
COLOUR, RGB24 = "V3", 128
# by data type; those of more than one number per voxel (colour) have no letter
BITS = {2: 8, 4: 16, 8: 32, 16: 32, 64: 64, 128: 24, 256: 8, 512: 16, 768: 32, 1024: 64, 1280: 64}
LETTERS = {2: "u", 4: "i", 8: "i", 16: "f", 64: "f", 256: "i", 512: "u", 768: "u", 1024: "i", 1280: "u"}


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


def parse(path: Path, head: bytes) -> Header:
    """The header in the first ``HEADER_BYTES``, once it does not contradict itself.

    Raises:
        DataError: PFS-204, or PFS-207 where axes are not at right angles.
    """
    header = _parse(path, head)
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


def forms(header: Header, pixdim_mm: tuple[float, ...]) -> dict[str, np.ndarray]:
    """The qform and the sform, each if it counts: float64 [3, 4] mm, index to place, as ``pixels.affine``.

    Args:
        pixdim_mm: voxel sizes x, y, z, of which the qform is made.
    """
    to_mm, found = UNITS_MM[header.unit], {}
    if header.qform:
        found["qform"] = np.column_stack([_rotation(header) * pixdim_mm, np.multiply(header.shift, to_mm)])
    if header.sform:
        found["sform"] = header.affine * to_mm
    flat = [[1], [1], [len(header.sizes) > 2]]  # of a flat file ITK drops where it lies across itself
    return {name: TO_LPS @ form * flat for name, form in found.items()}


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
