"""How each kind of fault is done to a trial, and how it is over.

Each function tries to do its fault now and returns what ends it, or None while it cannot be done: there is no
such process at the moment, or no such file.
"""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pfedsam_flower.deployment.processes import descendants
from pfedsam_flower.errors import StoreError
from pfedsam_flower.site.files import read_checked, write_whole

from .drawing import Fault
from .processes import COORDINATOR, Processes

Undo = Callable[[], bool]
"""Tries to end the fault; False while it is to go on."""
LONGEST_S = 60.0
DISK_BYTES = 16 << 20
FILE_BYTES = 1 << 14
"""Largest file while the disk is full, where none can be mounted: less than any generation of a site."""


def nothing() -> bool:
    """The end of a fault that was over in an instant."""
    return True


def kill(processes: Processes, fault: Fault, store: Path) -> Undo | None:
    """SIGKILL to one process; its children and siblings go on as they like."""
    target = fault.kind.removeprefix("kill ")
    if target in ("superlink", "supernode"):
        pids = [processes.wanted[fault.site or COORDINATOR].pid]
    else:
        pids = processes.named(fault.site or COORDINATOR, f"flwr-{target}")
    done = False
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            done = True
    return nothing if done else None


def cut(processes: Processes, fault: Fault, store: Path) -> Undo | None:
    """Connections are reset, or nothing passes through them."""
    relay = processes.relays[fault.site]
    relay.cut(silently=fault.amount >= 0.5)
    return _later(fault, relay.mend)


def slow(processes: Processes, fault: Fault, store: Path) -> Undo | None:
    """So many bytes per second."""
    relay = processes.relays[fault.site]
    relay.bytes_per_s = fault.amount
    return _later(fault, lambda: setattr(relay, "bytes_per_s", 0.0))


def repeat(processes: Processes, fault: Fault, store: Path) -> Undo | None:
    """The SuperLink gets a site's replies once more: from the node itself, or late and in another order."""
    relay = processes.relays[fault.site]
    if fault.amount < 0.5:
        relay.unanswered = True
        return _later(fault, lambda: setattr(relay, "unanswered", False))
    relay.push_again(int(1e4 * fault.amount))
    relay.doubled = True
    return _later(fault, lambda: setattr(relay, "doubled", False))


def full_disk(processes: Processes, fault: Fault, store: Path) -> Undo | None:
    """The site's state folder has no room: filled up where it is mounted, else no larger file may be made."""
    state = Path(processes.sites[fault.site].state)
    if os.path.ismount(state):
        filler = state / "filler"
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(bytes(1 << 12)):
                pass
        return _after_a_refusal(processes, fault, filler.unlink)

    def limit(n_bytes: int) -> None:
        for pid in descendants(str(processes.folder / fault.site)):
            with suppress(OSError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (n_bytes, resource.RLIM_INFINITY))

    limit(FILE_BYTES)  # those that are started meanwhile inherit it
    return _after_a_refusal(processes, fault, lambda: limit(resource.RLIM_INFINITY))


def damaged_state(processes: Processes, fault: Fault, store: Path) -> Undo | None:
    """The site's processes end, sixteen bytes of its newest personal state change, the site starts again.

    It is over when the state has been refused by name; then the file comes back from the backup. State that
    the run needs no more is refused to whoever reads it next.
    """
    rows = generations(store)
    if not rows:
        return None
    processes.kill(fault.site)
    rows = generations(store)  # those that were living may have written one more
    path = store / rows[-1]["personal"]
    whole = path.read_bytes()
    at = int(fault.amount * (len(whole) - 16))
    damaged = whole[:at] + bytes(255 - byte for byte in whole[at : at + 16]) + whole[at + 16 :]
    path.write_bytes(damaged)
    said = _said_from_now(processes)

    def restore() -> bool:
        if "completed" in said():
            if path.exists() and path.read_bytes() == damaged:
                with suppress(StoreError):
                    read_checked(path, rows[-1]["personal_sha256"])
                    raise AssertionError("damaged state was read")
                write_whole(path, whole)
            return True
        if "PFS-603" not in said():
            return False
        write_whole(path, whole)
        return True

    return restore


def clock(processes: Processes, fault: Fault, store: Path) -> Undo | None:
    """The wall clock of the site's processes jumps, and jumps back."""
    file = processes.folder / f"clock-{fault.site}"
    seconds = 10 ** abs(fault.amount) * (1 if fault.amount > 0 else -1)
    write_whole(file, f"{seconds:.1f}".encode())
    return _later(fault, lambda: write_whole(file, b"0"))


def _later(fault: Fault, end: Callable[[], None]) -> Undo:
    until = time.monotonic() + fault.lasts_s

    def undo() -> bool:
        if time.monotonic() < until:
            return False
        end()
        return True

    return undo


def _after_a_refusal(processes: Processes, fault: Fault, end: Callable[[], None]) -> Undo:
    """Ends the fault so many seconds after it was felt; it lasts a minute if it never is."""
    said, until = _said_from_now(processes), time.monotonic() + LONGEST_S
    felt = re.compile(rf'"event": "(lost|left-out|refused)".*"site": "{fault.site}"')

    def undo() -> bool:
        nonlocal until
        if felt.search(said()):
            until = min(until, time.monotonic() + fault.lasts_s)
        if time.monotonic() < until and "completed" not in said():
            return False
        end()
        return True

    return undo


def _said_from_now(processes: Processes) -> Callable[[], str]:
    """What is added to the run's history from now on."""
    history = processes.folder / "runs" / "test" / "history.jsonl"
    before = len(history.read_bytes()) if history.exists() else 0
    return lambda: history.read_bytes()[before:].decode() if history.exists() else ""


def generations(store: Path) -> list[dict[str, Any]]:
    """The rows of a site's ``state.json``, [] while there is none."""
    try:
        rows = json.loads((store / "state.json").read_text())["generations"]
    except FileNotFoundError:
        return []
    assert isinstance(rows, list)
    return rows


def mount(state: Path) -> bool:
    """Whether a small disk of its own could be mounted for a site's state."""
    state.mkdir(parents=True)
    program = shutil.which("mount")
    line = [program or "mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", str(state)]
    return program is not None and subprocess.run(line, capture_output=True).returncode == 0


def unmount(state: Path) -> None:
    """Takes the disk away; its content stays."""
    if os.path.ismount(state):
        kept = state.with_name(f"{state.name}-kept")
        shutil.copytree(state, kept)
        subprocess.run(["umount", str(state)], capture_output=True, check=True)
        state.rmdir()
        kept.rename(state)


INJECTORS: dict[str, Callable[[Processes, Fault, Path], Undo | None]] = {
    "kill superlink": kill,
    "kill serverapp": kill,
    "kill supernode": kill,
    "kill clientapp": kill,
    "cut link": cut,
    "slow link": slow,
    "repeated messages": repeat,
    "full disk": full_disk,
    "damaged state": damaged_state,
    "clock jump": clock,
}
