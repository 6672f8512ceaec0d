"""A federation on one machine: Flower's real processes on loopback, or its simulation engine.

Nothing is mocked: a SuperLink, one SuperNode per site, a new process per message, as between hospitals.
Only the wires are short and unencrypted.
"""

import importlib.util
import os
import shutil
import signal
import socket
import sqlite3
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..data.findings import some
from ..errors import FederationError, StoreError
from ..settings.site import SiteSettings
from ..settings.sources import to_flat
from ..site.files import locked
from . import database, flower
from .processes import MARKER, Program, check_alive, end_all, last_lines, start
from .proxies import without_proxies

Engine = Literal["deployment", "simulation"]
HEALTH_LIMIT_S = 90.0
OURS = ".pfedsam-rehearsal"
"""In a folder whose logs and Flower state may be replaced."""
MADE = ("work", "logs", "flower/superlink")
"""Folders by which one is known that an earlier release made, without that file."""


def free_port() -> int:
    """A loopback port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def app_folder() -> Path:
    """The folder with ``server_app/`` and ``client_app/`` beside the package that is imported here.

    Raises:
        FederationError: PFS-507 when the package was installed without them.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / "server_app" / "app.py").is_file():
        raise FederationError(
            "PFS-507",
            "the Flower app (pyproject.toml, server_app/, client_app/) is not beside the installed package.",
            where=str(root),
            hint="run from a checkout of the project, installed with 'pip install -e .' or 'make env'",
        )
    return root


@dataclass
class Rehearsal:
    """A SuperLink that answers, and what was started for it."""

    folder: Path
    address: str
    env: dict[str, str]
    nodes: int | None
    programs: list[Program] = field(default_factory=list)

    def run(self, app: Path, run_config: Mapping[str, Any]) -> int:
        """Starts a run of the app with these overrides of its run config and returns the run's id.

        Raises:
            FederationError: PFS-507 when Flower refuses.
        """
        config = self.folder / "flower" / "run.toml"
        config.write_text(flower.toml(run_config), encoding="utf-8")
        return flower.run(app, config, nodes=self.nodes, env=self.env, cwd=self.folder / "work")

    def status(self, run_id: int) -> tuple[str, str]:
        """(status, details) as Flower says it; ``finished:completed`` is the only good end."""
        return flower.status(run_id, env=self.env, cwd=self.folder / "work")

    def last_words(self, run_id: int) -> str:
        """The last lines of the ServerApp's log."""
        return flower.last_words(run_id, env=self.env, cwd=self.folder / "work")

    def check(self) -> None:
        """Nothing to do while every process runs.

        Raises:
            FederationError: PFS-507 with the last log lines of a process that has ended.
        """
        check_alive(self.programs)


@contextmanager
def rehearsal(folder: Path, sites: list[SiteSettings], *, engine: Engine) -> Iterator[Rehearsal]:
    """Yields a running federation; ends every process of it on the way out, whatever the reason.

    Args:
        folder: receives ``logs/``, Flower's own state, the sites' node configurations; kept afterwards.
        sites: with absolute folders; one SuperNode, or one virtual node, each.

    Raises:
        FederationError: PFS-507 when a process does not start or ends early.
        StoreError: PFS-604 when another rehearsal holds the folder, or what would be replaced there was not
            made by one.
    """
    folder = folder.resolve()
    if engine == "simulation" and importlib.util.find_spec("ray") is None:
        raise FederationError(
            "PFS-507",
            "Flower's simulation engine needs Ray, which is not installed.",
            hint="install the extra 'simulation', or use 'pfedsam rehearse'",
        )
    with locked(folder), _terminate_politely(), _short_folder() as temporary:
        _check_ours(folder)
        end_all(str(folder))  # of a rehearsal here that was killed and could not clean up
        _make_folders(folder)
        port = free_port()
        env = _environment(folder, temporary)
        link = Rehearsal(folder, f"127.0.0.1:{port}", env, len(sites) if engine == "simulation" else None)
        flower.write_connection(Path(env["FLWR_HOME"]), link.address)
        try:
            if engine == "simulation":
                (folder / "flower" / "sites.toml").write_text(_site_tables(sites), encoding="utf-8")
            link.programs.append(_start_superlink(link, port, simulated=engine == "simulation"))
            _wait_for_health(link)
            if engine == "deployment":
                for site in sites:
                    link.programs.append(_start_supernode(link, site))
            yield link
        finally:
            with _undisturbed():
                end_all(str(folder), link.programs)
                with suppress(OSError, sqlite3.Error):  # what was sent is in the history and at the sites
                    database.forget(folder / "state.db", anew=True)


def _check_ours(folder: Path) -> None:
    """Refuses a folder where something lies that is not a rehearsal's and would be replaced."""
    if (folder / OURS).exists() or all((folder / name).is_dir() for name in MADE):
        (folder / OURS).touch()
        return
    theirs = sorted(path.name for name in ("logs", "flower", "state.db*") for path in folder.glob(name))
    if theirs:
        raise StoreError(
            "PFS-604",
            f"the folder has {some(theirs)}, which no rehearsal made; nothing was touched",
            where=str(folder),
            hint="choose another one with --folder",
        )
    (folder / OURS).touch()


def _make_folders(folder: Path) -> None:
    """Fresh logs and Flower state: a run left over in an old database would be started again."""
    for name in ("logs", "flower"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir()
    for old in folder.glob("state.db*"):
        old.unlink()
    (folder / "work").mkdir(exist_ok=True)


def _environment(folder: Path, temporary: Path) -> dict[str, str]:
    """This process's environment, without anything that leaves the machine, on this very code."""
    return without_proxies(os.environ) | {
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_TMPDIR": str(temporary),
        "FLWR_HOME": str(folder / "flower" / "superlink"),
        "OMP_NUM_THREADS": "1",
        "PATH": f"{flower.PROGRAMS}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": os.pathsep.join(
            filter(None, [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH")])
        ),
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",  # of logs, whatever this terminal can show
        "PFEDSAM_SITES": str(folder / "flower" / "sites.toml"),
        MARKER: str(folder),
    }


def _site_tables(sites: list[SiteSettings]) -> str:
    return "\n".join("[[site]]\n" + flower.toml(to_flat(site)) for site in sites)


def _start_superlink(link: Rehearsal, port: int, *, simulated: bool) -> Program:
    command = [str(flower.PROGRAMS / "flower-superlink"), "--insecure", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--database", str(link.folder / "state.db")]
    command += ["--disable-runtime-dependency-installation"] + (["--simulation"] if simulated else [])
    # A neutral working folder: simulated clients import the app from where the SuperLink was started.
    cwd, log = link.folder / "work", link.folder / "logs" / "superlink.log"
    return start("the SuperLink", command, env=link.env, cwd=cwd, log=log)


def _start_supernode(link: Rehearsal, site: SiteSettings) -> Program:
    home = link.folder / "flower" / site.site
    home.mkdir(parents=True)
    (home / "node.toml").write_text(flower.toml(to_flat(site)), encoding="utf-8")
    command = [str(flower.PROGRAMS / "flower-supernode"), "--insecure", "--superlink", link.address]
    command += ["--port", str(free_port()), "--node-config", str(home / "node.toml")]
    log = link.folder / "logs" / f"supernode-{site.site}.log"
    env = link.env | {"FLWR_HOME": str(home), "OMP_NUM_THREADS": str(site.threads)}
    return start(f"the SuperNode of {site.site}", command, env=env, cwd=link.folder / "work", log=log)


def _wait_for_health(link: Rehearsal) -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + HEALTH_LIMIT_S
    while time.monotonic() < deadline:
        link.check()
        try:
            with direct.open(f"http://{link.address}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    log = link.programs[0].log
    raise FederationError(
        "PFS-507",
        f"the SuperLink did not answer within {HEALTH_LIMIT_S:.0f} s. Its last words:\n{last_lines(log)}",
        where=str(log),
    )


@contextmanager
def _short_folder() -> Iterator[Path]:
    """A temporary folder with a short path: Ray's sockets there allow 107 characters."""
    folder = Path(tempfile.mkdtemp(prefix="pfs-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _terminate_politely() -> Iterator[None]:
    """SIGTERM and SIGHUP leave through the same door as an exception, so that nothing stays behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A second Ctrl-C does not interrupt the cleaning up that the first one began."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
