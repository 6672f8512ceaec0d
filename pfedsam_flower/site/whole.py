"""Whether the journals of a site are the ones that it has written, also by what others have seen of them."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

from ..errors import StoreError
from ..settings.site import SiteSettings
from . import generations, journal
from .files import locked, write_whole
from .journal import Head

SEEN = "sent.seen.json"


def places(site: SiteSettings) -> list[Path]:
    """Where journals of the site lie or should lie: beside every record of one, and every personal state."""
    state = Path(site.state)
    there = {
        path.parent for name in ("sent.jsonl", journal.HEAD) for path in state.glob(f"*/{site.site}/{name}")
    }
    stores = {path.parent for path in state.glob(f"*/{site.site}/*/{generations.FILE}")}
    there |= {store.parent for store in stores if ".aside-" not in store.name}
    return sorted(folder / "sent.jsonl" for folder in there)


def check_journals(site: SiteSettings) -> None:
    """Nothing to do while all journals of the site fit: the limits of a day are counted from all of them.

    Raises:
        StoreError: PFS-604, PFS-607.
    """
    for path in places(site):
        check(path)


def check(path: Path) -> None:
    """As ``journal.check``; a personal state without any journal does not fit, either."""
    journal.check(path)
    stores = [one for one in path.parent.glob(f"*/{generations.FILE}") if ".aside-" not in one.parent.name]
    if stores and not journal.head(path).lines:  # before a site's first round it has said hello
        raise journal.unfit(path, "it is not there, though rounds have been worked on")


def problem(path: Path) -> str:
    """Why the journal does not fit, or ""; what the coordinator has seen of it counts, too."""
    try:
        check(path)
    except StoreError as error:
        return error.message
    seen = _seen(path)
    if seen is not None and not journal.holds(path, seen):
        return (
            f"the coordinator has seen {seen.lines} lines that are not in it: an older copy, or another one"
        )
    return ""


def compare(path: Path, seen: Head) -> bool:
    """Whether the journal still holds what the coordinator says to have seen of it.

    A claim that does not fit is kept for ``pfedsam site sent``. It stops nothing: the coordinator might lie.

    Raises:
        StoreError: PFS-604 when it cannot be kept.
    """
    if journal.holds(path, seen):
        return True
    write_whole(path.with_name(SEEN), json.dumps({"lines": seen.lines, "head": seen.head}).encode())
    return False


def begin_anew(site: SiteSettings) -> list[tuple[Path, str]]:
    """Keeps aside every journal that does not fit and begins a new one; returns where, and why.

    The first line of the new one says why, and that the personal state is meant as it is.

    Raises:
        StoreError: PFS-604.
    """
    done = []
    for path in places(site):
        why = problem(path)
        if why:
            with locked(path.parent):
                _anew(path, why)
            done.append((path, why))
    return done


def _anew(path: Path, why: str) -> None:
    seen, number = _seen(path), 1
    while (aside := path.with_name(f"sent.aside-{number}.jsonl")).exists():
        number += 1
    try:
        if path.exists():
            os.rename(path, aside)
        for name in (journal.HEAD, SEEN):
            path.with_name(name).unlink(missing_ok=True)
    except OSError as error:
        raise StoreError("PFS-604", f"it cannot be set aside: {error.strerror}", where=str(path)) from error
    stores = [one.parent for one in sorted(path.parent.glob(f"*/{generations.FILE}"))]
    states = [generations.newest(store) for store in stores if ".aside-" not in store.name]
    words = {"done": "journal begun anew", "why": why}
    if seen is not None:
        words["accepted"] = [seen.lines, seen.head]  # type: ignore[assignment]
    entry = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "federation": path.parent.parent.name,
        "kind": "by hand",
        "bytes": 0,
        "words": words,
    }
    for more in [{"state": state} for state in states] or [{}]:
        journal.append(path, entry | more)


def _seen(path: Path) -> Head | None:
    try:
        found = json.loads(path.with_name(SEEN).read_bytes())
        return Head(int(found["lines"]), str(found["head"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
