"""Who is examined, and what an examination says."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ...errors import PfedsamError, SettingsError
from ...settings.run import CoordinatorSettings, RunSettings
from ...settings.site import SiteSettings
from ...settings.sources import findings, read_site, refuse, split_coordinator
from .. import proxies
from ..flower import PROGRAMS

Role = Literal["site", "coordinator"]
Status = Literal["ok", "warning", "failed", "skipped"]

SILENT = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
"""Variables with which a SuperNode talks to the SuperLink alone; ``pfedsam site start`` sets them."""


@dataclass(frozen=True)
class Outcome:
    """What a check found: one sentence, and what to do when it is not ``ok``."""

    status: Status
    text: str
    remedy: str = ""


def ok(text: str) -> Outcome:
    return Outcome("ok", text)


def warning(text: str, remedy: str) -> Outcome:
    return Outcome("warning", text, remedy)


def failed(text: str, remedy: str) -> Outcome:
    return Outcome("failed", text, remedy)


def skipped(text: str) -> Outcome:
    return Outcome("skipped", text)


def of_error(error: PfedsamError, remedy: str = "") -> Outcome:
    """One of the package's errors as a failed check; its own hint comes before ``remedy``."""
    text = f"{error.code} {' '.join(error.message.split())}"
    return failed(text + (f" ({error.where})" if error.where else ""), error.hint or remedy)


@dataclass(frozen=True)
class Subject:
    """One side of a federation on this machine, as far as the command line says it.

    Attributes:
        site, run, coordinator: None where they could not be read; ``faults`` has the reason by name.
        superlink: HOST:PORT as it was given; empty: the network is not looked at.
        insecure: the SuperLink speaks plain HTTP.
        roots: the file of CA certificates that the SuperLink's is checked with; None: the system's.
        certificates: further certificate files whose dates and names are looked at.
        file: the site's own file; None: the coordinator.
    """

    role: Role
    site: SiteSettings | None
    run: RunSettings | None
    coordinator: CoordinatorSettings | None
    faults: Mapping[str, PfedsamError]
    superlink: str = ""
    insecure: bool = False
    roots: Path | None = None
    certificates: tuple[Path, ...] = ()
    file: Path | None = None

    @property
    def name(self) -> str:
        """The site's name, or "coordinator"."""
        return self.site.site if self.site else self.role

    @property
    def checkpoint(self) -> str:
        """Path of the backbone's weights on this side; empty: those inside the package."""
        own = self.site or self.coordinator
        return own.checkpoint if own else ""

    @property
    def environment(self) -> Mapping[str, str]:
        """Of what will ask the SuperLink: this shell's, and what ``pfedsam site start`` adds to it.

        It is by ``site start`` that a site is started whose file names the SuperLink.
        """
        if self.site is None or not self.superlink or self.superlink != self.site.superlink:
            return os.environ
        path = {"PATH": f"{PROGRAMS}{os.pathsep}{os.environ.get('PATH', '')}"}
        return os.environ | SILENT | path | proxies.direct(os.environ, *proxies.OWN_PROCESSES)

    def known_run(self) -> RunSettings:
        """The run's settings, for checks that come after the one that they can be read."""
        assert self.run is not None
        return self.run

    def known_site(self) -> SiteSettings:
        """The site's settings, likewise."""
        assert self.site is not None
        return self.site


def subject_of(file: Path | None, name: str | None, flat: Mapping[str, Any], **network: Any) -> Subject:
    """What a command line says, read as far as it can be read; never raises for wrong settings.

    Args:
        file: a site's node config or a ``sites.toml``; None: the coordinator is examined.
        name: which site of the file; may be None where the file has one.
        flat: the run's settings that differ from the defaults, the coordinator's among them.
        network: ``superlink`` to ``certificates`` of ``Subject``; address and authority are taken
            from the site's file where they are not given and stand there.
    """
    faults: dict[str, PfedsamError] = {}
    site = None
    if file is not None:
        try:
            site = read_site(file, name)
        except PfedsamError as error:
            faults["site"] = error
    if site is not None and file is not None and site.superlink and not network.get("superlink"):
        network["superlink"] = site.superlink
        if site.authority and not network.get("insecure") and network.get("roots") is None:
            network["roots"] = Path(site.authority)
    run_flat, own_flat = split_coordinator(flat)
    run, problems = findings(RunSettings, run_flat)
    own, own_problems = findings(CoordinatorSettings, own_flat)
    try:
        refuse(problems + [f"coordinator.{problem}" for problem in own_problems])
    except SettingsError as error:
        faults["run"] = error
    return Subject(
        role="coordinator" if file is None else "site",
        site=site,
        run=run if isinstance(run, RunSettings) else None,
        coordinator=own if file is None and isinstance(own, CoordinatorSettings) else None,
        faults=faults,
        file=file,
        **network,
    )
