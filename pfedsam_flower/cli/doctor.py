"""``pfedsam doctor``: is this machine fit to start its side of a federation; if not, what to do."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from .options import add_set, parse_set

if TYPE_CHECKING:
    from ..deployment.doctor import Result

FAILED, WARNINGS = 1, 3
COLOURS = {"ok": "green", "warning": "yellow", "failed": "red", "skipped": "dim"}

EPILOG = """\
Nothing is written. With --superlink a few requests go there that change nothing. Exit status: 0 fit to
start, 1 something failed (or the command itself did), 3 warnings only.

examples:
  pfedsam doctor --site north.toml --superlink fl.example.org:8443 --root-certificates ca.crt
  pfedsam doctor --site hospitals/sites.toml --site-name north
  pfedsam doctor --set classes=prostate --certificate server.crt
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument(
        "--site",
        type=Path,
        metavar="FILE",
        help="the site's node config, or a sites.toml; without: the coordinator",
    )
    parser.add_argument("--site-name", metavar="NAME", help="which of the file's sites this machine is")
    add_set(parser)
    parser.add_argument(
        "--superlink", default="", metavar="HOST:PORT", help="look whether it is reached; or as in FILE"
    )
    trust = parser.add_mutually_exclusive_group()
    trust.add_argument(
        "--root-certificates", type=Path, metavar="FILE", help="the CA's, as a SuperNode gets it"
    )
    trust.add_argument("--insecure", action="store_true", help="the SuperLink speaks plain HTTP")
    parser.add_argument(
        "--certificate",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="look at its dates and names too; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="print it for programs to read")


def run(args: argparse.Namespace) -> int:
    from ..contract.software import software
    from ..deployment.doctor import CHECKS, examine
    from ..deployment.doctor.subject import subject_of
    from .render import counting, say

    subject = subject_of(
        args.site,
        args.site_name,
        parse_set(args.set),
        superlink=args.superlink,
        insecure=args.insecure,
        roots=args.root_certificates,
        certificates=tuple(args.certificate),
    )
    found = []
    with counting("examining") as show:  # some checks take seconds
        n = sum(subject.role in check.roles for check in CHECKS.values())
        for number, result in enumerate(examine(subject), 1):
            found.append(result)
            show(number, n)
    n_failed, n_warnings = (sum(one.status == kind for one in found) for kind in ("failed", "warning"))
    status = "failed" if n_failed else "warning" if n_warnings else "ok"
    if args.json:
        answer = {"role": subject.role, "name": subject.name, "software": software(), "status": status}
        print(json.dumps(answer | {"checks": [asdict(one) for one in found]}, indent=2))
    else:
        _show(found)
        verdict = "not fit to start" if n_failed else "fit to start"
        say(f"\n{subject.name}: {verdict}; {n_failed} failed, {n_warnings} warning(s)")
    return FAILED if n_failed else WARNINGS if n_warnings else 0


def _show(found: "list[Result]") -> None:
    from rich.table import Table
    from rich.text import Text

    from .render import console

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("Check", "Result"):
        table.add_column(heading, no_wrap=True)
    table.add_column("What was found, and what to do", overflow="fold")
    for one in found:
        text = Text(one.text)
        if one.remedy:
            text.append(f"\n→ {one.remedy}", style="bold")
        table.add_row(Text(one.name), Text(one.status, style=COLOURS[one.status]), text)
    console().print(table)
