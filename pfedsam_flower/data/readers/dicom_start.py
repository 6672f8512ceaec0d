"""How a DICOM file begins: with preamble and file meta, with file meta alone, or with its data at once.

PS3.10 section 7 asks for 128 bytes, the letters DICM and the file meta (group 0002). Old exports, and data
sets kept as they came over the network, lack one or all of them.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
SHORT = {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH"}
SHORT |= {b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"}

IMPLICIT, EXPLICIT, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
MAGIC = b"DICM"
DIRECTORY = "DICOMDIR"  # its name on every medium (PS3.10 section 8.6)
HEAD = 1024  # bytes that are looked at
ENOUGH = 2  # elements in a row that hold something
LONGEST = 512  # bytes of each of them: codes, UIDs, dates
NUMBERS = (0x0000, 0x0001)  # elements of group 0008 that are a number of 4 bytes, not text
BINARY = set(range(32)) - set(b"\t\n\f\r\x1b")
DATA = {b"\x08\0": ((EXPLICIT, "<", True), (IMPLICIT, "<", False)), b"\0\x08": ((BIG, ">", True),)}


@dataclass(frozen=True)
class Start:
    """Where the first element stands, and in which transfer syntax; '' where the file meta says that."""

    position: int
    syntax: str


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM, and is no directory of such files; cheap."""
    if path.name.upper() == DIRECTORY or not path.is_file():  # a pipe would be waited for
        return False
    try:
        with path.open("rb") as file:
            return start_of(file.read(HEAD)) is not None
    except OSError:
        return False


def sop_class(path: Path) -> str:
    """The SOP class that a file's meta information names, '' where it does not; cheap."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError:
        return ""
    begin = start_of(head)
    position = begin.position if begin else len(head)
    while head[position : position + 2] == b"\x02\0" and position + 12 <= len(head):
        element, vr = head[position + 2 : position + 4], head[position + 4 : position + 6]
        form, at, skipped = ("<I", 8, 12) if vr in LONG else ("<H", 6, 8)
        length = struct.unpack_from(form, head, position + at)[0]
        position += skipped + length
        if element == b"\x02\0":
            return head[position - length : position].decode("latin-1").strip(" \0")
    return ""


def start_of(head: bytes) -> Start | None:
    """How a file with these first ``HEAD`` bytes begins, None when not as DICOM.

    Without the letters DICM it must be a row of elements of group 0002 or 0008, with types that are known
    or, where no types are written, with text for values: an array of small numbers is none.
    """
    named = head[128:132] == MAGIC
    position = 132 if named else len(MAGIC) if head.startswith(MAGIC) else 0
    group = head[position : position + 2]
    if group == b"\x02\0" and (named or _is_row(head[position:], "<", explicit=True)):
        return Start(position, "")
    for syntax, order, explicit in DATA.get(group, ()):
        if _is_row(head[position:], order, explicit):
            return Start(position, syntax)
    return Start(position, "") if named else None


def _is_row(head: bytes, order: str, explicit: bool) -> bool:
    """Whether elements of one group follow each other, at least ``ENOUGH`` with a value."""
    position, last, filled = 0, (0, -1), 0
    while position + 12 <= len(head) and filled <= ENOUGH:
        tag = struct.unpack_from(order + "HH", head, position)
        if last[0] and tag[0] != last[0]:
            break
        vr = head[position + 4 : position + 6]
        if tag <= last or (explicit and vr not in SHORT | LONG):
            return False
        form, at = ("I", 4) if not explicit else ("I", 8) if vr in LONG else ("H", 6)
        length = struct.unpack_from(order + form, head, position + at)[0]
        position += 12 if at == 8 else 8
        value = head[position : position + length]
        if length > LONGEST or length % 2 or not (explicit or _as_meant(tag[1], value)):
            return False
        position += length
        last, filled = tag, filled + (length > 0)
    return filled >= ENOUGH


def _as_meant(element: int, value: bytes) -> bool:
    """Whether an element without a type at the head of group 0008 can have this value."""
    return len(value) == 4 if element in NUMBERS else not BINARY & set(value.rstrip(b"\0"))
