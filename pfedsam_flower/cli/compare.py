"""``pfedsam compare``: many methods on the same folds, one after the other, and the report on them."""

import argparse
import logging
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from .options import add_set, parse_set

if TYPE_CHECKING:
    from ..evaluation.comparison import Comparison
    from ..experiments.running import Outcome

EPILOG = """\
A run that is there is not made again: the same command goes on where it was stopped, and may run in several
processes at once. Docs: docs/how-to/compare.md

examples:
  pfedsam compare --list-rows
  pfedsam compare --sites hospitals/sites.toml --output comparison --rows local,fedavg-lora,pfedsam
  pfedsam compare --sites hospitals/sites.toml --output comparison --rows local,fedavg-lora,pfedsam --report
"""


class ListRows(argparse.Action):
    """Prints the rows and ends."""

    def __call__(self, parser: argparse.ArgumentParser, *args: object, **kwargs: object) -> None:
        from ..experiments.rows import ROWS
        from .render import say

        for name, row in ROWS.items():
            say(f"{name:<22}{row.sentence}")
        parser.exit()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument(
        "--sites", type=Path, required=True, metavar="FILE", help="sites.toml, one [[site]] each"
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="for runs and reports; goes on in it"
    )
    parser.add_argument(
        "--name", default="", help="of the report: its files go into DIR/NAME (default: into DIR)"
    )
    parser.add_argument(
        "--rows", type=_names, default=[], metavar="A,B,C", help="what is compared (default: all rows)"
    )
    parser.add_argument(
        "--method", default="pfedsam", metavar="ROW", help="tested against the others (default: pfedsam)"
    )
    parser.add_argument("--folds", type=int, default=5, metavar="N", help="folds by patient (default: 5)")
    parser.add_argument(
        "--fold", type=int, action="append", default=[], metavar="K", help="this one only; may be repeated"
    )
    parser.add_argument(
        "--patients", type=int, metavar="N", help="each site has only so many to train on (default: all)"
    )
    parser.add_argument("--seeds", type=_numbers, default=[0, 1, 2], metavar="0,1,2", help="(default: 0,1,2)")
    parser.add_argument(
        "--budget",
        choices=("global", "total"),
        default="global",
        help="equal among rows: global steps per round, or optimiser steps in all (default: global)",
    )
    parser.add_argument(
        "--experiment",
        choices=("main", "leave-one-out", "onboarding", "wrong-expert"),
        default="main",
        help="leave-one-out: the global model on a site that took no part; onboarding: the same, and what it "
        "makes of it, or alone, with 1, 2, 4, all patients; wrong-expert: each site's patients with each "
        "site's experts",
    )
    parser.add_argument(
        "--merge", type=_names, default=[], metavar="A,B", help="these sites lie behind one hospital"
    )
    add_set(parser)
    parser.add_argument(
        "--no-memory", action="store_true", help="compute again what other runs have computed"
    )
    parser.add_argument("--keep", action="store_true", help="keep every run's folder and the sites' states")
    parser.add_argument(
        "--report", action="store_true", help="only write the report on the runs that are there"
    )
    parser.add_argument("--list-rows", action=ListRows, nargs=0, help="print the rows and end")


def run(args: argparse.Namespace) -> int:
    from ..experiments.campaign import check_method, make_runs, missing, report
    from ..experiments.exchange import exchange_report
    from ..experiments.pooling import merged_sites
    from ..experiments.protocol import make_protocol, runs_of
    from ..experiments.rows import chosen
    from ..settings.sources import default_flat, sites_from_file
    from .render import say

    output, base = args.output.absolute(), parse_set(args.set)
    sites = sites_from_file(args.sites)
    if args.merge:
        classes = _names(str((default_flat() | base)["classes"]))
        sites = merged_sites(sites, args.merge, output / "merged", tuple(classes))
    protocol = make_protocol(
        output,
        sites,
        chosen(args.rows),
        base,
        count=args.folds,
        seeds=args.seeds,
        folds=args.fold,
        budget=args.budget,
        experiment=args.experiment,
        patients=args.patients,
    )
    if args.experiment != "wrong-expert":
        check_method(protocol, args.method)
    runs = runs_of(protocol)
    if protocol.folds.too_small:
        say(f"too small for folds, left out: {', '.join(protocol.folds.too_small)}")
    if not args.report:
        counts = f"{len(protocol.rows)} rows, {len(protocol.seeds)} seeds, {len(protocol.folds_run)} folds"
        say(f"{len(runs)} runs: {counts}")
        with _errors_only("flwr", "pfedsam_flower"):
            make_runs(protocol, runs, output, tell, remember=not args.no_memory, keep=args.keep)
    folder = output / args.name if args.name else output
    if args.experiment == "wrong-expert":
        text, written = exchange_report(protocol, runs, output, folder)
        say(text)
    else:
        comparison, written = report(
            protocol, runs, output, folder, method=args.method, title=args.name, command=_command(args)
        )
        show(comparison)
    for path in written:
        say(f"written: {path}")
    lacking = missing(runs, output)
    if lacking:
        print(f"{len(lacking)} of {len(runs)} runs are missing; the same command makes them", file=sys.stderr)
    return int(bool(lacking))


@contextmanager
def _errors_only(*names: str) -> Iterator[None]:
    """Within: of these loggers, errors alone. Each run would say again what check-data says once."""
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


def tell(outcome: "Outcome", left: int, seconds: float | None) -> None:
    """One line on a run that was looked at."""
    from .render import say

    run = outcome.run
    unseen = f" without {run.unseen}" if run.unseen else ""
    what = f"seed {run.seed} fold {run.fold}{unseen} {', '.join(run.rows)}"
    rest = f"{left} left" + (f", about {_duration(seconds)}" if left and seconds is not None else "")
    if outcome.state == "made":
        spared = f" ({_duration(outcome.recalled_s)} more were remembered)" if outcome.recalled_s >= 1 else ""
        say(f"{run.id} {what}: {_duration(outcome.seconds)}{spared}; {rest}")
    elif outcome.state == "busy":
        say(f"{run.id} {what}: another process is at it; {rest}")
    else:
        say(f"{run.id} {what}: failed after {_duration(outcome.seconds)}; {rest}")
        print(outcome.text, file=sys.stderr)


def show(comparison: "Comparison") -> None:
    """Prints the rows: mean over sites with its interval, worst site, gain over the reference."""
    from .render import say, show_table

    over = comparison.reference
    cells = []
    for row in comparison.rows:
        dice, gain = row.dice, row.gain
        between = dice.interval
        cells.append(
            (
                row.row + (" †" if row.lacks else ""),
                f"{dice.mean_over_sites:.3f}"
                + (f" [{between.low:.3f}, {between.high:.3f}]" if between else ""),
                f"{dice.sites[dice.worst_site]:.3f} {dice.worst_site}",
                "–" if gain is None or row.row == over else f"{gain.mean:+.3f}",
            )
        )
    show_table(("Row", "Dice, mean over sites", "Worst site", f"Gain over {over}"), cells)
    if any(row.lacks for row in comparison.rows):
        say("† not scored on all patients with all seeds")


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _numbers(text: str) -> list[int]:
    return [int(number) for number in _names(text)]


def _command(args: argparse.Namespace) -> str:
    """The command that makes the runs again, without folders of this machine."""
    words = ["pfedsam", "compare", "--sites", args.sites.name, "--output", args.output.name]
    words += ["--name", args.name] if args.name else []
    words += ["--rows", ",".join(args.rows)] if args.rows else []
    words += ["--method", args.method] if args.method != "pfedsam" else []
    words += ["--folds", str(args.folds)] + [w for fold in args.fold for w in ("--fold", str(fold))]
    words += ["--patients", str(args.patients)] if args.patients is not None else []
    words += ["--seeds", ",".join(map(str, args.seeds)), "--budget", args.budget]
    words += ["--experiment", args.experiment] if args.experiment != "main" else []
    words += ["--merge", ",".join(args.merge)] if args.merge else []
    words += [w for pair in args.set for w in ("--set", pair)]
    return shlex.join(words)
