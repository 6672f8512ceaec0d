"""The coordinator's run folder: settings, contract, one whole file per round, one line per event.

All paths inside are relative, so the folder may be moved. Resume takes the newest whole round.
"""

import json
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..contract.messages import JournalHead
from ..contract.schema import Contract
from ..contract.text import harmless, some_names
from ..errors import FederationError, StoreError
from ..reports.history import parse_event
from ..settings.run import RunSettings
from ..settings.sources import to_flat
from ..site.files import write_whole
from ..site.rounds import newest_round, save_round, thin
from .said import Said

MAY_CHANGE = {
    "rounds",
    "federation.sites",
    "federation.minimum-sites",
    "federation.start-deadline-s",
    "federation.round-deadline-s",
    "federation.below-quorum",
    "federation.quorum-wait-s",
}
"""Settings that a resumed run may change. None but ``rounds`` alters what a round computes at a site: rates
fall towards the end of the run, so more rounds raise them for those that are still to come."""


class RunFolder:
    """One federation's folder at the coordinator.

    Args:
        keep_newest, keep_every: rounds that stay, see ``site.rounds.thin``; without them all do.
    """

    def __init__(self, path: Path, keep_newest: int = 5, keep_every: int = 1) -> None:
        self.path, self.keep_newest, self.keep_every = path, keep_newest, keep_every
        self.said = Said()
        """What the history has of the sites' sizes, the events of earlier starts included."""
        self.journals: dict[str, JournalHead] = {}
        """The longest that was seen of each site's journal; a shorter one later is an older copy."""

    def log(self, event: str, **fields: Any) -> None:
        """Append one event to ``history.jsonl`` and sync it; texts in it are made harmless.

        Raises:
            StoreError: PFS-604 when it cannot be written.
        """
        self._see(event, fields)
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        written = {"time": at, "event": event} | harmless(fields, lines=True)
        line = json.dumps(written)
        path = self.path / "history.jsonl"
        try:
            with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644), "r+b") as file:
                _cut_half_a_line(file)
                file.write(line.encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StoreError(
                "PFS-604",
                f"the history cannot be written: {error.strerror}",
                where=str(path),
                hint="free space or fix the rights, and start the run again",
            ) from error
        self.said.add(written)

    def log_surplus(self, site: str, found: tuple[list[str], list[str]], **fields: Any) -> None:
        """Append what a message held beside what is agreed, (arrays, others), by name."""
        arrays, others = found
        if arrays:
            self.log("filtered", **fields, site=site, keys=some_names(arrays), n=len(arrays))
        if others:
            self.log("dropped", **fields, site=site, names=some_names(others), n=len(others))

    def open(self, run: RunSettings, contract: Contract) -> tuple[int, np.ndarray] | None:
        """Record settings and contract, or compare them with the recorded ones.

        Returns:
            (newest whole round, shared parameters) of a run that is resumed; None for a new one.

        Raises:
            FederationError: PFS-504 other settings or contract, PFS-505 already finished.
            StoreError: PFS-603, PFS-604.
        """
        flat = to_flat(run)
        self.said = Said()
        for event in self._events():
            self.said.add(event)
            self._see(event["event"], event)
        settings, agreed = self.path / "settings.json", self.path / "contract.json"
        newest = None
        if settings.exists():
            before = _recorded(settings)
            changed = sorted(k for k in flat.keys() | before.keys() if flat.get(k) != before.get(k))
            locked = [k for k in changed if k not in MAY_CHANGE]
            if locked:
                raise FederationError(
                    "PFS-504",
                    "; ".join(f"{k} was {before.get(k)!r}, is {flat.get(k)!r}" for k in locked),
                    where=str(self.path),
                    hint="use the old values, or start another run with another federation.name",
                    counts={"changed_settings": len(locked)},
                )
            if agreed.exists() and agreed.read_bytes() != contract.to_json().encode():
                raise FederationError(
                    "PFS-504",
                    "the contract is another one: the backbone's weights or the software changed",
                    where=str(agreed),
                    hint="use the checkpoint and version that the run was started with",
                )
            newest = newest_round(self.path)
            if newest is not None:
                contract.unpack(newest[1])
            if newest is not None and newest[0] > 0 and run.rounds == 0:
                raise FederationError(
                    "PFS-504",
                    f"{run.federation.name} has trained {newest[0]} rounds; rounds = 0 is for a new run",
                    where=str(self.path),
                    hint="choose another federation.name for a preflight alone",
                )
            if newest is not None and newest[0] > run.rounds > 0:
                raise FederationError(
                    "PFS-504",
                    f"{run.federation.name} has trained {newest[0]} rounds, rounds is {run.rounds}",
                    where=str(self.path),
                    hint=f"set rounds to {newest[0]} to close it there, or higher",
                )
            if newest is not None and newest[0] == run.rounds > 0 and self.finished():
                raise FederationError(
                    "PFS-505",
                    f"{run.federation.name} is complete after {newest[0]} rounds",
                    where=str(self.path),
                    hint="raise rounds to go on, or choose another federation.name for a new run",
                )
        write_whole(agreed, contract.to_json().encode(), 0o644)
        write_whole(settings, json.dumps(flat, indent=1).encode(), 0o644)
        return newest

    def save_round(self, number: int, packed: np.ndarray) -> str:
        """Write a round's shared parameters; returns their digest. From here on the round is whole."""
        return save_round(self.path, number, packed)

    def thin(self) -> None:
        """Remove rounds that are not to be kept, once the newest is whole; the history has their digests.

        Raises:
            StoreError: PFS-604.
        """
        gone = thin(self.path, self.keep_newest, self.keep_every)
        if gone:
            self.log("thinned", rounds=gone)

    def finished(self) -> bool:
        """Whether the newest line of the history says that the run was completed."""
        ends = [line for line in self._lines() if '"event": "end"' in line or '"event": "start"' in line]
        return bool(ends) and '"status": "completed"' in ends[-1]

    def examined(self) -> set[str]:
        """Names of the sites whose newest preflight had no errors."""
        newest = {event["site"]: event["facts"] for event in self._events() if event["event"] == "preflight"}
        return {site for site, facts in newest.items() if not facts.get("refused")}

    def _events(self) -> Iterator[dict[str, Any]]:
        return filter(None, (parse_event(line.encode()) for line in self._lines()))

    def _see(self, event: str, fields: Mapping[str, Any]) -> None:
        if event == "reply" and fields.get("journal"):
            said = JournalHead(**fields["journal"])
            if said.lines >= self.journals.get(fields["site"], said).lines:
                self.journals[fields["site"]] = said

    def _lines(self) -> list[str]:
        try:
            return (self.path / "history.jsonl").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []


def _recorded(settings: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(settings.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise StoreError(
            "PFS-603",
            "the run's settings cannot be read",
            where=str(settings),
            hint="restore the file from a backup, or start another run with another federation.name",
        ) from error


def _cut_half_a_line(file: IO[bytes]) -> None:
    """A last line that a crash or a full disk cut off goes: with another behind it, it would be damage."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - 1, 0))
    if size and file.read() != b"\n":
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
