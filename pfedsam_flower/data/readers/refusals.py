"""The two ways in which a reader says no."""

from pathlib import Path

from ...errors import DataError

AGAIN = "copy or export it again"


def unreadable(path: Path, message: str, hint: str = AGAIN) -> DataError:
    """PFS-204: the bytes are not what their format promises, or the format is not known."""
    return DataError("PFS-204", message, where=str(path), hint=hint)


def unusable(path: Path, message: str, hint: str, **counts: int) -> DataError:
    """PFS-207: whole and readable, but not one regular volume; ``counts`` may travel."""
    return DataError("PFS-207", message, where=str(path), hint=hint, counts=counts)
