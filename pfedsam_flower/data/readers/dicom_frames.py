"""Whether the pixels of a DICOM file are as many as its header promises, before a decoder sees them."""

import struct

from .dicom_header import JPEG_2000, NATIVE, READ, RLE, Header
from .refusals import unreadable

HINT = "export the series again, uncompressed if you can"


def check(header: Header) -> None:
    """Refuse pixels that are cut, of another size, or compressed in a way that is not read.

    Raises:
        DataError: PFS-204.
    """
    rows, columns = header.integer("rows"), header.integer("columns")
    channels, bits = header.integer("channels", 1), header.integer("bits")
    syntax = header.text("transfer_syntax")
    if syntax not in READ:
        raise unreadable(header.path, f"its transfer syntax {syntax or '(none)'} is not read", HINT)
    if header.n_bytes is None and not header.fragments:
        raise unreadable(header.path, "it has no pixels")
    if not rows or not columns or bits not in (8, 16, 32) or channels not in (1, 3):
        raise unreadable(
            header.path, f"its header gives {rows} x {columns} pixels of {channels} x {bits} bits"
        )
    n_frames = int((header.numbers("frames") or (1,))[0])
    if syntax in NATIVE:
        promised = (rows * columns * channels * n_frames * bits + 7) // 8
        found = header.n_bytes or 0
        if found not in (promised, promised + promised % 2):
            raise unreadable(header.path, f"its header promises {promised} bytes of pixels, it has {found}")
        return
    try:
        if syntax == RLE:
            for fragment in header.fragments:
                _check_rle(fragment, rows * columns, channels * bits // 8)
            return
        size = _size(b"".join(header.fragments), syntax in JPEG_2000)
    except (IndexError, struct.error, ValueError) as error:
        raise unreadable(header.path, f"its compressed pixels are cut or damaged: {error}", HINT) from error
    if size != (rows, columns):
        raise unreadable(
            header.path, f"its header gives {(rows, columns)} pixels, its compressed image {size}"
        )


def _check_rle(fragment: bytes, n_pixels: int, n_segments: int) -> None:
    """Every segment unpacks to one byte per pixel (PS3.5 annex G); nothing is unpacked."""
    found, *offsets = struct.unpack_from("<16I", fragment)
    starts = [*offsets[:found], len(fragment)]
    if found != n_segments or starts[0] != 64 or starts != sorted(starts):
        raise ValueError(f"{found} segments where {n_segments} belong")
    for start, end in zip(starts, starts[1:], strict=False):
        pos, n = start, 0
        while n < n_pixels:
            count = fragment[pos]
            if count < 128:
                n, pos = n + count + 1, pos + count + 2
            elif count > 128:
                n, pos = n + 257 - count, pos + 2
            else:
                pos += 1
            if pos > end:
                raise ValueError("a segment ends too early")
        if n != n_pixels or end - pos > 1:
            raise ValueError(f"a segment gives {n} pixels where {n_pixels} belong")


def _size(stream: bytes, jpeg_2000: bool) -> tuple[int, int]:
    """(rows, columns) of a JPEG, JPEG-LS or JPEG 2000 code stream that reaches its end marker."""
    if stream.rstrip(b"\0\xff")[-1:] != b"\xd9":  # an odd stream is padded by either
        raise ValueError("it does not reach its end marker")
    if jpeg_2000:
        if stream[:4] != b"\xff\x4f\xff\x51":
            raise ValueError("it does not begin as JPEG 2000")
        width, height, left, top = struct.unpack_from(">4I", stream, 8)
        return height - top, width - left
    pos = 2
    while stream[pos] == 0xFF:
        marker, length = stream[pos + 1], struct.unpack_from(">H", stream, pos + 2)[0]
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            height, width = struct.unpack_from(">2H", stream, pos + 5)
            return height, width
        pos += 2 + length
    raise ValueError("it has no frame header")
