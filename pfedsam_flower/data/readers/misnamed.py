"""Files whose suffix says one format and whose first bytes say another."""

from pathlib import Path
from typing import NamedTuple

from ...errors import DataError
from .refusals import unreadable


class Kind(NamedTuple):
    """A format by its first bytes; without a suffix it is not read."""

    name: str
    start: bytes
    suffixes: tuple[str, ...] = ()


KINDS = (
    Kind("PNG", b"\x89PNG\r\n\x1a\n", (".png",)),
    Kind("JPEG", b"\xff\xd8\xff", (".jpg", ".jpeg")),
    Kind("BMP", b"BM", (".bmp",)),
    Kind("TIFF", b"II*\0", (".tif", ".tiff")),
    Kind("TIFF", b"MM\0*", (".tif", ".tiff")),
    Kind("BigTIFF", b"II+\0", (".tif", ".tiff")),
    Kind("BigTIFF", b"MM\0+", (".tif", ".tiff")),
    Kind("NRRD", b"NRRD000", (".nrrd", ".nhdr")),
    Kind("NIfTI", b"\x5c\x01\0\0", (".nii",)),
    Kind("NIfTI", b"\0\0\x01\x5c", (".nii",)),
    Kind("compressed by gzip", b"\x1f\x8b", (".nii.gz",)),
    Kind("GIF", b"GIF8"),
    Kind("WebP", b"RIFF"),
    Kind("JPEG 2000", b"\0\0\0\x0cjP  "),
    Kind("a ZIP archive", b"PK\x03\x04"),
)


def misnamed(path: Path, suffix: str) -> DataError | None:
    """PFS-204 for a file that is of another format than its suffix; None where nothing is known of that.

    Args:
        suffix: under which it could not be read. What lies before the header of a .dcm file means nothing.
    """
    if suffix == ".dcm" or not path.is_file():
        return None
    with path.open("rb") as file:
        start = file.read(max(len(kind.start) for kind in KINDS))
    kind = next((one for one in KINDS if start.startswith(one.start)), None)
    if kind is None or suffix in kind.suffixes:
        return None
    to = (
        f"rename it, so that it ends in {kind.suffixes[0]}"
        if kind.suffixes
        else "convert it to PNG or TIFF, or unpack it"
    )
    return unreadable(path, f"its name ends in {suffix}, and it is {kind.name} inside", to)
