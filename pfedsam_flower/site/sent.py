"""What left a site, added up from its journals, and whether they are whole."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ..settings.site import SiteSettings
from . import journal
from .consent import journals
from .whole import places, problem

Entry = dict[str, Any]


@dataclass(frozen=True)
class JournalState:
    """One journal: its lines, the first that breaks the chain (from 1), and the hash of the last one.

    Attributes:
        problem: why it is not the one that was written here, or "".
    """

    path: str
    lines: int
    broken_at: int | None
    head: str
    problem: str = ""


@dataclass(frozen=True)
class Total:
    """What left on one day for one run of a federation.

    Attributes:
        day: date by the reader's clock.
        rounds: messages with a round's result; ``refused``: those that said why there is none, and errors.
        n_bytes: payload, as Flower sends it: without HTTP's and TLS's own bytes.
    """

    day: str
    federation: str
    run: str
    messages: int
    rounds: int
    refused: int
    n_bytes: int


def states(site: SiteSettings) -> list[JournalState]:
    """Every journal of the site, with what a check of it says."""
    found = []
    for path in places(site):
        end, broken = journal.head(path), journal.broken_at(path) if path.exists() else None
        found.append(JournalState(_short(site, path), end.lines, broken, end.head, problem(path)))
    return found


def entries(site: SiteSettings) -> list[Entry]:
    """All entries of all journals, oldest first."""
    found = [entry for path in journals(site) for entry in journal.read(path)]
    found = [entry for entry in found if entry.get("kind") != "by hand"]  # nothing left by it
    return sorted(found, key=lambda entry: str(entry.get("time")))


def totals(found: Iterable[Entry]) -> list[Total]:
    """The entries added up by day and run, in the order of their first message."""
    groups: dict[tuple[str, str, str], list[Entry]] = {}
    for entry in found:
        key = (_day(entry), str(entry.get("federation") or "none"), str(entry.get("run") or "?"))
        groups.setdefault(key, []).append(entry)
    return [_total(*key, group) for key, group in groups.items()]


def _total(day: str, federation: str, run: str, group: list[Entry]) -> Total:
    refused = [e for e in group if e.get("kind") == "error" or _refused(e)]
    rounds = [e for e in group if e.get("kind") in ("train", "close") and not _refused(e)]
    sizes = [e.get("bytes") for e in group]  # of a journal that is broken they may be anything
    n_bytes = sum(size for size in sizes if isinstance(size, int))
    return Total(day, federation, run, len(group), len(rounds), len(refused), n_bytes)


def _refused(entry: Entry) -> bool:
    words = entry.get("words")
    return isinstance(words, dict) and bool(words.get("refusal") or words.get("refused"))


def _day(entry: Entry) -> str:
    try:
        return datetime.fromisoformat(str(entry.get("time"))).astimezone().date().isoformat()
    except ValueError:
        return "?"


def _short(site: SiteSettings, path: Path) -> str:
    return str(path.relative_to(site.state))
