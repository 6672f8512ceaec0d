"""``pfedsam site-key``: the key pair by which a site's SuperNode is known, made at the site."""

import argparse
from pathlib import Path

EPILOG = """\
Two files: NAME.key stays here, only its owner can read it, and nobody else ever needs it; NAME.pub goes to
the coordinator. The ten words are those of NAME.pub: read them out when the coordinator calls.

example:
  pfedsam site-key keys --site north
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where the key pair is written")
    parser.add_argument("--site", required=True, metavar="NAME", help="the site's name in the federation")


def run(args: argparse.Namespace) -> int:
    from ..deployment.keys import make_site_key
    from .render import say

    made = make_site_key(args.folder, args.site)
    say(f"{made.private}: the private key; it stays here")
    say(f"{made.public}: the public key, for the coordinator; its words:")
    say(f"  {made.words}")
    return 0
