"""Prepared arrays on a site's disk: made once, kept while nothing they depend on changes, mapped when used.

They hold patients' images, so only the site's user can read them. An entry is a folder with .npy files and
``facts.json``; it is whole or not there. What it depends on is in its name, the content of the case's files
included; a file that kept its size and its time of change is not read again for that, as build tools do.
"""

import errno
import hashlib
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, StoreError
from .layouts import Case
from .readers.dicom import split

log = logging.getLogger(__name__)

CHUNK = 1 << 20
DIGESTS = "digests.json"
DETACHED = re.compile(rb"^(?:ElementDataFile *=|data ?file:) *(\S.*?)\s*$", re.MULTILINE | re.IGNORECASE)
"""The line of a MetaImage or NRRD header that names the file with the pixels."""
YOUNG_NS = 2 * 10**9
"""A file may change once more within the tick of its file system's clock; so long it is always read."""
ABANDONED_S = 86400.0

Made = tuple[dict[str, np.ndarray], dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Entry:
    """Arrays by name, opened each time they are asked for, and what JSON can hold about them."""

    facts: dict[str, Any]
    array: Callable[[str], np.ndarray]


def in_memory(made: Made) -> Entry:
    """An entry that is on no disk."""
    arrays, facts = made
    return Entry(json.loads(json.dumps(facts)), arrays.__getitem__)


class Cache:
    """The entries of one site and federation.

    Raises:
        StoreError: PFS-604, here and in each method, when the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)
            for part in folder.glob(".*.part"):
                if time.time() - part.stat().st_mtime > ABANDONED_S:
                    _remove(part)
        except OSError as error:
            raise _not_writable(folder, error) from error
        self._before = _read_digests(folder / DIGESTS)
        self._digests: dict[str, list[Any]] = {}

    def entry(self, case: Case, depends_on: object, make: Callable[[], Made]) -> Entry:
        """The entry of a case, made when it is not there, damaged, or of other files or settings.

        Args:
            depends_on: all that the result depends on beside the case's files; JSON can hold it.

        Raises:
            DataError: PFS-204 when a file cannot be read; whatever ``make`` raises.
        """
        content = [self._content(case.image), self._content(case.mask), depends_on]
        key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        folder = self.folder / f"{_owner(case.id)}-{key[:32]}"
        for other in self.folder.glob(f"{_owner(case.id)}-*"):
            if other != folder:
                _remove(other)
        found = _open(folder)
        if found is None:
            if folder.exists():
                log.warning("the prepared arrays of %s are damaged and are made again", case.id)
            _write(folder, make())
            found = _open(folder)
        if found is None:
            raise StoreError("PFS-603", "arrays that were just written cannot be read", where=str(folder))
        return found

    def close(self, cases: Iterable[Case]) -> None:
        """Remember the files' digests; entries of cases that the site no longer has are removed."""
        owners = {_owner(case.id) for case in cases}
        for folder in self.folder.iterdir():
            if not folder.name.startswith(".") and folder.is_dir() and folder.name[:16] not in owners:
                _remove(folder)
        digests = {name: row for name, row in self._before.items() if Path(name).exists()} | self._digests
        if digests != self._before:
            beside = self.folder / f".{DIGESTS}.{os.getpid()}.part"
            try:
                _write_file(beside, json.dumps(digests).encode())
                os.replace(beside, self.folder / DIGESTS)
            except OSError as error:
                beside.unlink(missing_ok=True)
                raise _not_writable(self.folder, error) from error

    def _content(self, path: Path) -> list[list[str]]:
        """Name and SHA-256 of each file that an image or mask consists of, and which part of them it is."""
        file_or_folder, part = split(path)
        try:
            found = [[file.name, self._digest(file)] for file in _files(file_or_folder)]
        except OSError as error:
            raise DataError(
                "PFS-204", f"the file cannot be read: {error.strerror}", where=error.filename or str(path)
            ) from error
        return [*found, ["#", part]] if part else found

    def _digest(self, file: Path) -> str:
        name, seen = str(file.absolute()), file.stat()
        row = self._before.get(name)
        if row and row[:2] == [seen.st_size, seen.st_mtime_ns]:
            self._digests[name] = row
            return str(row[2])
        digest = hashlib.sha256()
        with file.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
        if time.time_ns() - seen.st_mtime_ns > YOUNG_NS:
            self._digests[name] = [seen.st_size, seen.st_mtime_ns, digest.hexdigest()]
        return digest.hexdigest()


def _files(path: Path) -> list[Path]:
    """The file; a series' folder has many, and a header may leave its pixels to a file beside it."""
    if path.exists() and not (path.is_dir() or path.is_file()):  # reading a pipe would never end
        raise OSError(errno.EINVAL, "it is no plain file", str(path))
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    if path.suffix.lower() in (".mhd", ".mha", ".nhdr", ".nrrd"):
        with path.open("rb") as stream:
            named = [os.fsdecode(name) for name in DETACHED.findall(stream.read(CHUNK))]
        return [path, *(path.parent / name for name in named if (path.parent / name).is_file())]
    return [path]


def _owner(case_id: str) -> str:
    return hashlib.sha256(case_id.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _open(folder: Path) -> Entry | None:
    """A whole entry: facts that were not altered, arrays of the size and time they were left with."""
    try:
        body, _, digest = (folder / "facts.json").read_bytes().rpartition(b"\n")
        if hashlib.sha256(body).hexdigest().encode() != digest:
            return None
        kept = json.loads(body)
        for name, written in kept["arrays"].items():
            if _stamp(folder / f"{name}.npy") != written:
                return None
    except (OSError, ValueError, KeyError):
        return None

    def array(name: str) -> np.ndarray:
        try:
            return np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise StoreError("PFS-603", f"a prepared array is gone: {error}", where=str(folder)) from error

    return Entry(kept["facts"], array)


def _write(folder: Path, made: Made) -> None:
    arrays, facts = made
    beside = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        _remove(beside)
        beside.mkdir(mode=0o700)
        for name, array in arrays.items():
            with os.fdopen(_new(beside / f"{name}.npy"), "wb") as file:
                np.save(file, array, allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())
        stamps = {name: _stamp(beside / f"{name}.npy") for name in arrays}
        body = json.dumps({"arrays": stamps, "facts": facts}).encode()
        _write_file(beside / "facts.json", body + b"\n" + hashlib.sha256(body).hexdigest().encode())
        if _open(folder) is None:
            _remove(folder)
            os.replace(beside, folder)
        _remove(beside)  # where another process was faster, with the same bytes
    except OSError as error:
        _remove(beside)
        raise _not_writable(folder.parent, error) from error


def _write_file(path: Path, content: bytes) -> None:
    with os.fdopen(_new(path), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _new(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)


def _stamp(path: Path) -> list[int]:
    seen = path.stat()
    return [seen.st_size, seen.st_mtime_ns]


def _read_digests(path: Path) -> dict[str, list[Any]]:
    """What was remembered, nothing when it cannot be used: then the files are read again."""
    try:
        rows = json.loads(path.read_bytes())
        if all(isinstance(row, list) and len(row) == 3 for row in rows.values()):
            return dict(rows)
        log.warning("%s is damaged; the files are read again", path)
    except FileNotFoundError:
        pass
    except (OSError, ValueError, AttributeError):
        log.warning("%s cannot be read; the files are read again", path)
    return {}


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _not_writable(folder: Path, error: OSError) -> StoreError:
    return StoreError(
        "PFS-604",
        f"prepared images cannot be kept: {error.strerror or error}",
        where=str(folder),
        hint="free space or fix the rights; the folder can be deleted at any time, it is made again",
    )
