"""Where the voxels of a header lie, and how many bytes they really are, counted without keeping them."""

import gzip
import zlib
from pathlib import Path

from .refusals import unreadable

CHUNK = 1 << 20


def voxel_file(path: Path, name: str) -> Path:
    """The file beside the header ``path`` that holds its voxels.

    Raises:
        DataError: PFS-204 when there are several, or it is missing.
    """
    if name.upper().startswith("LIST") or "%" in name:
        raise unreadable(path, "its voxels are in several files", "save it as one file")
    voxels = path.parent / name
    if not voxels.is_file():
        raise unreadable(
            path, f"its voxel file {name!r} is missing", "copy both files, or save it as one file"
        )
    return voxels


def raw(path: Path, start: int = 0) -> int:
    """Bytes from ``start`` to the end."""
    return path.stat().st_size - start


def gzipped(path: Path, start: int = 0) -> int:
    """Bytes inside the gzip stream from ``start`` on; its checksum is checked.

    Raises:
        EOFError, OSError, zlib.error: the stream is cut or damaged.
    """
    n = 0
    with path.open("rb") as file:
        file.seek(start)
        with gzip.GzipFile(fileobj=file) as stream:
            while chunk := stream.read(CHUNK):
                n += len(chunk)
    return n


def deflated(path: Path, start: int = 0) -> int:
    """The same for one zlib stream (MetaImage).

    Raises:
        ValueError, zlib.error: likewise.
    """
    unpack, n = zlib.decompressobj(), 0
    with path.open("rb") as file:
        file.seek(start)
        while not unpack.eof and (chunk := file.read(CHUNK)):
            n += len(unpack.decompress(chunk))
    if not unpack.eof:
        raise ValueError("the compressed voxels end too early")
    return n
