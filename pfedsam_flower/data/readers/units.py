"""Units of length, as headers spell them."""

from collections.abc import Iterable
from pathlib import Path

from .refusals import unreadable

MICRO = ("u", "\u00b5", "\u03bc")  # also the micro sign and the Greek letter
SYMBOLS = {"m": "m", "cm": "cm", "mm": "mm", "nm": "nm"} | {f"{mu}m": "um" for mu in MICRO}
NAMES = {"meter": "m", "centimeter": "cm", "millimeter": "mm", "micron": "um", "micrometer": "um"}
NAMES |= {"nanometer": "nm"}


def unit_of(path: Path, words: Iterable[str]) -> str:
    """The key of ``pixels.UNITS_MM`` that all of a header's words mean; mm where there is no word.

    Raises:
        DataError: PFS-204 when they mean several units, or one that is not known.
    """
    words = list(words)
    units = {word: SYMBOLS.get(word) or NAMES.get(_singular(word)) for word in words}
    unknown = [word for word, unit in units.items() if unit is None]
    if unknown:
        raise unreadable(
            path, f"its header measures in {unknown[0]!r}, which is no known length", "save it in mm"
        )
    found = sorted({unit for unit in units.values() if unit})
    if len(found) > 1:
        raise unreadable(path, f"its header measures axes in {' and '.join(found)}", "save it in mm")
    return found[0] if found else "mm"


def _singular(word: str) -> str:
    return word.lower().replace("metre", "meter").removesuffix("s")
