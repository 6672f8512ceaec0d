"""NRRD volumes, in one file (.nrrd) or with detached voxels (.nhdr).

Header: definition of NRRD file format, teem.sourceforge.net/nrrd/format.html. Voxels are counted before
SimpleITK may read them, as for NIfTI.
"""

import re
from collections.abc import Callable
from math import prod
from pathlib import Path

from ..pixels import Grid, Pixels
from . import counting, itk
from .refusals import unreadable, unusable
from .units import unit_of

IMAGE_IO = "NrrdImageIO"
LONGEST_HEADER = 1 << 20
NAMES = {
    1: "signed char|int8|int8_t|uchar|unsigned char|uint8|uint8_t",
    2: "short|short int|signed short|signed short int|int16|int16_t|ushort|unsigned short|"
    "unsigned short int|uint16|uint16_t",
    4: "int|signed int|int32|int32_t|uint|unsigned int|uint32|uint32_t|float",
    8: "longlong|long long|long long int|signed long long|signed long long int|int64|int64_t|ulonglong|"
    "unsigned long long|unsigned long long int|uint64|uint64_t|double",
}
TYPES = {name: size for size, names in NAMES.items() for name in names.split("|")}
COLOURS = {"rgb-color", "3-color", "vector"}
ONE_VOLUME = {"domain", "space", "none", "???"} | COLOURS
"""Kinds of axis that a volume may have; what SimpleITK writes of colour is a vector."""
SEVERAL_VOLUMES = {"list", "time"}
VECTOR = re.compile(r"\([^)]*\)|[^\s(]+")  # (x,y,z), or none
QUOTED = re.compile(r'"([^"]*)"')
NO_STEP = {"none", "nan"}
ENCODINGS: dict[str, Callable[[Path, int], int]] = {
    "raw": counting.raw,
    "gzip": counting.gzipped,
    "gz": counting.gzipped,
}


def read(path: Path) -> Pixels:
    """The volume as stored.

    Raises:
        DataError: PFS-204, PFS-207; and what else the libraries raise.
    """
    return itk.read(path, IMAGE_IO, _stated(path, check(path)))


def read_stored(path: Path) -> Pixels:
    """The same in the type in which it is stored; the format has no scale factors."""
    return itk.stored(path, IMAGE_IO, _stated(path, check(path)))


def grid(path: Path) -> Grid:
    """The grid from the header alone."""
    fields, _, _ = _checked(path)
    return itk.grid(path, IMAGE_IO, _stated(path, fields))


def check(path: Path) -> dict[str, str]:
    """The header's fields, once there are as many voxels as they promise.

    Raises:
        DataError: PFS-204 when there are more or fewer, or they are encoded in a way that is not read.
    """
    fields, voxels, start = _checked(path)
    sizes = [int(n) for n in fields.get("sizes", "").split()]
    kind, encoding = fields.get("type", ""), fields.get("encoding", "").lower()
    if min(sizes, default=0) < 1 or str(len(sizes)) != fields.get("dimension") or kind not in TYPES:
        raise unreadable(path, f"its header has sizes {sizes} of type {kind!r}")
    if encoding not in ENCODINGS:
        raise unreadable(path, f"its voxels are encoded as {encoding!r}", "save it as raw or gzip")
    if int(fields.get("lineskip", "0")) or int(fields.get("byteskip", "0")):
        raise unreadable(path, "its header skips lines or bytes of the voxel file", "save it without skips")
    promised, found = prod(sizes) * TYPES[kind], ENCODINGS[encoding](voxels, start)
    if found != promised:
        raise unreadable(path, f"its header promises {promised} bytes of voxels, {voxels.name} has {found}")
    return fields


def detached(path: Path) -> str:
    """Name of the file with the voxels, '' where they follow the header.

    Raises:
        DataError: PFS-204 no header, OSError: it cannot be read.
    """
    return _header(path)[0].get("datafile", "")


def _checked(path: Path) -> tuple[dict[str, str], Path, int]:
    """The header, the file of the voxels, and where in it they begin."""
    fields, end = _header(path)
    _check_axes(path, fields)
    name = fields.get("datafile")
    return (fields, path, end) if name is None else (fields, counting.voxel_file(path, name), 0)


def _check_axes(path: Path, fields: dict[str, str]) -> None:
    """Refuses several volumes in one file, voxels of several values that are no colour, and half a place."""
    sizes = fields.get("sizes", "").split()
    kinds = fields.get("kinds", "").lower().split() or ["???"] * len(sizes)
    for kind, size in zip(kinds, sizes, strict=False):
        if kind in ONE_VOLUME or size == "1":
            continue
        if kind in SEVERAL_VOLUMES:
            text, hint = f"it has an axis of kind {kind}: {size} volumes", "save one volume per file"
        else:
            text, hint = f"each voxel has {size} values of kind {kind}", "save it as grey or as RGB colour"
        raise unusable(path, text, hint)
    steps = VECTOR.findall(fields.get("spacedirections", "")) or fields.get("spacings", "").split()
    spaced = not set(map(str.lower, steps)) <= NO_STEP
    for kind, size, step in zip(kinds, sizes, steps, strict=False):
        if spaced and step.lower() in NO_STEP and kind not in COLOURS and size != "1":
            raise unreadable(
                path,
                f"its header does not say how far the {size} voxels of an axis lie apart",
                "save it with the distance, or an axis of colour with its kind",
            )
    if not spaced and _given(fields, "axismins"):
        raise unreadable(
            path,
            "its header says where axes begin, and not how far voxels lie apart",
            "save it with spacings",
        )


def _stated(path: Path, fields: dict[str, str]) -> itk.Stated:
    spaced, oriented = _given(fields, "spacings"), "spacedirections" in fields
    units = QUOTED.findall(fields.get("spaceunits", ""))
    # per axis of the array, and an axis of colour has none
    per_axis = zip(QUOTED.findall(fields.get("units", "")), fields.get("spacings", "").split(), strict=False)
    units += [unit for unit, step in per_axis if step.lower() not in NO_STEP]
    return itk.Stated(
        spaced=spaced or oriented,
        oriented=oriented,
        placed="spaceorigin" in fields or _given(fields, "axismins"),
        unit=unit_of(path, units if any(units) else ()),
    )


def _given(fields: dict[str, str], name: str) -> bool:
    """Whether any number of a field per axis is one."""
    return not set(fields.get(name, "").lower().split()) <= NO_STEP


def _header(path: Path) -> tuple[dict[str, str], int]:
    """Fields by name (lower case, no spaces: both spellings are known), and where the header ends."""
    with path.open("rb") as file:
        head = file.read(LONGEST_HEADER)
    if not head.startswith(b"NRRD000"):
        raise unreadable(path, "it does not begin as an NRRD file")
    ends = [(head.index(gap) + len(gap)) for gap in (b"\n\n", b"\r\n\r\n") if gap in head]
    end = min(ends, default=len(head))
    try:
        lines = head[:end].decode().splitlines()
    except UnicodeDecodeError:  # the format says ASCII; a micro sign comes either way
        lines = head[:end].decode("latin-1").splitlines()
    pairs = [line.split(":", 1) for line in lines[1:] if ":" in line and not line.startswith("#")]
    fields = {
        name.replace(" ", "").lower(): value.strip() for name, value in pairs if not value.startswith("=")
    }
    return fields, end
