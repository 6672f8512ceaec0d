"""How many bytes of voxels a file really holds, counted without keeping them."""

import gzip
import zlib
from pathlib import Path

CHUNK = 1 << 20


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
