"""``pfedsam enrol``: admit a site's key; without a key, list the sites."""

import argparse
import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

SUPERLINK = "127.0.0.1:8000"
EPILOG = """\
Runs on the coordinator's machine, where the SuperLink is. The words are typed as the site reads them out on
the phone; they are compared with those of the file that arrived, and a key whose words differ is refused.
Without PUBLIC_KEY: all sites, their node ids and states; exit status 3 if the SuperLink admits other nodes
than those enrolled here.

examples:
  pfedsam enrol coordinator north.pub --site north --words acorn lemon zebra ...
  pfedsam enrol coordinator
"""
DIFFERENT = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    add_superlink(parser)
    parser.add_argument("key", nargs="?", type=Path, metavar="PUBLIC_KEY", help="the site's .pub file")
    parser.add_argument("--site", metavar="NAME", help="the name under which the site is registered")
    parser.add_argument("--words", nargs="+", default=[], metavar="WORD", help="as the site read them out")
    parser.add_argument("--json", action="store_true", help="print the list for programs to read")


def add_superlink(parser: argparse.ArgumentParser) -> None:
    """Adds FOLDER and ``--superlink``."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the folder of pfedsam certs")
    parser.add_argument(
        "--superlink",
        default=SUPERLINK,
        metavar="HOST:PORT",
        help=f"where the SuperLink answers on this machine (default: {SUPERLINK})",
    )


def run(args: argparse.Namespace) -> int:
    from ..errors import SettingsError

    if args.key is None and not args.site and not args.words:
        return _list(args)
    if args.key is None or not args.site:
        raise SettingsError("PFS-102", "a site is enrolled with both its PUBLIC_KEY and --site NAME")
    from ..deployment.enrolment import enrol
    from .render import say

    one = enrol(args.folder, args.superlink, args.site, args.key, " ".join(args.words))
    say(f"{one.site} is enrolled as node {one.node_id}; its SuperNode may connect")
    return 0


def _list(args: argparse.Namespace) -> int:
    from ..deployment.enrolment import overview
    from .render import say, show_table

    rows = overview(args.folder, args.superlink)
    if args.json:
        print(
            json.dumps(
                {"nodes": [asdict(row) | {"remark": row.remark} for row in rows]}, default=str, indent=2
            )
        )
    elif rows:
        lines = [
            (r.site or "?", str(r.node_id), r.status, _day(r.enrolled), _day(r.revoked), r.words)
            for r in rows
        ]
        show_table(("site", "node", "state", "enrolled", "revoked", "words"), lines)
        for row in rows:
            if row.remark:
                say(f"{row.site or 'node'} {row.node_id}: {row.remark}")
    else:
        say("no site is enrolled")
    return DIFFERENT if any(row.remark for row in rows) else 0


def _day(when: datetime | None) -> str:
    return f"{when:%Y-%m-%d}" if when else ""
