"""``pfedsam prepare NAME SRC DST``: public collections, as they unpack, into site folders."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..data.collections import Progress

# What data.collections has, said here too: a list of choices must not import numpy.
NAMES = {
    "prostate": "six-site prostate MRI (SAML)",
    "fundus": "disc and cup, as FedDG (Domain1 …) or FedFMS (REFUGE, ORIGA, G1020, Drishti-GS1)",
    "nuclei": "PanNuke, MoNuSeg, TNBC, DSB2018: those that are there",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "collections:\n" + "\n".join(f"  {name:<9} {what}" for name, what in NAMES.items())
    parser.add_argument("name", choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument(
        "src", type=Path, metavar="SRC", help="folder the download was unpacked to; only read"
    )
    parser.add_argument("dst", type=Path, metavar="DST", help="folder for the sites, made new")


def run(args: argparse.Namespace) -> int:
    from ..data.collections import LISTING, prepare
    from .render import say

    with _bar() as progress:
        done = prepare(args.name, args.src, args.dst, progress)
    for site, cases in done.cases.items():
        say(f"{site}: {cases} cases")
    say(f"cases and the published files they come from, with digests: {args.dst / 'cases.csv'}")
    classes = ",".join(done.classes)
    say(f"next: pfedsam rehearse --sites {args.dst / LISTING} --set classes={classes}")
    return 0


@contextmanager
def _bar() -> Iterator["Progress"]:
    """Yields a function for ``prepare``: a bar on a terminal, one line per site where there is none."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from .render import console, say

    out = console()
    if not out.is_terminal:
        seen: set[str] = set()

        def line(done: int, total: int, site: str) -> None:
            if site not in seen:
                seen.add(site)
                say(f"{site} (case {done + 1} of {total})")

        yield line
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("cases"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=out, transient=True) as bar:
        task = bar.add_task("")
        yield lambda done, total, site: bar.update(task, description=site, completed=done, total=total)
