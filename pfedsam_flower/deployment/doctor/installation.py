"""Is what is installed here what the package wants; will Flower call anybody but the SuperLink."""

import importlib
import os
import platform
import shutil
import sqlite3
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from ...contract.software import software as software_of
from .. import database
from ..flower import PROGRAMS
from .subject import SILENT, Outcome, Role, failed, ok, warning

PACKAGE = "pfedsam-flower"
PYTHONS = SpecifierSet(">=3.11")
AGAIN = "install the environment again (make env)"

STARTED: dict[Role, tuple[str, ...]] = {
    "site": ("flower-supernode", "flower-superexec", "flwr-clientapp"),
    "coordinator": ("flower-superlink", "flower-superexec", "flwr-serverapp", "flwr"),
}
"""Programs that a side starts, or that Flower starts for it by looking them up on the PATH."""

QUIET: dict[Role, dict[str, str]] = {
    "site": SILENT,
    "coordinator": SILENT | {"FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1"},
}
"""Variables with which Flower talks to no one else: telemetry, update check, `uv sync` at each run."""


def python(found: str = platform.python_version()) -> Outcome:
    """Python's version against what the package wants."""
    if Version(found) in PYTHONS:
        return ok(f"Python {found}, {sys.executable}")
    return failed(f"Python {found} is too old: the package needs {PYTHONS}", f"{AGAIN} with another Python")


def packages(wanted: Iterable[str] | None = None) -> Outcome:
    """Every requirement of the package against what is installed.

    Args:
        wanted: requirements as in ``pyproject.toml``; None: those of the installed package.
    """
    if wanted is None:
        try:
            wanted = requires(PACKAGE) or []
        except PackageNotFoundError:
            return failed(f"{PACKAGE} is not installed here; only its folder is on the path", AGAIN)
    faults, good = [], []
    for requirement in map(Requirement, wanted):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            faults.append(f"{requirement.name} is missing")
            continue
        if requirement.specifier.contains(found, prereleases=True):
            good.append(f"{requirement.name} {found}")
        else:
            faults.append(f"{requirement.name} is {found}, wanted is {requirement.specifier}")
    return failed("; ".join(faults), AGAIN) if faults else ok(", ".join(good))


def programs(role: Role, path: str | None = None, own: Path = PROGRAMS) -> Outcome:
    """The programs of a side are on the PATH, and from this environment.

    Args:
        path: instead of this process's PATH.
        own: the folder of this environment's programs.
    """
    found = {name: shutil.which(name, path=path) for name in STARTED[role]}
    remedy = f"put {own} first on the PATH of whatever starts Flower; it looks its own programs up there"
    missing = [name for name, where in found.items() if where is None]
    if missing:
        return failed(f"not on the PATH: {', '.join(missing)}", remedy)
    foreign = [f"{where}" for where in found.values() if where and Path(where).parent != own]
    if foreign:
        return failed(f"of another environment than this one: {', '.join(foreign)}", remedy)
    return ok(f"{', '.join(found)} in {own}")


def software() -> Outcome:
    """What will be compared between the sites before round 1."""
    return ok(f"{software_of()}; it must be the same at the coordinator and at every site")


def environment(role: Role, variables: Mapping[str, str] = os.environ) -> Outcome:
    """Whether Flower, started from here, stays silent towards everybody but the SuperLink."""
    wrong = [f"{name}={value}" for name, value in QUIET[role].items() if variables.get(name) != value]
    if not wrong:
        return ok(", ".join(f"{name}={value}" for name, value in QUIET[role].items()))
    names = ", ".join(text.partition("=")[0] for text in wrong)
    return warning(
        f"Flower, started from here, would make network calls of its own ({names})",
        f"set {' '.join(wrong)} where Flower is started",
    )


def erasing() -> Outcome:
    """Whether what the SuperLink deletes from its database is overwritten there."""
    if database.overwrites():
        return ok(f"SQLite {sqlite3.sqlite_version} overwrites what is deleted; its log needs the timer")
    return warning(
        f"SQLite {sqlite3.sqlite_version} leaves what is deleted in the SuperLink's database for a while",
        "between runs, with the SuperLink stopped: python -m pfedsam_flower.deployment.database "
        "coordinator/state.db --anew",
    )


def pytorch() -> Outcome:
    """Whether all that a round imports can be imported; the slowest check, seconds."""
    import torch

    importlib.import_module("pfedsam_flower.site.work")
    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
    return ok(f"PyTorch {torch.__version__}, {built}; the model's modules can be imported")
