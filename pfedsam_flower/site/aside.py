"""Personal state set aside: the way out when it belongs to something else (PFS-601). Nothing is deleted."""

import os
from pathlib import Path

from ..errors import StoreError
from ..settings.site import SiteSettings
from .files import locked


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
    found = states(site, federation)
    if not found:
        raise StoreError(
            "PFS-603",
            f"{site.site} has no personal state for a federation {federation}",
            where=str(Path(site.state) / federation / site.site),
            hint="the name is federation.name of the run",
        )
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
        moved.append(target)
    return moved
