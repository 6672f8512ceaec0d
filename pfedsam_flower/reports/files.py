"""Files that are there whole or not at all."""

import os
from collections.abc import Callable
from pathlib import Path

from ..errors import StoreError


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Lets ``write`` fill a file beside ``path``, syncs it and swaps it in.

    Raises:
        StoreError: PFS-604 when the folder cannot be written.
    """
    beside = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        write(beside)
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        raise StoreError(
            "PFS-604", f"the file cannot be written: {error.strerror}.", where=str(path)
        ) from error
    finally:
        beside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes ``text`` as UTF-8.

    Raises:
        StoreError: PFS-604 when the folder cannot be written.
    """
    write_whole(path, lambda beside: beside.write_text(text, encoding="utf-8"))
