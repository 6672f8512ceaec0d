"""Text that others have written: what it may do to a terminal, a log or a report is nothing."""

from collections.abc import Iterable
from typing import Any

LONGEST = 300
"""Characters of a foreign text that are kept."""
LONGEST_NAME = 60
LONGEST_TEXT = 4000
"""Characters of a text with foreign parts in it."""
SHOWN = 5
"""Names of surplus things that are kept; of the others the number."""


def printable(text: str, keep: str = "\t") -> str:
    """The text with everything made visible that could steer a terminal or turn the direction of writing.

    Args:
        keep: characters that stay although they are not printable.
    """
    return "".join(c if c.isprintable() or c in keep else _escaped(c) for c in text)


def one_line(text: object, longest: int = LONGEST) -> str:
    """The text on one line, printable, at most so many characters: it cannot look like another line.

    What went through it once stays as it is.
    """
    line = printable(" ".join(str(text).split()), keep="")
    return line if len(line) <= longest else line[: longest - 1] + "…"


def some_names(names: Iterable[str]) -> list[str]:
    """The first few of these names, sorted, each on one line and cut."""
    return [one_line(name, LONGEST_NAME) for name in sorted(names)[:SHOWN]]


def harmless(value: Any, *, lines: bool = False) -> Any:
    """JSON's values with every text in them, names of fields too, made harmless.

    Args:
        lines: texts may have several lines, as this software's own errors have; otherwise they become one.
    """
    if isinstance(value, str):
        if lines:
            return printable(value, keep="\n")[:LONGEST_TEXT]
        return one_line("; ".join(filter(None, map(str.strip, value.splitlines()))), LONGEST_TEXT)
    if isinstance(value, dict):
        return {one_line(key): harmless(one, lines=lines) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [harmless(one, lines=lines) for one in value]
    return value


def _escaped(c: str) -> str:
    number = ord(c)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"
