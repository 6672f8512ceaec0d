"""A run from start to end: processes up, progress shown, success told from failure, processes down."""

import time
from pathlib import Path
from typing import Any

from ..contract.text import printable
from ..deployment.rehearsal import Engine, Rehearsal, app_folder, rehearsal
from ..errors import FederationError
from ..reports import history as histories
from ..reports.history import Event, History
from ..settings.site import SiteSettings
from .render import Show, progress, say

POLL_S = 0.3
STATUS_EVERY_S = 10.0
STATUS_LIMIT_S = 120.0


def launch(sites: list[SiteSettings], flat: dict[str, Any], folder: Path, engine: Engine) -> str:
    """Runs the federation to its end and returns "" when it completed, or the reason why it did not.

    Args:
        flat: checked run config, with ``federation.name`` and an absolute ``coordinator.folder``.

    Raises:
        FederationError: PFS-507 when a process does not start or ends early.
        StoreError: PFS-604 when another rehearsal holds the folder.
    """
    app = app_folder()
    file = Path(flat["coordinator.folder"]) / flat["federation.name"] / histories.FILE
    # What an earlier attempt left is known already, but its end is not this run's end.
    history = histories.collect(histories.read_events(file)) if file.exists() else History()
    history.end, offset = None, file.stat().st_size if file.exists() else 0
    say(f"starting Flower on loopback for {len(sites)} sites, {engine} engine; logs in {folder / 'logs'}")
    with rehearsal(folder, sites, engine=engine) as link:
        run_id = link.run(app, flat)
        with progress(history) as show:
            return printable(_follow(link, run_id, file, offset, history, show), keep="\n\t")


def _follow(link: Rehearsal, run_id: int, file: Path, offset: int, history: History, show: Show) -> str:
    ask_again = time.monotonic() + STATUS_EVERY_S
    started = time.monotonic()
    while True:
        # Asked before reading, so that what was written before the end is read after it.
        status, details = ("", "")
        if history.end or time.monotonic() > ask_again:
            status, details = link.status(run_id)
            ask_again = time.monotonic() + STATUS_EVERY_S
        events, offset = tail(file, offset)
        for event in events:
            histories.add(history, event)
            show(event)
        if status.startswith("finished"):
            return _verdict(link, run_id, status, details, history)
        link.check()
        if status in ("pending", "starting") and time.monotonic() > started + STATUS_LIMIT_S:
            raise FederationError(
                "PFS-507",
                f"the run is still {status} after {STATUS_LIMIT_S:.0f} s; its ServerApp has not begun.",
                where=str(link.folder / "logs" / "superlink.log"),
            )
        time.sleep(POLL_S)


def tail(file: Path, offset: int) -> tuple[list[Event], int]:
    """The events written since ``offset`` bytes, and the new offset; whole lines only."""
    try:
        with file.open("rb") as handle:
            handle.seek(offset)
            written = handle.read()
    except FileNotFoundError:
        return [], offset
    whole = written[: written.rfind(b"\n") + 1]
    events = (histories.parse_event(line) for line in whole.splitlines())
    return [event for event in events if event], offset + len(whole)


def _verdict(link: Rehearsal, run_id: int, status: str, details: str, history: History) -> str:
    """Both must say so: Flower that the ServerApp ended well, the history that the federation did."""
    if status == "finished:completed" and history.status == "completed":
        return ""
    if history.end and history.end.get("text"):
        return str(history.end["text"])
    if details and details != "N/A":
        return details
    return f"Flower says {status}. The ServerApp's last words:\n{link.last_words(run_id)}"
