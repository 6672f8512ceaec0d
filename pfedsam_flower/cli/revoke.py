"""``pfedsam revoke``: shut a site out."""

import argparse

from .enrol import add_superlink

EPILOG = """\
The SuperLink answers the site's SuperNode no more, one that is connected included. What it has sent before
stays in the shared parameters. A revoked key cannot be enrolled again: the site makes a new one.

example:
  pfedsam revoke coordinator --site north
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    add_superlink(parser)
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--site", default="", metavar="NAME", help="the site's registered name")
    who.add_argument("--node", type=int, default=0, metavar="ID", help="a node id, from pfedsam enrol FOLDER")


def run(args: argparse.Namespace) -> int:
    from ..deployment.enrolment import revoke
    from .render import say

    node_id, admitted = revoke(args.folder, args.superlink, site=args.site, node_id=args.node)
    how = "is shut out" if admitted else "was not admitted by the SuperLink any more"
    say(f"{args.site}, node {node_id}, {how}" if args.site else f"node {node_id} {how}")
    return 0
