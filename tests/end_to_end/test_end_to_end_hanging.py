"""A site whose ClientApp hangs, among real processes."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from benchmarks.faults.processes import COORDINATOR, Processes
from benchmarks.faults.trial import settings
from pfedsam_flower.data.phantoms import write_phantoms
from pfedsam_flower.deployment import flower
from pfedsam_flower.deployment.rehearsal import app_folder

DEADLINE_S = 50.0
"""Less than the minute after which Flower itself would say that the process is gone."""
LIMIT_S = 500.0


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    sites = write_phantoms(tmp_path / "sites", n_sites=3, patients=3, slices=1, size=64)
    own = [site.model_copy(update={"state": str(tmp_path / "state" / site.site)}) for site in sites]
    running = Processes(tmp_path / "trial", {site.site: site for site in own})
    try:
        running.start_all()
        changed = {"federation.minimum-sites": 2, "federation.round-deadline-s": DEADLINE_S}
        flat = settings(own, running.folder / "runs") | changed
        (running.folder / "run.toml").write_text(flower.toml(flat), encoding="utf-8")
        yield running
    finally:
        running.close()


def history(processes: Processes, event: str, **which: Any) -> list[dict[str, Any]]:
    """Events of this name so far, with these values."""
    path = processes.folder / "runs" / "test" / "history.jsonl"
    text = path.read_text() if path.exists() else ""
    events = map(json.loads, text[: text.rfind("\n") + 1].splitlines())
    return [e for e in events if e["event"] == event and which.items() <= e.items()]


def wait(until: Callable[[], Any], limit: float) -> Any:
    while not (found := until()):
        assert time.monotonic() < limit, "it took too long"
        time.sleep(0.1)
    return found


@pytest.mark.timeout(590)
def test_a_round_ends_at_its_deadline_without_the_site_that_hangs_and_the_site_comes_back(
    processes: Processes,
) -> None:
    limit = time.monotonic() + LIMIT_S
    wait(processes.answers, limit)
    words = ["flwr", "run", str(app_folder()), flower.CONNECTION]
    processes.launch(COORDINATOR, [*words, "--run-config", str(processes.folder / "run.toml")])
    (start,) = wait(lambda: history(processes, "round-start", round=1), limit)
    assert start["sites"] == ["harbour", "north", "valley"]
    hanging: set[int] = set()

    def ended_while_north_hangs() -> list[dict[str, Any]]:
        for pid in processes.named("north", "flwr-clientapp"):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                hanging.add(pid)
        return history(processes, "round-end", round=1)

    (end,) = wait(ended_while_north_hangs, limit)
    assert (end["sites"], end["missing"]) == (["harbour", "valley"], ["north"])
    took = datetime.fromisoformat(end["time"]) - datetime.fromisoformat(start["time"])
    assert DEADLINE_S <= took.total_seconds() < DEADLINE_S + 20

    for pid in hanging:
        with suppress(ProcessLookupError):  # its SuperNode may have ended it
            os.kill(pid, signal.SIGCONT)
    (last,) = wait(lambda: history(processes, "end"), limit)
    assert last["status"] == "completed"
    assert "north" in history(processes, "round-end")[-1]["sites"]
