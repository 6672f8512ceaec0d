"""``pfedsam report RUN_FOLDER``: the table; with curves.png, table.md and table.csv."""

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", type=Path, metavar="RUN_FOLDER", help="folder that holds history.jsonl")
    parser.add_argument("--json", action="store_true", help="print the report for programs to read")


def run(args: argparse.Namespace) -> int:
    from ..reports.history import read_history
    from ..reports.tables import as_json

    history = read_history(args.run_folder)
    written = write_report(args.run_folder)
    if args.json:
        print(
            json.dumps(
                as_json(history)
                | {"settings": history.start.get("settings")}
                | {"files": [str(path) for path in written]},
                indent=2,
            )
        )
        return 0
    from .render import headline, say, show_report

    if history.status != "completed":
        say(f"{headline(history)} (this run has not completed)")
    show_report(history)
    for path in written:
        say(f"written: {path}")
    return 0


def write_report(run_folder: Path) -> list[Path]:
    """Writes table.md, table.csv and, once there are measurements, curves.png; returns their paths."""
    from ..reports.history import read_history
    from ..reports.plots import write_curves
    from ..reports.tables import write_tables

    history = read_history(run_folder)
    curves = write_curves(history, run_folder / "curves.png")
    return [*write_tables(history, run_folder), *([curves] if curves else [])]
