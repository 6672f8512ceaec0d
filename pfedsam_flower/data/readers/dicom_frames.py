"""Whether the pixels of a DICOM file are as many as its header promises, before a decoder sees them."""

import struct
from collections.abc import Iterator

import numpy as np

from .dicom_header import JPEG_2000, NATIVE, READ, RLE, Header
from .refusals import unreadable

HINT = "export the series again, uncompressed if you can"
SOF = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # frame headers of JPEG, by process


def check(header: Header) -> None:
    """Refuse pixels that are cut, of another size, or stored in a way that is not read.

    Raises:
        DataError: PFS-204.
    """
    syntax = header.text("transfer_syntax")
    if syntax not in READ:
        raise unreadable(header.path, f"its transfer syntax {syntax or '(none)'} is not read", HINT)
    if header.values.keys() & {"float_pixels", "double_pixels"}:
        raise unreadable(
            header.path,
            "its pixels are floating point numbers (Float or Double Float Pixel Data), which are not read",
            "convert it to NIfTI",
        )
    if header.n_bytes is None and not header.fragments:
        raise unreadable(header.path, "it has no pixels")
    _check_bits(header)
    if syntax in NATIVE:
        _check_native(header)
        return
    rows, columns = header.integer("rows"), header.integer("columns")
    try:
        if syntax == RLE:
            unpacked(header)
            return
        size = _size(b"".join(header.fragments), syntax in JPEG_2000)
    except (IndexError, struct.error, ValueError) as error:
        raise unreadable(header.path, f"its compressed pixels are cut or damaged: {error}", HINT) from error
    if size != (rows, columns):
        raise unreadable(
            header.path, f"its header gives {(rows, columns)} pixels, its compressed image {size}"
        )


def _check_bits(header: Header) -> None:
    rows, columns = header.integer("rows"), header.integer("columns")
    channels, bits = header.integer("channels", 1), header.integer("bits")
    if not rows or not columns or bits not in (8, 16, 32) or channels not in (1, 3):
        raise unreadable(
            header.path, f"its header gives {rows} x {columns} pixels of {channels} x {bits} bits"
        )
    stored = header.integer("bits_stored", bits)
    high = header.integer("high_bit", stored - 1)
    if not 1 <= stored <= bits or high != stored - 1:  # PS3.5 8.1.1
        raise unreadable(
            header.path,
            f"its header stores {stored} bits of {bits}, with bit {high} as the highest (HighBit): these do "
            "not fit",
            "export it again; HighBit is one less than BitsStored, which is at most BitsAllocated",
        )


def _check_native(header: Header) -> None:
    if header.n_bytes is None:
        raise unreadable(
            header.path, "its pixels are compressed, and it does not say how (Transfer Syntax UID)", HINT
        )
    n_pixels = header.integer("rows") * header.integer("columns") * header.integer("channels", 1)
    n_frames = int((header.numbers("frames") or (1,))[0])
    promised = (n_pixels * n_frames * header.integer("bits") + 7) // 8
    if header.n_bytes not in (promised, promised + promised % 2):
        raise unreadable(
            header.path, f"its header promises {promised} bytes of pixels, it has {header.n_bytes}"
        )


def unpacked(header: Header) -> np.ndarray:
    """RLE, one frame (PS3.5 annex G): uint8 [channels * bytes, pixels], the high byte of a channel first.

    Raises:
        ValueError, IndexError, struct.error: it does not unpack to exactly that.
    """
    n_pixels = header.integer("rows") * header.integer("columns")
    n_segments = header.integer("channels", 1) * header.integer("bits") // 8
    (fragment,) = header.fragments
    found, *offsets = struct.unpack_from("<16I", fragment)
    starts = [*offsets[:found], len(fragment)]
    if found != n_segments or starts[0] != 64 or starts != sorted(starts):
        raise ValueError(f"{found} segments where {n_segments} belong")
    segments = [
        _segment(fragment, start, end, n_pixels) for start, end in zip(starts, starts[1:], strict=False)
    ]
    return np.frombuffer(b"".join(segments), np.uint8).reshape(n_segments, n_pixels)


def _segment(fragment: bytes, pos: int, end: int, n_pixels: int) -> bytes:
    out, n = [], 0
    while n < n_pixels:
        count = fragment[pos]
        if count < 128:
            out.append(fragment[pos + 1 : pos + 2 + count])
            n, pos = n + count + 1, pos + count + 2
        elif count > 128:
            out.append(fragment[pos + 1 : pos + 2] * (257 - count))
            n, pos = n + 257 - count, pos + 2
        else:
            pos += 1
        if pos > end:
            raise ValueError("a segment ends too early")
    if n != n_pixels or end - pos > 1:
        raise ValueError(f"a segment gives {n} pixels where {n_pixels} belong")
    return b"".join(out)


def loss(header: Header) -> str:
    """Why the stored numbers are not those that were compressed, '' when they are."""
    stream = b"".join(header.fragments)
    if header.text("lossy") == "01":
        return "it has once been compressed with loss (Lossy Image Compression is 01)"
    if header.text("transfer_syntax") in NATIVE | {RLE} or not _is_lossy(stream):
        return ""
    return "its pixels are compressed with loss"


def signs_of_its_own(header: Header) -> bool:
    """Whether a JPEG 2000 stream says that its numbers have a sign, and the header that they have none.

    The other way round is common, and the header is right: the stream holds the bits as they were.
    """
    if header.text("transfer_syntax") not in JPEG_2000 or header.integer("signed"):
        return False
    return b"".join(header.fragments)[42] >= 128  # Ssiz of the first component


def _is_lossy(stream: bytes) -> bool:
    """Whether a code stream loses numbers: all JPEG but the lossless process, JPEG-LS whose NEAR is above 0,
    JPEG 2000 but by the reversible wavelet."""
    for marker, pos in _markers(stream):
        if marker == 0xDA:  # SOS: of JPEG-LS, as any other process has been met before
            return stream[pos + 1 + 2 * stream[pos]] > 0
        if marker == 0x52:  # COD
            return stream[pos + 9] != 1
        if marker in SOF:
            return marker != 0xC3
    return True


def _size(stream: bytes, jpeg_2000: bool) -> tuple[int, int]:
    """(rows, columns) of a JPEG, JPEG-LS or JPEG 2000 code stream that reaches its end marker."""
    if stream.rstrip(b"\0\xff")[-1:] != b"\xd9":  # an odd stream is padded by either
        raise ValueError("it does not reach its end marker")
    if jpeg_2000:
        if stream[:4] != b"\xff\x4f\xff\x51":
            raise ValueError("it does not begin as JPEG 2000")
        width, height, left, top = struct.unpack_from(">4I", stream, 8)
        return height - top, width - left
    for marker, pos in _markers(stream):
        if marker == 0xF7 or marker in SOF:
            height, width = struct.unpack_from(">2H", stream, pos + 1)
            return height, width
    raise ValueError("it has no frame header")


def _markers(stream: bytes) -> Iterator[tuple[int, int]]:
    """Marker segments up to the first scan or tile: the marker's second byte, where its content begins."""
    pos = 2
    while stream[pos] == 0xFF:
        marker, length = stream[pos + 1], struct.unpack_from(">H", stream, pos + 2)[0]
        yield marker, pos + 4
        if marker in (0xDA, 0x90):
            return
        pos += 2 + length
