"""Programs of a rehearsal: started with a log, watched, and ended with all their descendants.

Flower's programs start others, some of them in sessions of their own. Each inherits a marker in its
environment, so that all can be found at the end, and those of a rehearsal that was killed at the next start.
"""

import os
import re
import signal
import subprocess
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import FederationError

MARKER = "PFEDSAM_REHEARSAL"
GRACE_S = 10.0
ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


@dataclass(frozen=True)
class Program:
    """A running program and where it writes."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid


def start(name: str, command: list[str], *, env: dict[str, str], cwd: Path, log: Path) -> Program:
    """The started program: in a session of its own, its output in ``log``.

    Raises:
        FederationError: PFS-507 when there is no such command.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with log.open("wb") as sink:
            process = subprocess.Popen(
                command,
                env=env,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=0o077,  # the database, for one, holds what sites have sent
            )
    except OSError as error:
        raise FederationError(
            "PFS-507",
            f"{name} could not be started: {error.strerror}.",
            where=command[0],
            hint="install the project's environment again (make env)",
        ) from error
    return Program(name, process, log)


def check_alive(programs: list[Program]) -> None:
    """Nothing to do while every program runs.

    Raises:
        FederationError: PFS-507 with the last lines of the first one that has ended.
    """
    for program in programs:
        code = program.process.poll()
        if code is not None:
            raise FederationError(
                "PFS-507",
                f"{program.name} ended early with status {code}. Its last words:\n{last_lines(program.log)}",
                where=str(program.log),
            )


def last_lines(log: Path, count: int = 12) -> str:
    """The end of a log, indented, without colour codes."""
    try:
        with log.open(encoding="utf-8", errors="replace") as file:
            lines = deque((plain(line).rstrip() for line in file), maxlen=count)
    except OSError:
        return "    (no log)"
    return "\n".join(f"    {line}" for line in lines) or "    (it said nothing)"


def plain(text: str) -> str:
    """``text`` without terminal colours; Flower writes them into files too."""
    return ANSI.sub("", text)


def end_all(marker: str, programs: list[Program] | None = None) -> None:
    """Ends the programs and all their descendants: asked first (SIGTERM), made to (SIGKILL) after 10 s."""
    programs = programs or []
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + GRACE_S
        signalled: set[int] = set()
        while time.monotonic() < deadline:
            for program in programs:
                program.process.poll()
            living = descendants(marker) | {p.pid for p in programs if p.process.returncode is None}
            if not living:
                return
            for pid in living - signalled:  # some start others while they end
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal_number)
            signalled |= living
            if not Path("/proc/self/stat").exists():
                _signal_groups(programs, signal_number)
            time.sleep(0.1)


def _signal_groups(programs: list[Program], signal_number: int) -> None:
    for program in programs:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(program.pid, signal_number)


def descendants(marker: str) -> set[int]:
    """Ids of all living processes of this user that carry the marker, with their sessions and children.

    Read from /proc; where there is none (macOS) it is empty: there the process groups are signalled, and
    Flower's own helpers watch their parent.
    """
    wanted = f"{MARKER}={marker}".encode()
    mine, table = os.getpid(), {}
    found: set[int] = set()
    for entry in Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        with suppress(OSError, ValueError, IndexError):
            state, parent, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            if state == "Z" or pid == mine:
                continue
            table[pid] = (int(parent), int(session))
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.add(pid)
    # Titles that a process gives itself can overwrite its visible environment: follow the family too.
    size = -1
    while len(found) != size:
        size = len(found)
        found |= {p for p, (parent, session) in table.items() if parent in found or session in found}
    return found
