"""Public collections, as they unpack → site folders of a federation. A collection is a row here."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from ...errors import DataError, StoreError
from . import fundus, nuclei, prostate
from .published import Collection
from .writing import LISTING, Progress, write_sites

__all__ = ["COLLECTIONS", "LISTING", "Prepared", "prepare"]

COLLECTIONS: dict[str, Collection] = {
    "prostate": prostate.COLLECTION,
    "fundus": fundus.COLLECTION,
    "nuclei": nuclei.COLLECTION,
}


@dataclass(frozen=True)
class Prepared:
    """What was written: cases by site, and the classes for the setting ``classes``."""

    cases: dict[str, int]
    classes: tuple[str, ...]


def prepare(
    name: str, src: Path, dst: Path, progress: Progress | None = None, *, collection: Collection | None = None
) -> Prepared:
    """Site folders at ``dst`` with ``sites.toml`` and the case list ``cases.csv``.

    ``src`` is only read. All is written beside and moved to ``dst`` at the end, whole or not at all.

    Args:
        name: a key of ``COLLECTIONS``.
        src: the folder that the download was unpacked to.
        dst: made new; may exist if it is empty.
        progress: called with (cases done, all cases, site) before each case.

    Raises:
        DataError: PFS-209 with everything that is not as it was published, all at once.
        StoreError: PFS-604 when ``dst`` has something in it, lies inside ``src``, or cannot be written.
    """
    collection = collection or COLLECTIONS[name]
    src, dst = src.resolve(), dst.resolve()
    if not src.is_dir():
        raise DataError("PFS-209", "there is no such folder", where=str(src))
    if dst == src or src in dst.parents:
        raise StoreError("PFS-604", "it lies inside the downloaded data, which is only read", where=str(dst))
    if dst.exists() and (not dst.is_dir() or any(dst.iterdir())):
        raise StoreError(
            "PFS-604",
            "the folder exists and is not empty; nothing was written",
            where=str(dst),
            hint="choose another one",
        )
    try:
        found = collection.find(src)
    except OSError as error:
        raise DataError("PFS-209", f"the folder cannot be read: {error}", where=str(src)) from error
    _refuse(found.faults, src)
    beside = dst.with_name(f".{dst.name}-{os.getpid()}.new")
    try:
        beside.mkdir(parents=True)
        _refuse(write_sites(beside, src, found.sites, collection, progress), src)
        if dst.exists():
            dst.rmdir()
        os.replace(beside, dst)
    except OSError as error:
        raise StoreError("PFS-604", f"the sites cannot be written: {error}", where=str(dst)) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return Prepared({site.name: len(site.items) for site in found.sites}, collection.classes)


def _refuse(faults: list[str], src: Path) -> None:
    if faults:
        text = f"{len(faults)} things are not as they were published; nothing was written:\n"
        shown = faults[:20] + ([f"and {len(faults) - 20} more"] if len(faults) > 20 else [])
        raise DataError(
            "PFS-209",
            text + "\n".join(f"  - {fault}" for fault in shown),
            where=str(src),
            hint="download it anew, and check that it was unpacked as a whole",
            counts={"faults": len(faults)},
        )
