"""A run as its history tells it: ``history.jsonl``, one event per line, made into plain structures."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..contract.text import harmless
from ..errors import StoreError

FILE = "history.jsonl"
PARTS = ("train", "validation", "test")
Event = dict[str, Any]


@dataclass
class Site:
    """What is known of a site.

    Attributes:
        patients: number of patients by part (train, validation, test); empty before it joined.
        facts: what it said of its data before round 1 (``reports.preflight.Facts``); empty before that.
        refused: why it cannot take part, or "". Said again by each start, so an earlier start's is forgotten.
        here: whether it has joined this start, and was there when the newest round began.
    """

    name: str
    patients: dict[str, int] = field(default_factory=dict)
    facts: Event = field(default_factory=dict)
    refused: str = ""
    here: bool = False


@dataclass
class Round:
    """One round, training or closing.

    Attributes:
        kind: ``train`` or ``close``.
        sites: names of those that were asked.
        replies: the reply events by site; metrics that are undefined are absent in them.
        missing: reason by site, for those left out or lost.
        noted: what was conspicuous about a site whose reply counted, by site.
        seconds: of the whole round, None while it goes on.
    """

    number: int
    kind: str
    sites: tuple[str, ...] = ()
    replies: dict[str, Event] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    noted: dict[str, str] = field(default_factory=dict)
    seconds: float | None = None


@dataclass
class History:
    """All of a run.

    Attributes:
        start: the newest start event (settings in short), {} before there is one.
        sites: by name, in order of name.
        rounds: in the order in which they were begun; one that was begun again stands once.
        end: the end event of the newest start, None while the run goes on or was cut off.
    """

    start: Event = field(default_factory=dict)
    sites: dict[str, Site] = field(default_factory=dict)
    rounds: list[Round] = field(default_factory=list)
    end: Event | None = None
    last_time: str = ""

    @property
    def facts(self) -> dict[str, Event]:
        """What the sites said of their data, by site; those that have not said anything are absent."""
        return {name: site.facts for name, site in self.sites.items() if site.facts}

    @property
    def closing(self) -> Round | None:
        """The closing round, when one was begun."""
        return next((r for r in reversed(self.rounds) if r.kind == "close"), None)

    @property
    def training(self) -> list[Round]:
        """The rounds of training."""
        return [r for r in self.rounds if r.kind == "train"]

    @property
    def status(self) -> str:
        """``empty``, ``running`` (or cut off without a word), ``completed`` or ``failed``."""
        if self.end:
            return str(self.end.get("status", "failed"))
        return "running" if self.start else "empty"


def read_events(path: Path) -> list[Event]:
    """The events of a history file; a last line that is still being written is left out.

    Raises:
        StoreError: PFS-603 when there is no such file or a line inside it is damaged.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise StoreError(
            "PFS-603",
            "there is no history of a run here.",
            where=str(path),
            hint="give the folder of one run: <coordinator folder>/<federation name>",
        ) from error
    events = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        event = parse_event(line)
        if event is not None:
            events.append(event)
        elif number < len(lines):
            raise StoreError(
                "PFS-603",
                f"line {number} of the history is damaged.",
                where=str(path),
                hint="restore the file from a copy; each line is one JSON object",
            )
    return events


def parse_event(line: bytes) -> Event | None:
    """The event on one line, or None when the line is not one."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


def read_history(folder: Path) -> History:
    """The history of the run in ``folder``.

    Raises:
        StoreError: PFS-603 when there is none or it is damaged.
    """
    return collect(read_events(folder / FILE))


def collect(events: Iterable[Event]) -> History:
    """The structure of these events; kinds of event that it does not know are passed over."""
    history = History()
    for event in events:
        add(history, event)
    return history


def add(history: History, event: Event) -> None:
    """Enters one event into ``history``; its texts are made harmless, for others have written them."""
    event = harmless(event)
    history.last_time = str(event.get("time", history.last_time))
    kind, name = event["event"], str(event.get("site", ""))
    if kind == "start":
        history.start, history.end = event, None
        history.rounds = [r for r in history.rounds if r.number < int(event.get("first_round", 1))]
        for known in history.sites.values():
            known.refused, known.here = "", False
        for expected in event.get("expected", []):
            _site(history, expected)
    elif kind == "site":
        site = _site(history, name)
        site.patients = {p: int(event.get(f"n_{p}_patients", 0)) for p in PARTS}
        site.refused, site.here = "", True
    elif kind == "preflight":
        _site(history, name).facts = dict(event.get("facts", {}))
    elif kind == "refused":
        _site(history, name).refused = str(event.get("text") or event.get("code", "refused"))
    elif kind == "round-start":
        _begin(history, event)
        for absent in event.get("absent", ()):
            _site(history, str(absent)).here = False
    elif kind == "reply":
        current = _round(history, event)
        current.replies[name] = event
        if name in history.sites:  # whoever answers has joined
            history.sites[name].refused = ""
        current.missing.pop(name, None)
    elif kind in ("left-out", "lost"):
        _round(history, event).missing[name] = str(event.get("text") or event.get("reason", kind))
    elif kind in ("conspicuous", "heavy"):
        current = _round(history, event)
        current.noted[name] = "; ".join(filter(None, [current.noted.get(name), str(event.get("text", kind))]))
    elif kind == "late":
        current = _round(history, event)
        if name not in current.replies:  # or it was asked again, and in time then
            seconds = float(event.get("seconds", 0.0))
            current.missing[name] = f"too late: answered {seconds:.0f} s after it was asked"
    elif kind == "round-end":
        _round(history, event).seconds = float(event.get("seconds", 0.0))
    elif kind == "end":
        history.end = event


def _site(history: History, name: str) -> Site:
    if name not in history.sites:
        history.sites[name] = Site(name)
        history.sites = dict(sorted(history.sites.items()))
    return history.sites[name]


def _begin(history: History, event: Event) -> None:
    absent = {str(name): "was not there at its start" for name in event.get("absent", ())}
    names = tuple(event.get("sites", ()))
    begun = Round(int(event["round"]), str(event.get("kind", "train")), names, missing=absent)
    history.rounds = [r for r in history.rounds if (r.number, r.kind) != (begun.number, begun.kind)] + [begun]


def _round(history: History, event: Event) -> Round:
    """The newest round of the event's number (and kind, where it says it)."""
    for known in reversed(history.rounds):
        if known.number == event.get("round") and known.kind == event.get("kind", known.kind):
            return known
    history.rounds.append(Round(int(event.get("round", 0)), str(event.get("kind", "train"))))
    return history.rounds[-1]


def metric(reply: Mapping[str, Any] | None, name: str) -> float | None:
    """A metric of a reply, None where it is undefined."""
    value = (reply or {}).get("metrics", {}).get(name)
    return float(value) if isinstance(value, (int, float)) and value == value else None


def curve(history: History, site: str, name: str) -> list[tuple[int, float]]:
    """(rounds completed when it was measured, value) of a validation metric of one site.

    Sites measure before they train: what round 3 reports is the state after 2 rounds.
    """
    last = max((r.number for r in history.training), default=0)
    points = []
    for r in history.rounds:
        value = metric(r.replies.get(site), name)
        if value is not None:
            points.append((last if r.kind == "close" else r.number - 1, value))
    return points
