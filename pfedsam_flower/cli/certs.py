"""``pfedsam certs``: an authority and the SuperLink's certificate, so that sites know whom they speak to."""

import argparse
from pathlib import Path

EPILOG = """\
Of the files in FOLDER, ca.crt goes to every site; the two .key files go nowhere. superlink.crt is for the
hosts and for loopback. Nothing is overwritten; --renew replaces superlink.crt alone, and the sites need not
be told. ca.key is needed for --renew only: keep it off the network in between.

examples:
  pfedsam certs coordinator --host fl.example.org
  pfedsam certs coordinator --renew
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where certificates and keys are kept")
    parser.add_argument(
        "--host",
        action="append",
        default=[],
        metavar="NAME",
        help="DNS name or IP address that sites will type; may be repeated (--renew: those of the old one)",
    )
    parser.add_argument("--renew", action="store_true", help="new dates for superlink.crt, same authority")


def run(args: argparse.Namespace) -> int:
    from ..deployment.certificates import AUTHORITY, CERTIFICATE, KEY, make_certificates, renew_certificate
    from ..deployment.keys import file_words
    from .render import say

    made = (renew_certificate if args.renew else make_certificates)(args.folder, args.host)
    authority, certificate, key = (args.folder / name for name in (AUTHORITY, CERTIFICATE, KEY))
    until, authority_until = (
        f"valid until {one.not_valid_after_utc:%Y-%m-%d}" for one in (made.certificate, made.authority)
    )
    say(f"{certificate}: {until} for {', '.join(made.hosts)}")
    say(f"{authority}: {authority_until}; give it to every site, its words:")
    say(f"  {file_words(authority)}")
    if args.renew:
        say("restart the SuperLink: it reads its certificate at the start")
        return 0
    say("\nstart the SuperLink with\n")
    say("  flower-superlink --enable-supernode-auth --disable-runtime-dependency-installation \\")
    say(f"    --ssl-ca-certfile {authority} --ssl-certfile {certificate} --ssl-keyfile {key} \\")
    say(f"    --database {args.folder / 'state.db'}")
    return 0
