"""PNG and BMP files byte by byte, as other programs than Pillow write them."""

import struct
import zlib
from pathlib import Path

import numpy as np


def save_png(path: Path, values: np.ndarray, depth: int, colour: int, *chunks: tuple[bytes, bytes]) -> Path:
    """A PNG of ``depth`` bits and colour type 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha."""
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], depth, colour, 0, 0, 0)
    rows = b"".join(b"\0" + _packed(row, depth, 8) for row in values)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
            for name, body in parts
        )
    )
    return path


def save_bmp(
    path: Path,
    values: np.ndarray,
    depth: int,
    palette: list[tuple[int, int, int]] = (),  # type: ignore[assignment]
    *,
    compression: int = 0,
    top_down: bool = False,
    body: bytes | None = None,
) -> Path:
    """A BMP of [H, W] indices, or [H, W, 3 or 4] in the order blue, green, red, unused."""
    height, width = values.shape[:2]
    if body is None:
        body = b"".join(_packed(row, min(depth, 8), 32) for row in (values if top_down else values[::-1]))
    colours = b"".join(bytes([b, g, r, 0]) for r, g, b in palette)
    start = 54 + len(colours)
    path.write_bytes(
        b"BM"
        + struct.pack("<IHHI", start + len(body), 0, 0, start)
        + struct.pack(
            "<IiiHHII", 40, width, -height if top_down else height, 1, depth, compression, len(body)
        )
        + struct.pack("<iiII", 2835, 2835, len(palette), 0)
        + colours
        + body
    )
    return path


def rle8(values: np.ndarray) -> bytes:
    """Pixels run by run, the lowest row first."""
    rows = (b"".join(bytes([1, int(value)]) for value in row) + b"\0\0" for row in values[::-1])
    return b"".join(rows) + b"\0\1"


def _packed(row: np.ndarray, depth: int, unit: int) -> bytes:
    bits = "".join(format(int(value), f"0{depth}b") for value in row.ravel())
    bits += "0" * (-len(bits) % unit)
    return bytes(int(bits[k : k + 8], 2) for k in range(0, len(bits), 8))
