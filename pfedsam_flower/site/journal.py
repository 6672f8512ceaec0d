"""What left the site: one line per message, each with the hash of the line before it.

A line that is changed, taken out or put in breaks the chain from there on.
"""

import fcntl
import hashlib
import json
import os
from pathlib import Path
from typing import IO, Any

from ..errors import StoreError

START = "0" * 64


def append(path: Path, entry: dict[str, Any]) -> None:
    """Add one line and sync it to disk, before the message leaves; other processes wait meanwhile.

    Raises:
        StoreError: PFS-604 when it cannot be written: what cannot be recorded is not sent.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # freed with the file
            lines = _whole_lines(file)
            before = _hash(lines[-1]) if lines else START
            line = json.dumps(entry | {"before": before}, sort_keys=True, separators=(",", ":"))
            file.write(line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StoreError(
            "PFS-604", f"the journal cannot be written: {error.strerror}", where=str(path)
        ) from error


def _whole_lines(file: IO[bytes]) -> list[bytes]:
    """The lines of an open journal; a last one that a crash cut off goes: what it was for never left."""
    content = file.read()
    end = content.rfind(b"\n") + 1
    file.truncate(end)
    file.seek(end)
    return content[:end].splitlines()


def read(path: Path) -> list[dict[str, Any]]:
    """All entries of a journal, oldest first, [] when there is none; lines that cannot be read are left out.

    Raises:
        StoreError: PFS-604 when it is there and cannot be read.
    """
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(
            "PFS-604", f"the journal cannot be read: {error.strerror}", where=str(path)
        ) from error
    found = []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            found.append(entry)
    return found


def stores(path: Path) -> list[dict[str, Any]]:
    """What the lines of a journal say of the site's stores (``generations.newest``), oldest first.

    Raises:
        StoreError: PFS-604 when it cannot be read.
    """
    return [entry["state"] for entry in read(path) if isinstance(entry.get("state"), dict)]


def broken_at(path: Path) -> int | None:
    """Number (from 1) of the first line that does not continue the chain; None when all do."""
    before = START
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            if json.loads(line)["before"] != before:
                return number
        except (ValueError, KeyError, TypeError):
            return number
        before = _hash(line)
    return None


def _hash(line: bytes) -> str:
    return hashlib.sha256(line.strip()).hexdigest()
