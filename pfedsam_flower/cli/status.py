"""``pfedsam status RUN_FOLDER``: where a run stands."""

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", type=Path, metavar="RUN_FOLDER", help="folder that holds history.jsonl")
    parser.add_argument("--json", action="store_true", help="print it for programs to read")


def run(args: argparse.Namespace) -> int:
    from ..reports.history import read_history
    from .render import say, show_status, state

    history = read_history(args.run_folder)
    if args.json:
        now = history.rounds[-1] if history.rounds else None
        answer = {
            "federation": history.start.get("federation"),
            "status": history.status,
            "reason": (history.end or {}).get("text") or None,
            "round": now.number if now else None,
            "kind": now.kind if now else None,
            "rounds": history.start.get("rounds"),
            "settings": history.start.get("settings"),
            "last-event": history.last_time or None,
            "preflight": history.facts,
            "sites": {name: state(history, site) for name, site in history.sites.items()},
        }
        print(json.dumps(answer, indent=2))
        return 0
    show_status(history)
    if history.status == "running":
        say(f"last event: {history.last_time}")
    return 0
