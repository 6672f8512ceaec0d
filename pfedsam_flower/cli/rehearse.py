"""``pfedsam rehearse``: a SuperLink and one SuperNode per site, as between hospitals, on this machine."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .options import add_sites, parse_set, plan

if TYPE_CHECKING:
    from ..deployment.rehearsal import Engine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_sites(parser, "rehearsal")


def run(args: argparse.Namespace) -> int:
    return run_sites(args, "deployment")


def run_sites(args: argparse.Namespace, engine: "Engine") -> int:
    """Runs the federation of ``--sites`` and returns the exit status; settings are checked first."""
    from ..reports.history import read_history
    from ..settings.sources import sites_from_file
    from .launch import launch
    from .render import say, show_report

    sites = sites_from_file(args.sites)
    folder = args.folder.absolute()
    given = {"federation.sites": ",".join(site.site for site in sites)} | parse_set(args.set)
    settings, coordinator, flat = plan(given, folder)
    reason = launch(sites, flat | {"federation.name": settings.federation.name}, folder, engine)
    if reason:
        print(f"the run failed: {reason}\n  logs: {folder / 'logs'}", file=sys.stderr)
        return 1
    run_folder = Path(coordinator.folder) / settings.federation.name
    show_report(read_history(run_folder))
    say(f"run folder: {run_folder}")
    say(f"curves and tables: pfedsam report {run_folder}")
    return 0
