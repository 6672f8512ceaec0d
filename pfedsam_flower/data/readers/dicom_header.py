"""The header of one DICOM file, and whether the file is whole.

GDCM, which decodes the pixels inside SimpleITK, waits for ever on a cut RLE file (seen with SimpleITK
2.5.7), hides sequences and tells nothing of files without pixels. So the elements are walked first, by
DICOM PS3.5 section 7 and annex A; nothing of the pixels is decoded here.
"""

import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from .refusals import unreadable

LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
SHORT = {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH"}
SHORT |= {b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"}
UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
PIXELS = 0x7FE00010
DEEPEST = 32

TAGS = {
    0x00020002: "sop_class",  # of the file meta: present whatever follows
    0x00020010: "transfer_syntax",
    0x00080060: "modality",
    0x0008103E: "description",
    0x00180088: "slice_spacing",
    0x00181164: "detector_spacing",
    0x0020000E: "series",
    0x00200032: "position",
    0x00200037: "orientation",
    0x00280002: "channels",
    0x00280004: "photometric",
    0x00280008: "frames",
    0x00280010: "rows",
    0x00280011: "columns",
    0x00280030: "spacing",
    0x00280100: "bits",
}

IMPLICIT, DEFLATED, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
NATIVE = {IMPLICIT, "1.2.840.10008.1.2.1", DEFLATED, BIG}
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
    """

    path: Path
    values: dict[str, bytes]
    little: bool = True
    n_bytes: int | None = None
    fragments: tuple[bytes, ...] = field(default=(), repr=False)

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


def is_dicom(path: Path) -> bool:
    """Whether a file says that it is DICOM: the letters DICM after 128 bytes."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def read_header(path: Path) -> Header:
    """The header of a whole file; every element to its end has been passed over.

    Raises:
        DataError: PFS-204 when the file has no file meta or ends too early.
        OSError: it cannot be opened.
    """
    data = path.read_bytes()
    if data[128:132] != b"DICM":
        raise unreadable(path, "it has no DICOM file meta information", "export it again as a DICOM file")
    walk = _Walk(data)
    try:
        walk.pos = 132
        walk.elements(stop_after_group=2)
        syntax = walk.values.get("transfer_syntax", b"").decode("latin-1").strip(" \0")
        if syntax == DEFLATED:
            walk.data, walk.pos = zlib.decompressobj(-15).decompress(data[walk.pos :]), 0
        walk.explicit, walk.order = syntax != IMPLICIT, ">" if syntax == BIG else "<"
        walk.elements()
    except (ValueError, struct.error, IndexError, zlib.error) as error:
        raise unreadable(path, f"the DICOM file is cut or damaged: {error}") from error
    return Header(path, walk.values, walk.order == "<", walk.n_bytes, tuple(walk.fragments))


class _Walk:
    """A position in the elements of one file."""

    def __init__(self, data: bytes) -> None:
        self.data, self.pos, self.explicit, self.order = data, 0, True, "<"
        self.values: dict[str, bytes] = {}
        self.n_bytes: int | None = None
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
                self.pixels(length)
                continue
            start = self.pos
            self.skip(vr, length)
            if name := TAGS.get(tag):
                self.values[name] = self.data[start : self.pos]

    def pixels(self, length: int) -> None:
        if length != UNDEFINED:
            self.n_bytes = length
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
