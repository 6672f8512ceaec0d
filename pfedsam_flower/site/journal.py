"""What left the site: one line per message, each with the hash of the line before it.

A line that is changed, taken out or put in breaks the chain from there on.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from ..errors import StoreError

START = "0" * 64


def append(path: Path, entry: dict[str, Any]) -> None:
    """Add one line and sync it to disk, before the message leaves.

    Raises:
        StoreError: PFS-604 when it cannot be written: what cannot be recorded is not sent.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_bytes().splitlines() if path.exists() else []
        before = _hash(lines[-1]) if lines else START
        line = json.dumps(entry | {"before": before}, sort_keys=True, separators=(",", ":"))
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as file:
            file.write(line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StoreError(
            "PFS-604", f"the journal cannot be written: {error.strerror}", where=str(path)
        ) from error


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
