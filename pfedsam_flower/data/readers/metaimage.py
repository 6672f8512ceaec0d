"""MetaImage volumes, in one file (.mha) or with detached voxels (.mhd).

Header: itk.org/Wiki/ITK/MetaIO/Documentation. Voxels are counted before SimpleITK may read them, as for
NIfTI.
"""

from math import prod
from pathlib import Path

from ..pixels import Grid, Pixels
from . import counting, itk
from .refusals import unreadable

IMAGE_IO = "MetaImageIO"
LONGEST_HEADER = 1 << 16
TYPES = {"CHAR": 1, "UCHAR": 1, "SHORT": 2, "USHORT": 2, "INT": 4, "UINT": 4, "FLOAT": 4}
TYPES |= {"LONG_LONG": 8, "ULONG_LONG": 8, "DOUBLE": 8}
ORIENTATIONS = {"TransformMatrix", "Rotation", "Orientation"}  # three names of one field
SPACINGS = {"ElementSpacing", "ElementSize"}


def read(path: Path) -> Pixels:
    """The volume as stored.

    Raises:
        DataError: PFS-204, PFS-207; and what else the libraries raise.
    """
    return itk.read(path, IMAGE_IO, **_known(check(path)))


def read_stored(path: Path) -> Pixels:
    """The numbers of a mask as they are stored."""
    return read(path)


def grid(path: Path) -> Grid:
    """The grid from the header alone."""
    fields, _ = _header(path)
    return itk.grid(path, IMAGE_IO, **_known(fields))


def check(path: Path) -> dict[str, str]:
    """The header's fields, once there are as many voxels as they promise.

    Raises:
        DataError: PFS-204 when there are more or fewer, or they are stored in a way that is not read.
    """
    fields, start = _header(path)
    sizes = [int(n) for n in fields.get("DimSize", "").split()]
    kind, name = fields.get("ElementType", ""), fields["ElementDataFile"]
    size = TYPES.get(kind.removeprefix("MET_").removesuffix("_ARRAY"))
    if min(sizes, default=0) < 1 or str(len(sizes)) != fields.get("NDims") or size is None:
        raise unreadable(path, f"its header has sizes {sizes} of type {kind!r}")
    if fields.get("BinaryData", "True").lower() != "true" or int(fields.get("HeaderSize", "0")):
        raise unreadable(path, "its voxels are text or behind a header", "save it as one binary .mha file")
    voxels, start = (path, start) if name.upper() == "LOCAL" else (path.parent / name, 0)
    if not voxels.is_file():
        raise unreadable(
            path, f"its voxel file {name!r} is missing", "copy both files, or save it as one .mha"
        )
    packed = fields.get("CompressedData", "False").lower() == "true"
    stated, stored = fields.get("CompressedDataSize", "0"), counting.raw(voxels, start)
    if packed and int(stated) != stored:  # MetaIO would unpack less, or nothing, in silence
        raise unreadable(path, f"its header promises {stated} compressed bytes, {voxels.name} has {stored}")
    found = counting.deflated(voxels, start) if packed else stored
    promised = prod(sizes) * int(fields.get("ElementNumberOfChannels", "1")) * size
    if found != promised:
        raise unreadable(path, f"its header promises {promised} bytes of voxels, {voxels.name} has {found}")
    return fields


def _known(fields: dict[str, str]) -> dict[str, bool]:
    return {"spaced": bool(SPACINGS & fields.keys()), "oriented": bool(ORIENTATIONS & fields.keys())}


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
