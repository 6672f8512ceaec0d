"""Names that no outside reader is given."""

import os
from pathlib import Path

from .refusals import unreadable


def check_name(path: Path) -> None:
    """Nothing to do while every reader can be given the path: text in UTF-8 without control characters.

    Libraries take such names for others, stop at them, or end the process.

    Raises:
        DataError: PFS-204, with the name spelt out.
    """
    if not can_be_given(path):
        raise unreadable(
            Path(printable(path)),
            "its name, or that of a folder above it, has bytes that are no UTF-8 or control characters; no "
            "reader was asked",
            "rename it",
        )


def can_be_given(path: Path) -> bool:
    """Whether the name can be handed to any library, for reading and for writing."""
    return printable(path) == str(path)


def printable(path: Path) -> str:
    """The path as text that every terminal and file can take; bytes that are no text as in ``\\xff``."""
    shown = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(f"\\x{ord(s):02x}" if ord(s) < 32 or ord(s) == 127 else s for s in shown)
