"""Files that are whole or not there: written beside, synced, swapped in."""

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import StoreError


def write_whole(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace ``path`` by ``content`` in one step that survives a crash; only its owner may read it.

    Raises:
        StoreError: PFS-604 when the folder cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
        sync_folder(path.parent)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise StoreError(
            "PFS-604", f"cannot write: {error.strerror}", where=str(path), hint="free space or fix the rights"
        ) from error


@contextmanager
def locked(folder: Path, wait_s: float = 0.0) -> Iterator[None]:
    """The folder for this process alone; the system frees it when the process is gone, however it ends.

    Args:
        wait_s: seconds to wait for another process before giving up.

    Raises:
        StoreError: PFS-604 when another process keeps it, or the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StoreError(
            "PFS-604", f"the folder cannot be used: {error.strerror}", where=str(folder)
        ) from error
    limit = time.monotonic() + wait_s
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= limit:
                    raise StoreError(
                        "PFS-604",
                        "another process uses this folder",
                        where=str(folder),
                        hint="end the other one first (a run: `flwr stop`; a site: its second SuperNode)",
                    ) from error
                time.sleep(0.1)
        yield
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_checked(path: Path, sha256: str) -> bytes:
    """The content of a file whose digest was recorded.

    Raises:
        StoreError: PFS-603 when it is missing or its digest differs.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StoreError("PFS-603", "a recorded file is missing", where=str(path)) from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise StoreError(
            "PFS-603",
            "the file is not the one that was recorded; it is damaged or was exchanged",
            where=str(path),
            hint="restore the folder from a backup; nothing was overwritten",
        )
    return content
