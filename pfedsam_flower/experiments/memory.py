"""Results of pure steps on disk, so that runs which begin alike are not computed twice.

A step is known by its key, which the site's round makes: everything that the result depends on. What is kept
here is no more than that; the folder can be deleted whenever no comparison is running.
"""

import hashlib
import json
import os
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ..errors import StoreError
from ..site.recall import Arrays

LARGEST = 20e9
"""Bytes: a global phase of the full decoder keeps some 20 MB, one of training alone 60, at every site."""


@dataclass
class Memory:
    """A ``Recall`` (see ``site.recall``) with a folder.

    Attributes:
        hits, misses: results that were there, and that were made.
        saved_s: seconds that it took to make those that were there.
    """

    folder: Path
    hits: int = 0
    misses: int = 0
    saved_s: float = 0.0

    def __call__(self, key: Sequence[Any], make: Callable[[], Arrays]) -> Arrays:
        """The result of the step with this key: from the folder, or made and kept there.

        Raises:
            StoreError: PFS-604 when the folder cannot be written.
        """
        path = self.path(key)
        found = _read(path)
        if found is not None:
            with suppress(OSError):
                os.utime(path)
            arrays, seconds = found
            self.hits += 1
            self.saved_s += seconds
            return arrays
        inner, start = self.saved_s, perf_counter()
        arrays = make()
        self.misses += 1
        # what this step was spared by steps within it would have been its time, too
        _write(path, arrays, perf_counter() - start + self.saved_s - inner)
        return arrays

    def prune(self, limit: float = LARGEST) -> None:
        """Removes what was not used for longest, until the folder has at most ``limit`` bytes."""
        kept = []
        for path in self.folder.glob("*/*.safetensors"):
            with suppress(OSError):  # another process prunes, too
                seen = path.stat()
                kept.append((seen.st_mtime_ns, seen.st_size, path))
        surplus = sum(size for _, size, _ in kept) - limit
        for _, size, path in sorted(kept):
            if surplus <= 0:
                break
            path.unlink(missing_ok=True)
            surplus -= size

    def path(self, key: Sequence[Any]) -> Path:
        """Where a result is kept."""
        text = json.dumps(list(key), sort_keys=True, separators=(",", ":"))
        name = hashlib.sha256(text.encode()).hexdigest()
        return self.folder / name[:2] / f"{name}.safetensors"


def _read(path: Path) -> tuple[Arrays, float] | None:
    """Arrays and the seconds that they took; None when they are not there or damaged."""
    try:
        with safe_open(path, "numpy") as file:
            facts = file.metadata() or {}
            arrays = {name: np.array(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
        if int(facts["check"]) != _check(arrays):
            return None
        return arrays, float(facts["seconds"])
    except (OSError, SafetensorError, KeyError, ValueError):
        return None


def _write(path: Path, arrays: Arrays, seconds: float) -> None:
    """Whole or not at all; not synced, for what a crash takes is made again."""
    whole = {name: np.asarray(values, order="C") for name, values in arrays.items()}
    content = save(whole, {"seconds": f"{seconds:.4f}", "check": str(_check(whole))})
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise StoreError(
            "PFS-604",
            f"a result cannot be kept: {error.strerror or error}",
            where=str(path.parent),
            hint="free space (this folder may be deleted), or run with --no-memory",
        ) from error


def _check(arrays: Arrays) -> int:
    total = 0
    for name in sorted(arrays):
        total = zlib.crc32(name.encode(), total)
        total = zlib.crc32(np.asarray(arrays[name], order="C").tobytes(), total)
    return total
