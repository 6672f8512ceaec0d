"""The sites' prepared images, shared by all runs of a fold: making them again costs each run seconds."""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..contract.software import software
from ..settings.site import SiteSettings
from .protocol import Run


@dataclass(frozen=True)
class Prepared:
    """A folder of this software's prepared images; nobody removes it while this process uses it."""

    path: Path

    def folder(self, run: Run, site: SiteSettings, split: object) -> Path:
        """Where a site's images for this run are; made when it is not there.

        Runs that would push each other's images out have different folders.
        """
        parts = ("image.", "backbone.", "classes")
        decides = [split, site.labels, {k: v for k, v in run.flat.items() if k.startswith(parts)}]
        name = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]
        folder = self.path / name / site.site
        folder.mkdir(parents=True, exist_ok=True)
        return folder.absolute()


@contextmanager
def prepared_images(folder: Path) -> Iterator[Prepared]:
    """Yields this software's images in ``folder``; those of other software that nobody uses are removed."""
    own = folder / software()
    own.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(own / ".used", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH)
        for other in folder.iterdir():
            if other != own and other.is_dir():
                _remove_unused(other)
        yield Prepared(own)
    finally:
        os.close(handle)


def _remove_unused(folder: Path) -> None:
    handle = os.open(folder / ".used", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        pass
    finally:
        os.close(handle)
