"""``pfedsam words``: a public key or a certificate as ten words, to compare it on the phone."""

import argparse
from pathlib import Path

EPILOG = """\
The same file has the same words everywhere. The site reads out those of its .pub file, the coordinator
those of ca.crt.

examples:
  pfedsam words keys/north.pub
  pfedsam words ca.crt
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument("file", type=Path, metavar="FILE", help="a site's .pub file, or a certificate")


def run(args: argparse.Namespace) -> int:
    from ..deployment.keys import file_words
    from .render import say

    say(file_words(args.file))
    return 0
