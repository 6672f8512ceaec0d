"""Stored numbers of one DICOM file, and what they mean, by PS3.3 C.7.6.3, C.11.1 and PS3.5 section 8.

GDCM only unpacks JPEG here: left alone it takes a slope of 0 for 1, passes over a table of values, fails on
signed MONOCHROME1 of less than 16 bits, and gives no stored numbers where there is a slope.
"""

import struct
import tempfile
from pathlib import Path

import numpy as np

from ...errors import DataError
from . import itk
from .dicom_frames import signs_of_its_own, unpacked
from .dicom_header import NATIVE, RLE, Header, native_pixels
from .dicom_start import LONG
from .refusals import unreadable, unusable

IMAGE_IO = "GDCMImageIO"
SECONDARY_CAPTURE = b"1.2.840.10008.5.1.4.1.1.7\0"


def stored(file: Header) -> np.ndarray:
    """The stored numbers, int64 [H, W, C]: BitsStored bits of each, with their sign; JPEG's colour as RGB.

    The bits above (old overlays, or anything: PS3.5 8.1.1) are no part of them.

    Raises:
        DataError: PFS-204 when the compressed pixels are not those that the header describes.
    """
    shape = file.integer("rows"), file.integer("columns"), file.integer("channels", 1)
    bits = file.integer("bits_stored", file.integer("bits"))
    syntax = file.text("transfer_syntax")
    cells = (_native if syntax in NATIVE else _rle if syntax == RLE else _jpeg)(file, shape)
    numbers = cells & ((1 << bits) - 1)
    if file.integer("signed"):
        numbers -= (numbers >> (bits - 1)) << bits
    if syntax not in NATIVE | {RLE}:
        _check_range(file, cells, numbers, bits)
    return numbers


def _check_range(file: Header, cells: np.ndarray, numbers: np.ndarray, bits: int) -> None:
    """Refuse a compressed image, which has no bits above, with numbers that are others by its header."""
    top = (numbers >> (bits - 1) & 1).any()
    if (numbers != cells).any() or (top and signs_of_its_own(file)):
        kind = "with" if file.integer("signed") else "without"
        raise unreadable(
            file.path,
            f"its compressed image does not fit its header, which says {bits} bits {kind} sign",
            "export it again, uncompressed if you can",
        )


def meant(file: Header) -> np.ndarray:
    """The values that the stored numbers mean, float32 [H, W, C]: turned so that low is dark, then rescaled.

    Raises:
        DataError: PFS-204 as ``stored``, PFS-207 when they cannot be told.
    """
    numbers = stored(file)
    if numbers.shape[2] > 1:
        return numbers.astype(np.float32)
    slope, intercept = _rescale(file)
    if file.text("photometric") == "MONOCHROME1" or file.text("lut_shape") == "INVERSE":
        bits = file.integer("bits_stored", file.integer("bits"))
        numbers = (-1 if file.integer("signed") else (1 << bits) - 1) - numbers
    return (slope * numbers + intercept).astype(np.float32)


def _rescale(file: Header) -> tuple[float, float]:
    if len(file.values.get("modality_lut", b"")) > 8:  # more than an empty item
        raise unusable(
            file.path,
            "its values go through a table (Modality LUT Sequence), which is not applied",
            "apply the table, with pydicom's apply_modality_lut for instance, and save that as NIfTI",
        )
    slope, intercept = (
        (file.numbers(name) or (one,))[0] for name, one in (("slope", 1.0), ("intercept", 0.0))
    )
    if slope == 0 or not np.isfinite((slope, intercept)).all():
        raise unusable(
            file.path,
            f"its values cannot be told: Rescale Slope is {slope:g} and Rescale Intercept {intercept:g}",
            "export it again; where the stored numbers are meant, remove both",
        )
    return slope, intercept


def _native(file: Header, shape: tuple[int, int, int]) -> np.ndarray:
    data = native_pixels(file)
    if not file.little and file.words:  # a row of 16-bit words, each turned (PS3.5 annex A.3)
        data = np.frombuffer(data[: len(data) // 2 * 2], ">u2").astype("<u2").tobytes()
    n_pixels = shape[0] * shape[1] * shape[2]
    numbers = np.frombuffer(data, f"<u{file.integer('bits') // 8}", n_pixels).astype(np.int64)
    if file.integer("planar") == 1 and shape[2] > 1:
        return np.ascontiguousarray(np.moveaxis(numbers.reshape(shape[2], *shape[:2]), 0, -1))
    return numbers.reshape(shape)


def _rle(file: Header, shape: tuple[int, int, int]) -> np.ndarray:
    planes = unpacked(file).astype(np.int64).reshape(shape[2], -1, *shape[:2])
    numbers = np.zeros((shape[2], *shape[:2]), np.int64)
    for k in range(planes.shape[1]):  # the high byte comes first
        numbers = numbers << 8 | planes[:, k]
    return np.ascontiguousarray(np.moveaxis(numbers, 0, -1))


def _jpeg(file: Header, shape: tuple[int, int, int]) -> np.ndarray:
    """Unpacked by GDCM from a file that says how the pixels are stored, and nothing of what they mean."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "one.dcm"
        path.write_bytes(_bare(file))
        try:
            values = itk.read(path, IMAGE_IO).values
        except DataError as error:  # names a file that is gone
            raise unreadable(file.path, error.message, error.hint) from error
    if values.shape != (1, *shape):
        raise unreadable(file.path, f"it decodes to {values.shape[1:]} values, its header says {shape}")
    return values[0].astype(np.int64)


def _bare(file: Header) -> bytes:
    syntax = file.values["transfer_syntax"].strip(b" \0")
    grey = file.integer("channels", 1) == 1
    photometric = b"MONOCHROME2 " if grey else file.values["photometric"]
    meta = _element(2, 0x02, b"UI", SECONDARY_CAPTURE) + _element(2, 0x10, b"UI", syntax)
    items = b"".join(_element(0xFFFE, 0xE000, b"", part) for part in (b"", *file.fragments))
    bits = file.integer("bits")
    stored_bits = file.integer("bits_stored", bits)
    numbers = {
        0x02: file.integer("channels", 1),
        0x06: None if grey else file.integer("planar"),
        0x10: file.integer("rows"),
        0x11: file.integer("columns"),
        0x100: bits,
        0x101: stored_bits,
        0x102: stored_bits - 1,
        0x103: file.integer("signed"),
    }
    elements = {
        key: _element(0x28, key, b"US", struct.pack("<H", n)) for key, n in numbers.items() if n is not None
    }
    elements[0x04] = _element(0x28, 0x04, b"CS", photometric)
    return b"".join(
        (
            bytes(128) + b"DICM" + _element(2, 0, b"UL", struct.pack("<I", len(meta))) + meta,
            _element(8, 0x16, b"UI", SECONDARY_CAPTURE),
            *(elements[key] for key in sorted(elements)),
            struct.pack("<HH4sI", 0x7FE0, 0x10, b"OB\0\0", 0xFFFFFFFF) + items,
            _element(0xFFFE, 0xE0DD, b"", b""),
        )
    )


def _element(group: int, element: int, vr: bytes, value: bytes) -> bytes:
    """One element, explicit little endian; items have no type."""
    value += bytes(len(value) % 2)
    form = "HHI" if not vr else "HH2sxxI" if vr in LONG else "HH2sH"
    return struct.pack("<" + form, group, element, *([vr] if vr else []), len(value)) + value
