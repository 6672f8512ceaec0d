"""One trial: a small federation, its faults, a supervisor that starts again, and what it comes to."""

import json
import re
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pfedsam_flower.contract.schema import digest
from pfedsam_flower.deployment import flower
from pfedsam_flower.deployment.processes import Program, plain
from pfedsam_flower.deployment.rehearsal import app_folder
from pfedsam_flower.errors import PfedsamError
from pfedsam_flower.federation.client import build_client_app
from pfedsam_flower.federation.in_process import InProcessGrid
from pfedsam_flower.federation.server import coordinate
from pfedsam_flower.settings.site import SiteSettings
from pfedsam_flower.settings.sources import default_flat
from pfedsam_flower.site import journal
from pfedsam_flower.site.files import read_checked
from pfedsam_flower.site.paths import journal_path, store_folder

from .drawing import Fault
from .injection import INJECTORS, Undo, generations, mount, unmount
from .processes import COORDINATOR, PAUSE_S, Processes

SETTINGS = {
    "federation.name": "test",
    "federation.minimum-sites": 3,
    "federation.start-deadline-s": 90.0,
    "federation.round-deadline-s": 150.0,
    "image.size": 56,
    "decoder.mode": "heads",
    "rounds": 2,
    "training.global-steps": 2,
    "training.local-steps": 2,
    "training.closing-steps": 2,
    "training.batch-size": 2,
    "evaluation.alone": False,
}
LIMIT_S = 480.0
LOOK_EVERY_S = 0.25
PENDING_S = 60.0
"""Seconds after which a run that has no ServerApp is asked for again."""


class Failed(Exception):
    """What must not happen, in a sentence."""


class Stopped(Exception):
    """The campaign is to end."""


@dataclass(frozen=True)
class Outcome:
    """One trial's end. ``result`` begins with ``equal``, ``stopped`` or ``FAILED``."""

    number: int
    seed: int
    faults: list[Fault]
    injected: list[str]
    result: str
    runs: int
    seconds: float

    def line(self) -> str:
        """The trial in one line."""
        told = "; ".join(map(str, self.faults)) or "no faults"
        return (
            f"trial {self.number} of seed {self.seed} | {told} | {len(self.injected)} done | "
            f"{self.result} | {self.runs} runs | {self.seconds:.0f} s"
        )


def settings(sites: list[SiteSettings], folder: Path) -> dict[str, Any]:
    """The run's settings, flat."""
    names = {"federation.sites": ",".join(site.site for site in sites)}
    return default_flat() | SETTINGS | names | {"coordinator.folder": str(folder)}


def undisturbed(sites: list[SiteSettings], folder: Path) -> dict[str, Any]:
    """What every trial must come to; in one process, which gives the same bits as real ones."""
    sites = [site.model_copy(update={"state": str(folder / "state")}) for site in sites]
    coordinate(InProcessGrid(build_client_app(), sites, keep=False), settings(sites, folder / "runs"), 1)
    return state_of(sites, folder / "runs" / "test")


def state_of(sites: list[SiteSettings], run: Path) -> dict[str, Any]:
    """Digests of the shared parameters of every round and of the personal ones of both generations.

    Raises:
        StoreError: PFS-603 when a file is not whole.
        Failed: a journal is not.
    """
    from safetensors.numpy import load_file

    found: dict[str, Any] = {"shared": {}, "personal": {}}
    for path in sorted(run.glob("round-*/shared.safetensors")):
        found["shared"][path.parent.name] = digest(load_file(path)["shared"])
    for site in sites:
        store = _store(site)
        rows = generations(store)
        for row in rows:
            for name in ("personal", "reply"):
                read_checked(store / row[name], row[f"{name}_sha256"])
        found["personal"][site.site] = [[r["round"], r["broadcast"], r["personal_sha256"]] for r in rows]
        line = journal.broken_at(journal_path(site, "test"))
        if line is not None:
            raise Failed(f"the journal of {site.site} is broken at line {line}")
    return found


def _store(site: SiteSettings) -> Path:
    return store_folder(site, "test", "pfedsam")


@dataclass
class _Run:
    """The supervisor of the run: asks for it again when its ServerApp is gone before the end.

    Attributes:
        asked: the last ``flwr run``, and when it ended.
        seen: whether its ServerApp has been seen.
        excused: it was killed, or its SuperLink was.
        said_end: it has written an end into its history.
        stops: codes with which a run said that it stops.
    """

    processes: Processes
    count: int = 0
    asked: Program | None = None
    since: float = 0.0
    seen: bool = False
    excused: bool = False
    said_end: bool = False
    looked: float = 0.0
    stops: list[str] = field(default_factory=list)
    read: int = 0
    rounds: set[str] = field(default_factory=set)

    @property
    def folder(self) -> Path:
        return self.processes.folder / "runs" / "test"

    def look(self) -> bool:
        """Whether the run is complete; asks for it again where it must be."""
        complete = self._read()
        if complete:
            return True
        now = time.monotonic()
        if self.asked is None:
            self._ask(now)  # does nothing while there is no SuperLink
        elif self.asked.process.poll() is None:
            self.since = now
        elif self.asked.process.returncode != 0:
            if now - self.since > PAUSE_S:
                self._ask(now)
        elif now - self.looked > 1.0:
            self.looked = now
            if self.processes.named(COORDINATOR, "flwr-serverapp"):
                self.seen, self.since = True, now
            elif now - self.since > (PAUSE_S if self.seen else PENDING_S):
                if self.seen and not (self.excused or self.said_end):
                    raise Failed("a run ended without a word")
                self._ask(now)
        return False

    def _ask(self, now: float) -> None:
        if not self.processes.answers():
            return
        words = ["flwr", "run", str(app_folder()), flower.CONNECTION, "--format", "json"]
        words += ["--run-config", str(self.processes.folder / "run.toml")]
        self.asked = self.processes.launch(COORDINATOR, words)
        self.count, self.since, self.seen = self.count + 1, now, False
        self.excused = self.said_end = False

    def _read(self) -> bool:
        """Takes in new lines of the history; whether the last of them is a good end."""
        path = self.folder / "history.jsonl"
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        text = text[: text.rfind("\n") + 1]
        complete = False
        for event in map(json.loads, text[self.read :].splitlines()):
            complete = event["event"] == "end" and event["status"] == "completed"
            if event["event"] == "round-start":
                closing = event["kind"] == "close"
                self.rounds.add("closing" if closing else f"round {event['round']}")
            if event["event"] == "end" and event["status"] != "completed":
                code = re.match(r"PFS-\d{3}", event["text"])
                if code is None:
                    raise Failed(f"a run stopped without a name: {event['text']}")
                self.stops.append(code[0])
                self.said_end = True
        self.read = len(text)
        return complete


def trial(
    number: int,
    seed: int,
    faults: list[Fault],
    sites: list[SiteSettings],
    expected: dict[str, Any],
    folder: Path,
    stop: threading.Event,
) -> Outcome:
    """Runs one trial in a new folder and ends all that it started.

    Raises:
        Stopped: ``stop`` was set meanwhile.
    """
    begin = time.monotonic()
    own = [site.model_copy(update={"state": str(folder / "state" / site.site)}) for site in sites]
    for site in own:
        if any(fault.kind == "full disk" and fault.site == site.site for fault in faults):
            mount(Path(site.state))
    clocks = {fault.site for fault in faults if fault.kind == "clock jump"}
    processes = Processes(folder, {site.site: site for site in own}, clocks)
    run = _Run(processes)
    injected: list[str] = []
    try:
        processes.start_all()
        flat = settings(own, folder / "runs")
        (folder / "run.toml").write_text(flower.toml(flat), encoding="utf-8")
        _watch(processes, run, faults, injected, stop, begin + LIMIT_S)
        if state_of(own, run.folder) != expected:
            raise Failed(f"other parameters: {_difference(state_of(own, run.folder), expected)}")
        result = f"stopped with {', '.join(run.stops)}, then equal" if run.stops else "equal"
    except Stopped:
        raise
    except PfedsamError as error:
        result = f"FAILED {error.local()}"
    except Exception as error:  # one trial's end is not the campaign's
        result = f"FAILED {error if isinstance(error, Failed) else repr(error)}"
    finally:
        processes.close()
        for site in own:
            unmount(Path(site.state))
    seconds = round(time.monotonic() - begin, 1)
    return Outcome(number, seed, faults, injected, result, run.count, seconds)


def _watch(
    processes: Processes,
    run: _Run,
    faults: list[Fault],
    injected: list[str],
    stop: threading.Event,
    limit: float,
) -> None:
    """Does the faults, ends them, tends the processes, until the run is complete and every fault over."""
    waiting, since = list(faults), {"asked": time.monotonic()}
    undoing: list[tuple[Fault, Undo]] = []
    newest = dict.fromkeys(processes.sites, 0)
    while True:
        if stop.wait(LOOK_EVERY_S):
            raise Stopped
        now = time.monotonic()
        if now > limit:
            words = [f"{p.name}: {_end_of(p)}" for p in (run.asked,) if p]
            raise Failed(f"not complete after {LIMIT_S:.0f} s; stops so far: {run.stops}; {words}")
        complete = run.look()
        processes.tend()
        for moment in run.rounds:
            since.setdefault(moment, now)
        for fault in list(waiting):
            if complete or now - since.get(fault.moment, now) < fault.delay_s or fault.moment not in since:
                continue
            store = _store(processes.sites[fault.site]) if fault.site else Path()
            undo = INJECTORS[fault.kind](processes, fault, store)
            if undo is not None:
                waiting.remove(fault)
                injected.append(fault.kind)
                run.excused |= fault.kind in ("kill superlink", "kill serverapp")
                undoing.append((fault, undo))
        undoing = [(fault, undo) for fault, undo in undoing if not undo()]
        for name, site in processes.sites.items():
            rows = generations(_store(site))
            number = int(rows[-1]["round"]) if rows else 0
            if number < newest[name]:
                raise Failed(f"personal state of {name} went back from round {newest[name]} to {number}")
            newest[name] = number
        if complete and not undoing:
            return


def _end_of(program: Program) -> str:
    return " ".join(plain(program.log.read_text(errors="replace")).split())[-300:]


def _difference(found: dict[str, Any], expected: dict[str, Any]) -> str:
    parts = []
    for kind in expected:
        for name in expected[kind].keys() | found[kind].keys():
            if expected[kind].get(name) != found[kind].get(name):
                parts.append(f"{kind} of {name}")
    return ", ".join(sorted(parts))
