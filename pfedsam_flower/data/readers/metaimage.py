"""MetaImage volumes, in one file (.mha) or with detached voxels (.mhd).

Header: itk.org/Wiki/ITK/MetaIO/Documentation. Voxels are counted before SimpleITK may read them, as for
NIfTI.
"""

from dataclasses import replace
from math import isfinite, prod
from pathlib import Path

from ..pixels import Grid, Pixels
from . import counting, itk, scaling
from .refusals import unreadable

IMAGE_IO = "MetaImageIO"
LONGEST_HEADER = 1 << 16
TYPES = {"CHAR": 1, "UCHAR": 1, "SHORT": 2, "USHORT": 2, "INT": 4, "UINT": 4, "FLOAT": 4}
TYPES |= {"LONG_LONG": 8, "ULONG_LONG": 8, "DOUBLE": 8}
ORIGINS = ("Origin", "Position", "Offset")  # names of one field each; MetaIO takes one of several in silence
ORIENTATIONS = ("TransformMatrix", "Rotation", "Orientation")
BYTE_ORDERS = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
SPACINGS = {"ElementSpacing", "ElementSize"}  # the first holds where both are given
UNITS = ("um", "mm", "cm")
NO_UNIT = "?"
SCALE = {"ElementToIntensityFunctionSlope": 1.0, "ElementToIntensityFunctionOffset": 0.0}


def read(path: Path) -> Pixels:
    """The volume with its intensity slope and offset applied, which ITK passes over.

    Raises:
        DataError: PFS-204, PFS-207; and what else the libraries raise.
    """
    fields = check(path)
    pixels = itk.stored(path, IMAGE_IO, _stated(fields))
    return replace(pixels, values=scaling.scaled(pixels.values, _scale(fields)))


def read_stored(path: Path) -> Pixels:
    """The numbers of a mask as they are stored, in their type.

    Raises:
        DataError: as ``read``, and PFS-204 when the header gives them another meaning.
    """
    fields = check(path)
    if _scale(fields) != scaling.IDENTITY:
        raise scaling.refused_in_mask(path, _scale(fields))
    return itk.stored(path, IMAGE_IO, _stated(fields))


def grid(path: Path) -> Grid:
    """The grid from the header alone."""
    fields, _, _ = _checked(path)
    return itk.grid(path, IMAGE_IO, _stated(fields))


def check(path: Path) -> dict[str, str]:
    """The header's fields, once there are as many voxels as they promise.

    Raises:
        DataError: PFS-204 when there are more or fewer, or they are stored in a way that is not read.
    """
    fields, voxels, start = _checked(path)
    sizes = [int(n) for n in fields.get("DimSize", "").split()]
    kind = fields.get("ElementType", "")
    size = TYPES.get(kind.removeprefix("MET_").removesuffix("_ARRAY"))
    if min(sizes, default=0) < 1 or str(len(sizes)) != fields.get("NDims") or size is None:
        raise unreadable(path, f"its header has sizes {sizes} of type {kind!r}")
    if fields.get("BinaryData", "True").lower() != "true" or int(fields.get("HeaderSize", "0")):
        raise unreadable(path, "its voxels are text or behind a header", "save it as one binary .mha file")
    packed = fields.get("CompressedData", "False").lower() == "true"
    stated, stored = fields.get("CompressedDataSize", "0"), counting.raw(voxels, start)
    if packed and int(stated) != stored:  # MetaIO would unpack less, or nothing, in silence
        raise unreadable(path, f"its header promises {stated} compressed bytes, {voxels.name} has {stored}")
    found = counting.deflated(voxels, start) if packed else stored
    promised = prod(sizes) * int(fields.get("ElementNumberOfChannels", "1")) * size
    if found != promised:
        raise unreadable(path, f"its header promises {promised} bytes of voxels, {voxels.name} has {found}")
    return fields


def detached(path: Path) -> str:
    """Name of the file with the voxels, '' where they follow the header.

    Raises:
        DataError: PFS-204 no header, OSError: it cannot be read.
    """
    name = _header(path)[0]["ElementDataFile"]
    return "" if name.upper() == "LOCAL" else name


def _checked(path: Path) -> tuple[dict[str, str], Path, int]:
    """The header, the file of the voxels and where in it they begin; refused where it contradicts itself."""
    fields, end = _header(path)
    for names in (ORIGINS, ORIENTATIONS, BYTE_ORDERS):
        said = {name: fields[name] for name in names if name in fields}
        if len({tuple(value.lower().split()) for value in said.values()}) > 1:
            text = " and ".join(f"{name} = {value}" for name, value in said.items())
            raise unreadable(path, f"its header contradicts itself: {text}")
    unit = fields.get("DistanceUnits", NO_UNIT)
    if unit not in (*UNITS, NO_UNIT):
        known = ", ".join(UNITS)
        raise unreadable(path, f"its header measures in {unit!r}; MetaImage knows {known}", "save it in mm")
    slope, offset = _scale(fields)
    if not (isfinite(slope) and isfinite(offset) and slope):
        raise unreadable(path, f"its header scales its values by {slope:g} and adds {offset:g}")
    name = fields["ElementDataFile"]
    return (fields, path, end) if name.upper() == "LOCAL" else (fields, counting.voxel_file(path, name), 0)


def _stated(fields: dict[str, str]) -> itk.Stated:
    unit = fields.get("DistanceUnits", NO_UNIT)
    return itk.Stated(
        spaced=bool(SPACINGS & fields.keys()),
        oriented=any(name in fields for name in ORIENTATIONS),
        placed=any(name in fields for name in ORIGINS),
        unit="mm" if unit == NO_UNIT else unit,
    )


def _scale(fields: dict[str, str]) -> tuple[float, float]:
    """Slope and offset from what is stored to what is meant."""
    slope, offset = (float(fields.get(name, usual)) for name, usual in SCALE.items())
    return slope, offset


def _header(path: Path) -> tuple[dict[str, str], int]:
    """Fields by name, and where the header ends: after the line ElementDataFile."""
    with path.open("rb") as file:
        head = file.read(LONGEST_HEADER)
    fields: dict[str, str] = {}
    end = 0
    while "ElementDataFile" not in fields:
        stop = head.find(b"\n", end)
        name, equals, value = head[end : stop if stop >= 0 else len(head)].decode("latin-1").partition("=")
        if not equals:
            raise unreadable(path, "it does not begin with a MetaImage header")
        fields[name.strip()] = value.strip()
        end = stop + 1 if stop >= 0 else len(head)
    return fields, end
