"""Text that a person wrote, by whatever program: its encoding, and what it does to TOML and JSON."""

import codecs
import json
import re
import tomllib
from pathlib import Path
from typing import Any

MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins as UTF-16's does
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte order marks, with which Windows programs begin a file."""

AS_UTF8 = "save it as UTF-8 (Notepad: Save as, Encoding UTF-8; Excel: Save as, CSV UTF-8)"
TYPOGRAPHIC = re.compile("[\u201c\u201d\u201e\u201f\u2018\u2019\u201a\u201b\u00ab\u00bb]")
INVISIBLE = re.compile("[\u00a0\u200b\u200e\u200f\u2007\u202f\ufeff]")
PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


def read_text(path: Path) -> str:
    r"""The text of a file, lines ended by ``\n``: UTF-8, or UTF-16 and UTF-32 as a byte order mark tells.

    Raises:
        OSError: it cannot be read.
        ValueError: it is in another encoding; the sentence names the line and the remedy.
    """
    return decoded(path.read_bytes()).replace("\r\n", "\n").replace("\r", "\n")


def decoded(data: bytes) -> str:
    """``read_text`` of a file's bytes; line ends stay as they are."""
    mark, encoding = next((row for row in MARKS if data.startswith(row[0])), (b"", _unmarked(data)))
    body = data[len(mark) :]
    if mark and not body:
        raise ValueError("it holds a byte order mark and nothing else")
    try:
        return body.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise ValueError(f"it begins as {encoding.upper()} and is no such text; {AS_UTF8}") from error
        line, byte = body.count(b"\n", 0, error.start) + 1, body[error.start]
        windows = bytes([byte]).decode("cp1252", "replace")
        raise ValueError(
            f"line {line} is not UTF-8: it holds the byte 0x{byte:02x}, which is {windows!r} in Windows' "
            f"western encoding; {AS_UTF8}"
        ) from error


def _unmarked(data: bytes) -> str:
    """UTF-16 without a mark shows by the zero bytes beside its first letter, which settings have in ASCII."""
    if len(data) > 1 and (data[0] == 0) != (data[1] == 0):
        return "utf-16-be" if data[0] == 0 else "utf-16-le"
    return "utf-8"


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no text or no TOML; the sentence names the line and the remedy.
    """
    text = read_text(path)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(_toml_fault(str(error), text)) from error


def _toml_fault(reason: str, text: str) -> str:
    place = PLACE.search(reason)
    number = int(place[1]) if place and place[1] else text.count("\n") + 1
    line = (text.split("\n")[number - 1 : number] or [""])[0].strip()
    reason = PLACE.sub("", reason)
    typographic = TYPOGRAPHIC.search(line)
    if typographic:
        return f"line {number} has the typographic quote {typographic[0]}: write straight ones, \" or '"
    invisible = INVISIBLE.search(line)
    if invisible:
        return (
            f"line {number} has the invisible sign {invisible[0]!a}, as copied text does: type the line anew"
        )
    if "\\" in line and '"' in line:
        return (
            f"line {number}: within double quotes a back-slash does not stand for itself ({reason}): write "
            "single quotes around the text, or / between folders"
        )
    if re.match(r"[\w.-]+\s*=\s*[^\s\"'\[{\d]", line) and reason == "Invalid value":
        return f"line {number}: {line} has no quotes around its text"
    return f"line {number}: {reason}" + (f": {line}" if line else "")


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no text or no JSON.
        RecursionError: it is nested too deeply.
    """
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        if error.msg.startswith("Invalid \\escape"):
            raise ValueError(
                f"line {error.lineno}: in JSON a back-slash is written twice; or write /"
            ) from error
        raise
