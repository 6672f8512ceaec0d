"""A site's SuperNode, kept running: the right environment, the site's gate before every bundle."""

import ipaddress
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ..errors import ConsentError, SettingsError, StoreError
from ..federation.door import ADMITTED, LAUNCHER
from ..settings.site import SiteSettings
from ..settings.sources import refuse, to_flat
from ..site.consent import LEFT, check_willing, control_folder
from ..site.files import locked, write_whole
from . import flower, proxies, rights
from .keys import one_certificate
from .processes import MARKER, Program, end_all
from .rehearsal import free_port

CONNECTION = ("superlink", "authority", "key")
"""Settings that the SuperNode needs and its apps do not."""
OTHER_TASKS = ("flwr-serverapp", "flwr-agentapp", "flwr-model", "flwr-connector", "flwr-simulation")
"""Programs that Flower would also start here if a run asked for it; at a site none of them is."""
STEADY_S = 600.0
FIRST_WAIT_S, LONGEST_WAIT_S = 5.0, 300.0
LEAVING_S = 20.0
"""Seconds in which work that a leave broke off can still say so."""

Say = Callable[[str], None]


def connection(site: SiteSettings, *, insecure: bool) -> list[str]:
    """The SuperNode's options by which it finds and trusts the SuperLink, and is known there.

    Raises:
        SettingsError: PFS-102 with everything that is missing; also when plain HTTP would leave this machine.
    """
    problems = []
    if not site.superlink:
        problems.append("superlink: is needed, the coordinator's host:port")
    elif insecure and not _loopback(site.superlink):
        problems.append(f"superlink = {site.superlink!r}: plain HTTP (--insecure) is for this machine only")
    needed = () if insecure else ("authority", "key")
    for name in needed:
        path = getattr(site, name)
        if not path:
            problems.append(f"{name}: is needed; see docs/how-to/enrol.md")
        elif not Path(path).is_file():
            problems.append(f"{name} = {path!r}: there is no such file")
        elif name == "authority":
            problems += _of_authority(Path(path))
    refuse(problems, "PFS-102")
    options = ["--superlink", site.superlink]
    if insecure:
        return [*options, "--insecure"]
    return [*options, "--root-certificates", site.authority, "--auth-supernode-private-key", site.key]


def _of_authority(path: Path) -> list[str]:
    try:
        one_certificate(path)
    except StoreError as error:
        return [f"authority = {str(path)!r}: {error.message}; {error.hint}"]
    return []


def _loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def environment(site: SiteSettings, base: dict[str, str]) -> dict[str, str]:
    """The SuperNode's environment: nothing leaves by itself, one device, so many threads, the gate first.

    Raises:
        SettingsError: PFS-102 when there is no such device among those that are visible.
    """
    control = control_folder(site)
    env = {k: v for k, v in base.items() if k not in (ADMITTED, "PFEDSAM_SITES", "PFEDSAM_IN_PROCESS")}
    env |= {
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_HOME": str(control / "flower"),
        "PATH": os.pathsep.join([str(control / "bin"), str(flower.PROGRAMS), base.get("PATH", "")]),
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
        LAUNCHER: "1",
        MARKER: str(control),
    }
    env |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(site.threads))
    env |= proxies.direct(base, *proxies.OWN_PROCESSES)
    kind, _, number = site.device.partition(":")
    if kind == "cpu":
        env["CUDA_VISIBLE_DEVICES"] = ""
    elif number:  # of those that are visible already, in the order of nvidia-smi
        listed = [d for d in base.get("CUDA_VISIBLE_DEVICES", "").split(",") if d]
        if listed and int(number) >= len(listed):
            raise SettingsError(
                "PFS-102",
                f"device = {site.device!r}, but CUDA_VISIBLE_DEVICES has {len(listed)} device(s)",
            )
        env["CUDA_VISIBLE_DEVICES"] = listed[int(number)] if listed else number
        env["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    return env


def passed_on(superlink: str, env: Mapping[str, str]) -> str:
    """One sentence: how the SuperLink is asked, and which variables about web proxies the SuperNode is given.

    Args:
        superlink: its address as a URL.
        env: of ``environment``.

    Raises:
        SettingsError: PFS-102 when the SuperNode would end at them.
    """
    host, port = proxies.first_hop(superlink, env)
    own = superlink.split("/")[2]
    direct = f"{host}:{port}" == own.lower().translate({ord("["): None, ord("]"): None})
    way = "directly" if direct else f"through the web proxy {host}:{port}"
    return f"{own} is asked {way}; passed on: {proxies.sentence(env)}"


def node_config(site: SiteSettings) -> str:
    """What the SuperNode hands to the app, as TOML: all but the connection; a pinned device is its first."""
    flat = {k: v for k, v in to_flat(site).items() if k not in CONNECTION}
    return flower.toml(flat | ({"device": "cuda:0"} if site.device.startswith("cuda:") else {}))


def write_programs(site: SiteSettings) -> Path:
    """Writes the folder that comes first on the SuperNode's PATH, and returns it.

    Raises:
        StoreError: PFS-604.
    """
    folder = control_folder(site) / "bin"
    python = f"exec {shlex.quote(sys.executable)} -P -m {__package__}.launcher"
    write_whole(folder / "flwr-clientapp", f'#!/bin/sh\n{python} "$@"\n'.encode(), 0o700)
    for name in OTHER_TASKS:
        text = f"#!/bin/sh\necho '{name}: this site runs no such task' >&2\nexit 1\n"
        write_whole(folder / name, text.encode(), 0o700)
    return folder


def keep_running(site: SiteSettings, options: list[str], say: Say) -> None:
    """Runs the site's SuperNode until SIGTERM, SIGINT or SIGHUP, or until the site leaves; then ends it all.

    Args:
        options: of ``connection``.
        say: takes one line for the log.

    Raises:
        ConsentError: PFS-703 when the site has left.
        SettingsError: PFS-102 when Flower's client would end at a web proxy that the environment names.
        StoreError: PFS-604 when another process holds the site, or its folder cannot be written; PFS-608 when
            others could change its state folder or approvals, or read its key.
    """
    control = control_folder(site)
    env = environment(site, dict(os.environ))
    _check_not_left(site)
    say(passed_on(f"http{'' if '--insecure' in options else 's'}://{site.superlink}/", env))
    with locked(control), _until_told() as told:
        rights.refuse(rights.of_site(site), site.state)
        end_all(str(control))  # of a start that was killed and could not clean up
        write_programs(site)
        write_whole(control / "node.toml", node_config(site).encode())
        command = [str(flower.PROGRAMS / "flower-supernode"), *options]
        command += ["--node-config", str(control / "node.toml")]

        def start() -> Program:
            process = subprocess.Popen(
                [*command, "--port", str(free_port())],
                env=env,
                cwd=control,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                umask=0o077,  # whatever is written for the site is for its account alone
            )
            return Program(f"the SuperNode of {site.site}", process, Path(os.devnull))

        try:
            supervise(start, lambda one: end_all(str(control), [one]), told, lambda: _has_left(site), say)
        finally:
            end_all(str(control))
    if _has_left(site):
        say(f"{site.site} has left the federation")


def supervise(
    start: Callable[[], Program],
    end: Callable[[Program], None],
    told: threading.Event,
    over: Callable[[], bool],
    say: Say,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Starts the program again whenever it ends, later each time, until it is told to stop or it is over."""
    failures = 0
    while not told.is_set():
        began, program = clock(), start()
        say(f"{program.name} runs (process {program.pid})")
        try:
            while program.process.poll() is None and not told.wait(0.5) and not over():
                pass
        finally:
            code = program.process.poll()
            end(program)
        if told.is_set() or over():
            return
        failures = 1 if clock() - began > STEADY_S else failures + 1
        wait = waiting_s(failures)
        say(f"{program.name} ended with status {code}; it is started again in {wait:.0f} s")
        told.wait(wait)


def waiting_s(failures: int) -> float:
    """Seconds before the next start after so many early ends in a row: 5, 10, 20 … 300."""
    return min(FIRST_WAIT_S * 2 ** min(failures - 1, 10), LONGEST_WAIT_S)


def _has_left(site: SiteSettings) -> bool:
    try:
        return time.time() - (control_folder(site) / LEFT).stat().st_mtime > LEAVING_S
    except OSError:
        return False


def _check_not_left(site: SiteSettings) -> None:
    try:
        check_willing(site)
    except ConsentError as error:
        if error.code == "PFS-703":
            raise


@contextmanager
def _until_told() -> Iterator[threading.Event]:
    """Yields an event that is set by the signals that end a service; they end nothing else here."""
    told = threading.Event()
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.signal(number, lambda *_: told.set()) for number in numbers}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
