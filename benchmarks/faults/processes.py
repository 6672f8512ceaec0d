"""The processes of one trial, and what a supervisor does for them: start again what has ended."""

import itertools
import os
import shutil
import signal
import socket
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pfedsam_flower.deployment import flower
from pfedsam_flower.deployment.processes import MARKER, Program, descendants, start
from pfedsam_flower.deployment.proxies import without_proxies
from pfedsam_flower.settings.site import SiteSettings
from pfedsam_flower.settings.sources import to_flat

from .relay import Relay

ROOT = Path(__file__).resolve().parents[2]
CLOCK = Path(__file__).with_name("clock")
COORDINATOR = "coordinator"
PAUSE_S = 1.0
"""Seconds before the supervisor starts something again."""
_ports, _lock = itertools.count(), threading.Lock()


def free_port() -> int:
    """A port that was not given out before, below those that the system gives to outgoing connections."""
    with _lock:
        while True:
            port = 12_000 + (os.getpid() * 53 + next(_ports)) % 20_000
            with socket.socket() as probe, suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port


def command(name: str) -> str:
    """The path of one of Flower's commands: first on PATH, else beside the interpreter."""
    found = shutil.which(name) or shutil.which(name, path=str(flower.PROGRAMS))
    if found is None:
        raise SystemExit(f"{name} is not on PATH")
    return found


@dataclass
class Processes:
    """SuperLink, SuperNodes and relays of one trial, by name.

    Attributes:
        folder: receives ``logs/`` and Flower's own state.
        with_clock: sites whose processes read their clock's shift from ``clock-<site>``.
        wanted: programs that the supervisor keeps running.
        ended: when it first saw that one had ended.
    """

    folder: Path
    sites: dict[str, SiteSettings]
    with_clock: set[str] = field(default_factory=set)
    port: int = field(default_factory=free_port)
    relays: dict[str, Relay] = field(default_factory=dict)
    wanted: dict[str, Program] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)
    starts: Counter[tuple[str, str]] = field(default_factory=Counter)
    node_ports: dict[str, int] = field(default_factory=dict)

    def start_all(self) -> None:
        """SuperLink, a relay per site, a SuperNode per site."""
        (self.folder / "work").mkdir(parents=True)
        flower.write_connection(self.folder / "flower" / COORDINATOR, f"127.0.0.1:{self.port}")
        self.start(COORDINATOR)
        for name, site in self.sites.items():
            self.relays[name] = Relay(free_port(), self.port)
            self.node_ports[name] = free_port()
            home = self.folder / "flower" / name
            home.mkdir(parents=True)
            (home / "node.toml").write_text(flower.toml(to_flat(site)), encoding="utf-8")
            self.start(name)

    def start(self, name: str) -> None:
        """The SuperLink, or the SuperNode of a site, with the command line that it always has."""
        if name == COORDINATOR:
            words = ["flower-superlink", "--insecure", "--host", "127.0.0.1", "--port", str(self.port)]
            words += ["--database", str(self.folder / "state.db")]
            words += ["--disable-runtime-dependency-installation"]
        else:
            words = ["flower-supernode", "--insecure", "--port", str(self.node_ports[name])]
            words += ["--superlink", f"127.0.0.1:{self.relays[name].port}"]
            words += ["--node-config", str(self.folder / "flower" / name / "node.toml")]
        self.wanted[name] = self.launch(name, words)

    def launch(self, name: str, words: list[str]) -> Program:
        """Starts one of Flower's commands as a process of ``name``; its log says how often that was done."""
        log = self.folder / "logs" / f"{words[0]}-{name}-{self.starts[name, words[0]]}.log"
        self.starts[name, words[0]] += 1
        line = [command(words[0]), *words[1:]]
        return start(words[0], line, env=self._environment(name), cwd=self.folder / "work", log=log)

    def _environment(self, name: str) -> dict[str, str]:
        code = [str(CLOCK)] if name in self.with_clock else []
        code.append(str(ROOT))
        # the working folder is another one there
        code += [str(Path(p).absolute()) for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
        env = {
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "FLWR_HOME": str(self.folder / "flower" / name),
            "PATH": os.pathsep.join([str(Path(command("flwr")).parent), os.environ.get("PATH", "")]),
            "PYTHONPATH": os.pathsep.join(code),
            "PYTHONUNBUFFERED": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "FAULTS_CLOCK": str(self.folder / f"clock-{name}"),
            MARKER: str(self.folder / name),
        }
        env |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        return without_proxies(os.environ) | env

    def answers(self) -> bool:
        """Whether somebody listens on the SuperLink's port."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1.0):
            return True
        return False

    def tend(self) -> None:
        """Starts again, a second later, what has ended."""
        for name, program in self.wanted.items():
            if program.process.poll() is None:
                continue
            if time.monotonic() - self.ended.setdefault(name, time.monotonic()) >= PAUSE_S:
                del self.ended[name]
                self.start(name)

    def named(self, name: str, program: str) -> list[int]:
        """Ids of the living processes of a site or the coordinator that run one of Flower's programs."""
        found = []
        for pid in descendants(str(self.folder / name)):
            with suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if any(word.endswith(program.encode()) for word in words[:2]):
                    found.append(pid)
        return found

    def kill(self, name: str) -> None:
        """Ends all processes of a site or the coordinator at once."""
        while living := descendants(str(self.folder / name)):
            for pid in living:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for program in self.wanted.values():
                program.process.poll()
            time.sleep(0.05)

    def close(self) -> None:
        """Ends all that was started."""
        for name in (COORDINATOR, *self.sites):
            self.kill(name)
        for program in self.wanted.values():
            program.process.wait()
        for relay in self.relays.values():
            relay.close()
