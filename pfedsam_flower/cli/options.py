"""Options that several commands share, and how ``--set KEY=VALUE`` becomes settings."""

import argparse
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..settings.sources import default_flat, refuse

if TYPE_CHECKING:
    from ..settings.run import CoordinatorSettings, RunSettings

Flat = dict[str, Any]


def add_set(parser: argparse.ArgumentParser) -> None:
    """Adds ``--set KEY=VALUE``."""
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="a setting of the run; may be repeated",
    )


def add_sites(parser: argparse.ArgumentParser, folder: str) -> None:
    """Adds ``--sites``, ``--folder`` and ``--set``."""
    parser.add_argument(
        "--sites", type=Path, required=True, metavar="FILE", help="sites.toml, one [[site]] each"
    )
    parser.add_argument(
        "--folder", type=Path, default=Path(folder), help=f"for logs and run folders (default: {folder})"
    )
    add_set(parser)


def parse_set(pairs: Sequence[str]) -> Flat:
    """Flat settings of ``KEY=VALUE`` texts. Values are TOML scalars; anything else is taken as text.

    A setting whose default is a text stays a text: ``lmoe.blocks=3`` names a block.

    Raises:
        SettingsError: PFS-101 with every text that is not KEY=VALUE, and every setting that has two values.
    """
    problems = [
        f"--set {p}: is not KEY=VALUE" for p in pairs if not p.partition("=")[0].strip() or "=" not in p
    ]
    defaults, flat = default_flat(), Flat()
    for pair in pairs:
        key, _, text = (part.strip() for part in pair.partition("="))
        value = _scalar(text, text=isinstance(defaults.get(key), str))
        if flat.setdefault(key, value) != value:
            problems.append(f"--set {key}: is given twice, as {flat[key]!r} and as {value!r}")
    refuse(problems)
    return flat


def _scalar(value: str, *, text: bool) -> str | int | float | bool:
    try:  # in brackets, so that nothing behind the value is taken for a comment and forgotten
        parsed = tomllib.loads(f"values = [{value}]")
    except tomllib.TOMLDecodeError:
        return value
    if len(parsed) != 1 or len(parsed["values"]) != 1 or value.endswith(","):
        return value
    scalar = parsed["values"][0]
    return scalar if isinstance(scalar, str if text else (str, int, float, bool)) else value


def plan(flat: Flat, folder: Path) -> tuple["RunSettings", "CoordinatorSettings", Flat]:
    """The checked settings, and the flat ones with folders that hold wherever a process is started.

    Raises:
        SettingsError: PFS-101 with every fault.
    """
    from ..federation.plan import read_plan

    flat = {"coordinator.folder": str(folder / "runs")} | flat
    for key in ("coordinator.folder", "coordinator.checkpoint"):
        if flat.get(key):
            flat[key] = str(Path(str(flat[key])).absolute())
    return *read_plan(flat), flat
