"""Names that a person reads as one and a computer as two."""

import re
import unicodedata
from collections.abc import Iterable


def look_alikes(ours: Iterable[str], theirs: Iterable[str]) -> list[str]:
    """A sentence for each pair of names, one of either side, that differ in nothing that is seen at once."""
    of_look: dict[str, list[str]] = {}
    for name in theirs:
        of_look.setdefault(_look(name), []).append(name)
    return [
        f"{one!a} and {other!a} ({_difference(one, other)})"
        for one in ours
        for other in of_look.get(_look(one), [])
        if one != other
    ]


def _look(name: str) -> str:
    """A name without letter case, composition of accents, blanks and the alphabet of a letter."""
    plain = re.sub(r"[\s_-]+", "", unicodedata.normalize("NFKC", name)).casefold()
    return "".join(_latin(sign) for sign in plain)


def _latin(sign: str) -> str:
    return LOOK_LIKE_LATIN.get(sign, sign)


LOOK_LIKE_LATIN = dict(
    zip(
        "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u03bf\u03b1\u03bd\u03c1",
        "aeopcyxijsoavp",
        strict=True,
    )
)
"""Small letters of Cyrillic and Greek that look like Latin ones."""


def _difference(one: str, other: str) -> str:
    if unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other):
        return "an accent is part of the letter in one, a sign of its own in the other"
    if one.casefold() == other.casefold():
        return "letter case"
    if "".join(one.split()) == "".join(other.split()):
        return "blanks"
    if re.sub(r"[\s_-]", "", one) == re.sub(r"[\s_-]", "", other):
        return "blanks, hyphens or underscores"
    return "letters of another alphabet, or several of these"
