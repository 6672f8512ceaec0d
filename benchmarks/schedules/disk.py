"""Stands for ``os`` in the modules that write: kills at the n-th call, full and broken disks, power cuts."""

import errno
import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

TROUBLES = {"full": errno.ENOSPC, "read-only": errno.EROFS, "broken": errno.EIO}
"""Kinds of a disk that does not write: no room in ``write``, no ``open`` for writing, no ``fsync``."""


class Killed(BaseException):
    """Stands for a kill: nothing of ours may catch it."""


class Disk:
    """The calls of ``os`` that the project's writers make, with what goes wrong in them.

    Attributes:
        actor: whose calls these are, a site's name or ``coordinator``.
        kills: at which of its calls each actor is killed, rising.
        trouble: the row of ``TROUBLES`` that an actor has now, or "".
        dead: the actor has been killed: no further call does anything until it is started again.
        injected: counts what has been done to them.
    """

    def __init__(self, draw: random.Random, injected: Counter[str]) -> None:
        self.draw, self.injected = draw, injected
        self.actor, self.dead = "", False
        self.kills: dict[str, list[int]] = {}
        self.trouble: Callable[[str], str] = lambda actor: ""
        self.calls: Counter[str] = Counter()
        self._paths: dict[int, Path] = {}
        self._unsynced: dict[Path, tuple[str, int]] = {}
        self._swapped: dict[Path, tuple[str, bytes | None]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)  # constants, getpid, strerror

    def tick(self, what: str = "") -> None:
        """One call: the actor may be killed before it, or it fails with the error of the trouble ``what``."""
        if self.dead:
            raise Killed
        self.calls[self.actor] += 1
        due = self.kills.get(self.actor)
        if due and self.calls[self.actor] >= due[0]:
            due.pop(0)
            self._die(what)
        if what and self.trouble(self.actor) == what:
            kind = "coordinator" if self.actor == "coordinator" else "site"
            self.injected[f"{kind}'s disk {what}"] += 1
            raise OSError(TROUBLES[what], os.strerror(TROUBLES[what]))

    def start_again(self) -> None:
        """The actor that was killed is a new process."""
        self.dead = False
        self._unsynced = {path: one for path, one in self._unsynced.items() if one[0] != self.actor}
        self._swapped = {path: one for path, one in self._swapped.items() if one[0] != self.actor}

    def open(self, path: Any, flags: int, mode: int = 0o777) -> int:
        writes = flags & (os.O_WRONLY | os.O_RDWR)
        self.tick("read-only" if writes else "")
        handle = os.open(path, flags, mode)
        self._paths[handle] = Path(path)
        if writes:
            self._unsynced[Path(path)] = self.actor, os.fstat(handle).st_size
        return handle

    def fdopen(self, handle: int, mode: str) -> "_File":
        return _File(os.fdopen(handle, mode), self)

    def fsync(self, handle: int) -> None:
        self.tick("broken")
        path = self._paths.get(handle)
        if path is None:
            return
        if path.is_dir():
            self._swapped = {p: one for p, one in self._swapped.items() if p.parent != path}
        else:
            self._unsynced.pop(path, None)

    def replace(self, source: Any, target: Any) -> None:
        self.tick("read-only")
        source, target = Path(source), Path(target)
        self._swapped[target] = self.actor, target.read_bytes() if target.exists() else None
        os.replace(source, target)
        if source in self._unsynced:
            self._unsynced[target] = self._unsynced.pop(source)

    def close(self, handle: int) -> None:
        os.close(handle)  # as the system does for a process that is gone

    def _die(self, what: str) -> None:
        self.dead = True
        who = "coordinator" if self.actor == "coordinator" else "site"
        self.injected[f"{who} killed in writing" if what else f"{who} killed elsewhere"] += 1
        for path, (actor, whole) in self._unsynced.items():
            if actor == self.actor and path.exists() and (size := path.stat().st_size) > whole:
                os.truncate(path, self.draw.randint(whole, size))  # a part has reached the disk
        swapped = {path: old for path, (actor, old) in self._swapped.items() if actor == self.actor}
        if swapped and self.draw.random() < 0.5:  # the power went with it
            self.injected[f"{who}: a swap undone by a power cut"] += 1
            for path, old in swapped.items():
                if old is None:
                    path.unlink(missing_ok=True)
                else:
                    path.write_bytes(old)
        raise Killed


class _File:
    """A file whose writes may fail half-way."""

    def __init__(self, file: Any, disk: Disk) -> None:
        self._file, self._disk = file, disk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "_File":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def write(self, content: bytes) -> None:
        try:
            self._disk.tick("full")
        except (OSError, Killed):
            self._file.write(content[: self._disk.draw.randint(0, len(content))])
            raise
        self._file.write(content)
