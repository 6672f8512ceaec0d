"""The header of one DICOM file, and whether the file is whole.

GDCM, which decodes the pixels inside SimpleITK, waits for ever on a cut RLE file (seen with SimpleITK
2.5.7), hides sequences and tells nothing of files without pixels. So the elements are walked first, by
DICOM PS3.5 section 7 and annex A; nothing of the pixels is decoded here.
"""

import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from .dicom_start import BIG, EXPLICIT, HEAD, IMPLICIT, LONG, SHORT, start_of
from .refusals import unreadable

UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
PIXELS = 0x7FE00010
DEEPEST = 32

TAGS = {
    0x00020002: "sop_class",  # of the file meta: present whatever follows
    0x00020010: "transfer_syntax",
    0x00080016: "class",
    0x00080018: "image",
    0x00080060: "modality",
    0x0008103E: "description",
    0x00180088: "slice_spacing",
    0x00181164: "detector_spacing",
    0x00181210: "kernel",
    0x00182010: "scanned_spacing",
    0x0020000D: "study",
    0x0020000E: "series",
    0x00200013: "number",
    0x00200032: "position",
    0x00200037: "orientation",
    0x00200052: "frame_of_reference",
    0x00280002: "channels",
    0x00280004: "photometric",
    0x00280006: "planar",
    0x00280008: "frames",
    0x00280010: "rows",
    0x00280011: "columns",
    0x00280030: "spacing",
    0x00280034: "aspect",
    0x00280100: "bits",
    0x00280101: "bits_stored",
    0x00280102: "high_bit",
    0x00280103: "signed",
    0x00281052: "intercept",
    0x00281053: "slope",
    0x00282110: "lossy",
    0x00283000: "modality_lut",
    0x20500020: "lut_shape",
    0x52009229: "shared_groups",
    0x52009230: "frame_groups",
    0x7FE00008: "float_pixels",
    0x7FE00009: "double_pixels",
}

DEFLATED = "1.2.840.10008.1.2.1.99"
NATIVE = {IMPLICIT, EXPLICIT, DEFLATED, BIG}
RLE = "1.2.840.10008.1.2.5"
JPEG = {f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70)}
JPEG_LS = {f"1.2.840.10008.1.2.4.{n}" for n in (80, 81)}
JPEG_2000 = {f"1.2.840.10008.1.2.4.{n}" for n in (90, 91)}
READ = NATIVE | {RLE} | JPEG | JPEG_LS | JPEG_2000


@dataclass(frozen=True)
class Header:
    """What a reader of pixels needs of one file.

    Attributes:
        values: raw bytes of the elements in ``TAGS``, by name.
        little: byte order of numbers. n_bytes: length of native pixels, None when compressed or absent.
        fragments: the compressed pixels, without their offset table.
        native: where native pixels begin. words: they are written as 16-bit words. deflated: where a
            deflated data set begins in the file, 0 when it is not deflated.
    """

    path: Path
    values: dict[str, bytes]
    little: bool = True
    n_bytes: int | None = None
    fragments: tuple[bytes, ...] = field(default=(), repr=False)
    native: int = 0
    words: bool = True
    deflated: int = 0

    def text(self, name: str) -> str:
        """Text of an element, '' when it is absent."""
        return self.values.get(name, b"").decode("latin-1").strip(" \0")

    def numbers(self, name: str) -> tuple[float, ...]:
        """Decimal numbers of an element (VR DS, IS), () when it is absent or empty.

        Raises:
            DataError: PFS-204 when they are no numbers.
        """
        text = self.text(name)
        try:
            return tuple(float(part) for part in text.split("\\")) if text else ()
        except ValueError:
            raise unreadable(self.path, f"its {name} is {text!r}, which are no numbers") from None

    def integer(self, name: str, default: int = 0) -> int:
        """An unsigned 16-bit number (VR US)."""
        value = self.values.get(name, b"")
        return struct.unpack("<H" if self.little else ">H", value)[0] if len(value) == 2 else default


def read_header(path: Path) -> Header:
    """The header of a whole file; every element to its end has been passed over.

    Where no file meta gives the transfer syntax, it is that in which the elements are written.

    Raises:
        DataError: PFS-204 when the file does not begin as DICOM or ends too early.
        OSError: it cannot be opened.
    """
    data = path.read_bytes()
    start = start_of(data[:HEAD])
    if start is None:
        raise unreadable(path, "it has no DICOM file meta information", "export it again as a DICOM file")
    walk = _Walk(data)
    walk.pos, deflated = start.position, 0
    try:
        if not start.syntax:
            walk.elements(stop_after_group=2)
            start = start_of(data[walk.pos : walk.pos + HEAD]) or start  # where the meta does not say
        syntax = (
            walk.values.setdefault("transfer_syntax", start.syntax.encode()).decode("latin-1").strip(" \0")
        )
        if not syntax:
            raise ValueError("it does not say its Transfer Syntax UID")
        if syntax == DEFLATED:
            deflated = walk.pos
            walk.data, walk.pos = _inflated(data[deflated:]), 0
        walk.explicit, walk.order = syntax != IMPLICIT, ">" if syntax == BIG else "<"
        walk.elements()
    except (ValueError, struct.error, IndexError, zlib.error) as error:
        raise unreadable(path, f"the DICOM file is cut or damaged: {error}") from error
    walk.values.setdefault("sop_class", walk.values.get("class", b""))
    little, fragments = walk.order == "<", tuple(walk.fragments)
    return Header(path, walk.values, little, walk.n_bytes, fragments, walk.native, walk.words, deflated)


def native_pixels(file: Header) -> bytes:
    """The bytes of native pixels, read again: a folder's headers are kept, its pixels are not."""
    if file.deflated:
        data = _inflated(file.path.read_bytes()[file.deflated :])
        return data[file.native : file.native + (file.n_bytes or 0)]
    with file.path.open("rb") as stream:
        stream.seek(file.native)
        return stream.read(file.n_bytes or 0)


def _inflated(data: bytes) -> bytes:
    return zlib.decompressobj(-15).decompress(data)


class _Walk:
    """A position in the elements of one file."""

    def __init__(self, data: bytes) -> None:
        self.data, self.pos, self.explicit, self.order = data, 0, True, "<"
        self.values: dict[str, bytes] = {}
        self.n_bytes: int | None = None
        self.native, self.words = 0, True
        self.fragments: list[bytes] = []

    def elements(self, stop_after_group: int | None = None) -> None:
        """Walk the top level to the end of the data, or to the first element of a later group."""
        last = 0
        while self.pos < len(self.data):
            if stop_after_group is not None and self.number("H") > stop_after_group:
                return
            if self.peek() == 0 and not self.data[self.pos :].strip(b"\0"):
                return  # some writers fill the file up to a whole block
            tag, vr, length = self.head()
            if tag <= last:
                raise ValueError(f"element {tag:08x} follows {last:08x}")
            last = tag
            if tag == PIXELS:
                self.pixels(vr, length)
                continue
            start = self.pos
            self.skip(vr, length)
            if name := TAGS.get(tag):
                self.values[name] = self.data[start : self.pos]

    def pixels(self, vr: bytes, length: int) -> None:
        if length != UNDEFINED:
            self.n_bytes, self.native, self.words = length, self.pos, vr != b"OB"
            self.skip(b"OW", length)
            return
        table = True
        while True:
            tag, length = self.item()
            if tag == SEQUENCE_END:
                return
            if tag != ITEM or length == UNDEFINED:
                raise ValueError("its compressed pixels are not a row of items")
            start = self.pos
            self.skip(b"OB", length)
            if not table:
                self.fragments.append(self.data[start : self.pos])
            table = False

    def skip(self, vr: bytes, length: int, depth: int = 0) -> None:
        """Pass over a value; what has no length is walked item by item."""
        if length != UNDEFINED:
            self.pos += length
            if self.pos > len(self.data):
                raise ValueError(f"it ends {self.pos - len(self.data)} bytes too early")
            return
        if depth > DEEPEST or vr not in (b"SQ", b"UN", b"OB", b"OW", b""):  # OB: compressed icons
            raise ValueError(f"a value of type {vr.decode('latin-1')} has no length")
        explicit, self.explicit = self.explicit, self.explicit and vr != b"UN"  # PS3.5 6.2.2, note on UN
        while True:
            tag, length = self.item()
            if tag == SEQUENCE_END:
                break
            if tag != ITEM:
                raise ValueError("a sequence holds something that is no item")
            if length != UNDEFINED:
                self.skip(vr, length)
                continue
            while True:
                if self.peek() == ITEM_END:
                    self.item()
                    break
                _, inner, size = self.head()
                self.skip(inner, size, depth + 1)
        self.explicit = explicit

    def head(self) -> tuple[int, bytes, int]:
        """Tag, type (empty when implicit) and length of the element that begins here."""
        tag = self.tag()
        if not self.explicit:
            return tag, b"", self.number("I", 4)
        vr = self.data[self.pos : self.pos + 2]
        self.pos += 2
        if vr in LONG:
            self.pos += 2
            return tag, vr, self.number("I", 4)
        if vr not in SHORT:
            raise ValueError(f"element {tag:08x} has the unknown type {vr!r}")
        return tag, vr, self.number("H", 2)

    def item(self) -> tuple[int, int]:
        return self.tag(), self.number("I", 4)

    def peek(self) -> int:
        group, element = struct.unpack_from(self.order + "HH", self.data, self.pos)
        return group << 16 | element

    def tag(self) -> int:
        tag = self.peek()
        self.pos += 4
        return tag

    def number(self, form: str, advance: int = 0) -> int:
        value = struct.unpack_from(self.order + form, self.data, self.pos)[0]
        self.pos += advance
        return int(value)
