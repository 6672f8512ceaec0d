"""What left the site: one line per message, each with the hash of the line before it.

A line that is changed, taken out or put in breaks the chain from there on. The chain begins with a hash of
federation and site, and its end stands in a record of its own beside it, ``sent.head.json``: another site's
journal, an older copy, a cut, an empty or a removed one do not fit. A line is synced first, its record next;
after a crash between them the journal is one line ahead of its record, and never otherwise.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..errors import StoreError
from .files import write_whole

HEAD = "sent.head.json"


@dataclass(frozen=True)
class Head:
    """The end of a chain: how many lines, and the hash of the last one."""

    lines: int
    head: str


def start(path: Path) -> str:
    """What the first line of the journal at this place goes on from."""
    return _hash(f"{path.parent.parent.name}\n{path.parent.name}".encode())


def append(path: Path, entry: dict[str, Any]) -> None:
    """Add one line and sync it to disk, before the message leaves; other processes wait meanwhile.

    Raises:
        StoreError: PFS-604 when it cannot be written: what cannot be recorded is not sent; PFS-607 when the
            journal is not the one that its record speaks of.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # freed with the file
            lines = _whole_lines(file)
            before = _fits(path, lines)
            if recorded(path) != before:  # ended between line and record
                _record(path, before)
            line = json.dumps(entry | {"before": before.head}, sort_keys=True, separators=(",", ":")).encode()
            file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())
            _record(path, Head(before.lines + 1, _hash(line)))
    except OSError as error:
        raise StoreError(
            "PFS-604", f"the journal cannot be written: {error.strerror}", where=str(path)
        ) from error


def recorded(path: Path) -> Head | None:
    """The end of the journal by its record; None when there is none.

    Raises:
        StoreError: PFS-607 when it is damaged or another site's.
    """
    record = path.with_name(HEAD)
    try:
        found = json.loads(record.read_bytes())
        if (found["federation"], found["site"]) != (path.parent.parent.name, path.parent.name):
            raise unfit(record, f"its record is of {found['site']} in {found['federation']}")
        return Head(int(found["lines"]), str(found["head"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise unfit(record, "its record cannot be read") from error


def check(path: Path) -> None:
    """Nothing to do while the journal is whole, this site's, and ends where its record says.

    Raises:
        StoreError: PFS-604 when it cannot be read, PFS-607.
    """
    with _held(path) as lines:
        _fits(path, lines)
        at = _broken(path, lines)
    if at is not None:
        raise unfit(path, f"line {at} does not go on from the line before it")


def head(path: Path) -> Head:
    """The end of the journal as it lies there.

    Raises:
        StoreError: PFS-604 when it cannot be read.
    """
    with _held(path) as lines:
        return _end(path, lines)


@contextmanager
def _held(path: Path) -> Iterator[list[bytes]]:
    """The whole lines of a journal, to which nobody adds meanwhile; [] when there is none."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            content = file.read()
            yield content[: content.rfind(b"\n") + 1].splitlines()
    except FileNotFoundError:
        yield []
    except OSError as error:
        raise StoreError(
            "PFS-604", f"the journal cannot be read: {error.strerror}", where=str(path)
        ) from error


def _end(path: Path, lines: list[bytes]) -> Head:
    return Head(len(lines), _hash(lines[-1]) if lines else start(path))


def _fits(path: Path, lines: list[bytes]) -> Head:
    """The end of these lines, if it is the recorded one or one line ahead of it."""
    known, end = recorded(path) or Head(0, start(path)), _end(path, lines)
    if end == known or (end.lines == known.lines + 1 and _end(path, lines[:-1]) == known):
        return end
    if not lines:
        text = f"it was removed or emptied; {known.lines} lines are on record"
    elif recorded(path) is None:
        text = f"it has {end.lines} lines and no record"
    elif end.lines < known.lines:
        text = f"it is cut or an older copy: {end.lines} of {known.lines} lines are there"
    elif end.lines > known.lines + 1:
        text = f"it has {end.lines} lines, {known.lines} are on record"
    else:
        text = f"its last lines are not those on record ({known.lines} lines)"
    raise unfit(path, text)


def unfit(path: Path, text: str) -> StoreError:
    """The error of a journal that is not the one that was written here."""
    return StoreError(
        "PFS-607",
        f"the journal does not fit: {text}",
        where=str(path),
        hint="put back the newest copy of sent.jsonl and sent.head.json; or keep what is there aside and "
        "begin a new journal, which says so: pfedsam site sent FILE --begin-anew",
    )


def _record(path: Path, end: Head) -> None:
    found = {"federation": path.parent.parent.name, "site": path.parent.name}
    write_whole(path.with_name(HEAD), json.dumps(found | {"lines": end.lines, "head": end.head}).encode())


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
    return _broken(path, path.read_bytes().splitlines())


def _broken(path: Path, lines: list[bytes]) -> int | None:
    before = start(path)
    for number, line in enumerate(lines, 1):
        try:
            if json.loads(line)["before"] != before:
                return number
        except (ValueError, KeyError, TypeError):
            return number
        before = _hash(line)
    return None


def _hash(line: bytes) -> str:
    return hashlib.sha256(line.strip()).hexdigest()


def holds(path: Path, end: Head) -> bool:
    """Whether the journal had this end once: what was seen of it elsewhere is still in it."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        lines = []
    accepted = [
        entry["words"].get("accepted") for entry in read(path) if isinstance(entry.get("words"), dict)
    ]
    return _end(path, lines[: end.lines]) == end or [end.lines, end.head] in accepted
