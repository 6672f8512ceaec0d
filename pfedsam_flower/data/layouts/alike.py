"""Names that a person reads as one and a computer as two."""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

LOOK_LIKE_LATIN = str.maketrans(
    "\u0430\u0432\u0435\u043a\u043c\u043d\u043e\u0440\u0441\u0442\u0443\u0445\u0456\u0458\u0455"
    "\u03b1\u03b2\u03b5\u03b7\u03b9\u03ba\u03bc\u03bd\u03bf\u03c1\u03c4\u03c5\u03c7\u03b6",
    "abekmhopctyxijsabehikmvoptyxz",
)
"""Small letters of Cyrillic and Greek that look like Latin ones, small or large."""

DIGITS = str.maketrans("01iIO", "olllo")
"""Digits and letters that are hard to tell apart: 0 and O, 1 and l and I."""


def look_alikes(ours: Iterable[str], theirs: Iterable[str]) -> list[str]:
    """A sentence for each pair of names, one of either side, that differ in nothing that is seen at once."""
    return [f"{one!a} and {other!a} ({why})" for one, other, why in _pairs(ours, theirs)]


def there_is(missing: Path) -> str:
    """What lies where a file or folder should be under a name that looks alike, as the end of a sentence."""
    try:
        alike = _pairs([missing.name], sorted(path.name for path in missing.parent.iterdir()))
    except OSError:
        return ""
    found = ", ".join(f"{other!a} (what differs: {why})" for _, other, why in alike)
    return f"; there is {found}" if alike else ""


def _pairs(ours: Iterable[str], theirs: Iterable[str]) -> list[tuple[str, str, str]]:
    """(name of ours, of theirs, what differs)."""
    of_look: dict[str, list[str]] = {}
    for name in dict.fromkeys(theirs):
        of_look.setdefault(_look(name), []).append(name)
    return [
        (one, other, _difference(one, other))
        for one in dict.fromkeys(ours)
        for other in of_look.get(_look(one), [])
        if one != other
    ]


def _look(name: str) -> str:
    """A name without letter case, composition of accents, blanks and the alphabet of a letter."""
    plain = re.sub(r"[\s_-]+", "", _seen(unicodedata.normalize("NFKC", name))).casefold()
    return plain.translate(LOOK_LIKE_LATIN).translate(DIGITS)


def _seen(name: str) -> str:
    """Without signs that show nothing: of zero width, of the direction of text."""
    return "".join(sign for sign in name if unicodedata.category(sign) != "Cf")


def _difference(one: str, other: str) -> str:
    if unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other):
        return "an accent is part of the letter in one, a sign of its own in the other"
    if one.casefold() == other.casefold():
        return "letter case"
    if "".join(one.split()) == "".join(other.split()):
        return "blanks"
    if _seen(one) == _seen(other):
        return "a sign that is not seen"
    if re.sub(r"[\s_-]", "", one) == re.sub(r"[\s_-]", "", other):
        return "blanks, hyphens or underscores"
    if one.translate(DIGITS) == other.translate(DIGITS):
        return "a digit and a letter: 0 and O, or 1, l and I"
    return "letters of another alphabet, or several of these"
