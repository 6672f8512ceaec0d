"""What only a hand may do to personal state: set it aside, go back, go on with an older copy.

These are the ways out of PFS-601, PFS-602 and PFS-606. Nothing is deleted, and each has its line in the
journal, by which the next round knows that this state is meant.
"""

import os
from datetime import UTC, datetime
from pathlib import Path

from ..errors import StoreError
from ..settings.site import SiteSettings
from . import generations, journal
from .files import locked
from .paths import journal_path


def states(site: SiteSettings, federation: str) -> list[Path]:
    """The site's stores for a federation, one per method."""
    return sorted(path.parent for path in (Path(site.state) / federation / site.site).glob("*/state.json")
                  if ".aside-" not in path.parent.name)  # fmt: skip


def set_aside(site: SiteSettings, federation: str) -> list[Path]:
    """Renames the stores of a federation to ``<method>.aside-<n>``; returns where they are now.

    Split, journal and prepared images stay: the patients that were tested on are still those. The next
    message begins with fresh personal parameters.

    Raises:
        StoreError: PFS-603 there is none; PFS-604 one is in use, or cannot be renamed.
    """
    found = _some(site, federation)
    moved = []
    for path in found:
        with locked(path):
            number = 1
            while (target := path.with_name(f"{path.name}.aside-{number}")).exists():
                number += 1
            try:
                os.rename(path, target)
            except OSError as error:
                raise StoreError(
                    "PFS-604", f"it cannot be renamed: {error.strerror}", where=str(path)
                ) from error
        note(site, federation, path, "set aside")
        moved.append(target)
    return moved


def go_back(site: SiteSettings, federation: str, number: int) -> list[tuple[Path, int]]:
    """Goes back to the state after round ``number`` or the newest before it; what was newer is kept aside.

    Returns each store with the round that it is at.

    Raises:
        StoreError: PFS-603 there is none so old; PFS-604.
    """
    done = []
    for path in _some(site, federation):
        done.append((path, generations.go_back(path, number)))
        note(site, federation, path, "gone back")
    return done


def keep(site: SiteSettings, federation: str) -> list[tuple[Path, int]]:
    """Goes on with the state as it lies there, though the journal speaks of a newer one; its rounds by store.

    Raises:
        StoreError: PFS-603 there is none and never was; PFS-604.
    """
    told = {one["method"] for one in journal.stores(journal_path(site, federation))}
    folder = Path(site.state) / federation / site.site
    found = sorted({*states(site, federation), *(folder / str(method) for method in told)})
    for path in found or _some(site, federation):
        note(site, federation, path, "kept")
    return [(path, generations.newest(path)["round"]) for path in found]


def note(site: SiteSettings, federation: str, store: Path, what: str) -> None:
    """A line in the journal: from here on the store is as it is now, by hand."""
    entry = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "federation": federation,
        "kind": "by hand",
        "bytes": 0,
        "words": {"done": what},
        "state": generations.newest(store),
    }
    journal.append(journal_path(site, federation), entry)


def _some(site: SiteSettings, federation: str) -> list[Path]:
    found = states(site, federation)
    if not found:
        raise StoreError(
            "PFS-603",
            f"{site.site} has no personal state for a federation {federation}",
            where=str(Path(site.state) / federation / site.site),
            hint="the name is federation.name of the run",
        )
    return found
