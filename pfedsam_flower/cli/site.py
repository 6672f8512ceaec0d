"""``pfedsam site ACTION FILE``: run a hospital's SuperNode, allow what may run, see what left."""

import argparse
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ..contract.text import printable

if TYPE_CHECKING:
    from ..settings.site import SiteSettings

EPILOG = """\
FILE is the site's own file: one site, or a sites.toml with --site-name.

examples:
  pfedsam site start north.toml
  pfedsam site review north.toml
  pfedsam site review north.toml 3f9c01ab52e7d014
  pfedsam site approve north.toml HASH --expires 90     # as the review shows it
  pfedsam site sent north.toml
"""
ACTIONS = {
    "start": "Run the SuperNode until it is told to stop; only approved bundles run",
    "review": "What was asked for: bundle, plan, what would leave; with HASH one in full",
    "approve": "Allow a bundle with its settings",
    "pause": "Stop all work now, until resume",
    "resume": "Go on after pause or leave",
    "leave": "Leave the federation: approvals and private key are removed",
    "reset": "Set personal state of a federation aside, to begin anew; nothing is deleted",
    "adopt": "Begin with the experts of an earlier state; that state is only read",
    "sent": "What left, by day and run; checks the journals (exit status 1 if one is broken)",
}
LONGEST_TEXT, LONGEST_PROJECT = 40, 500
"""Lines that are shown of a Python file, and of pyproject.toml."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, sentence in ACTIONS.items():
        one = actions.add_parser(name, help=sentence, description=f"{sentence}.", allow_abbrev=False)
        one.add_argument("file", type=Path, metavar="FILE", help="the site's own file")
        one.add_argument("--site-name", metavar="NAME", help="which of the file's sites this machine is")
        if name == "start":
            one.add_argument(
                "--insecure", action="store_true", help="plain HTTP, without key; on this machine only"
            )
        if name in ("review", "approve"):
            digits = "16 digits of it or more" if name == "review" else "the whole of it, 64 digits"
            nargs = "?" if name == "review" else None
            one.add_argument("hash", nargs=nargs, metavar="HASH", help=f"the request's hash: {digits}")
        if name == "approve":
            one.add_argument(
                "--expires", type=_days, metavar="DAYS", help="allow it for so many days; 0 withdraws it"
            )
        if name in ("reset", "adopt"):
            one.add_argument("--federation", required=True, metavar="NAME", help="federation.name of the run")
        if name == "adopt":
            one.add_argument(
                "--from",
                dest="source",
                type=Path,
                required=True,
                metavar="FOLDER",
                help="the earlier state: STATE/FEDERATION/SITE/METHOD, or what reset made of it",
            )
        if name == "reset":
            how = one.add_mutually_exclusive_group()
            how.add_argument(
                "--back-to", type=int, metavar="ROUND", help="go back to the state after this round (PFS-602)"
            )
            how.add_argument(
                "--keep", action="store_true", help="go on with the state as it lies there (PFS-606)"
            )
        if name in ("leave", "reset"):
            one.add_argument("--yes", action="store_true", help="do it; without, it is only explained")
        if name == "sent":
            one.add_argument(
                "--begin-anew",
                action="store_true",
                help="keep aside the journals that do not fit (PFS-607) and begin new ones, which say so",
            )
            one.add_argument("--last", type=int, default=0, metavar="N", help="the newest N messages as well")
        if name in ("review", "sent"):
            one.add_argument("--json", action="store_true", help="print it for programs to read")


def _days(text: str) -> float:
    days = float(text)
    if not 0 <= days <= 36500:
        raise ValueError
    return days


def run(args: argparse.Namespace) -> int:
    from ..settings.sources import read_site
    from .site_sent import sent

    site = read_site(args.file, args.site_name)
    actions = {
        "start": _start,
        "review": _review,
        "approve": _approve,
        "pause": _pause,
        "resume": _resume,
        "leave": _leave,
        "reset": _reset,
        "adopt": _adopt,
        "sent": sent,
    }
    before = os.umask(0o077)  # what is written for a site is for its account alone
    try:
        return int(actions[args.action](site, args))
    finally:
        os.umask(before)


def _reset(site: "SiteSettings", args: argparse.Namespace) -> int:
    from ..site.aside import go_back, keep, set_aside, states
    from .render import say

    if not args.yes:
        if args.keep:
            what = "would be gone on with, whatever the journal says"
        else:
            what = f"would go back to round {args.back_to}" if args.back_to else "would be set aside"
        for path in states(site, args.federation):
            say(f"{what}: {path}")
        say("nothing was changed; add --yes to do it. Split and journal stay.")
        return 0
    if args.keep or args.back_to:
        there = keep(site, args.federation) if args.keep else go_back(site, args.federation, args.back_to)
        for path, number in there:
            say(f"goes on after round {number}: {path}" if number else f"begins anew: {path}")
        return 0
    for path in set_aside(site, args.federation):
        say(f"now: {path}")
    return 0


def _adopt(site: "SiteSettings", args: argparse.Namespace) -> int:
    from ..site.adopted import adopt
    from .render import say

    path = adopt(site, args.federation, args.source)
    say(f"the next round of {args.federation} begins with the experts of {args.source}: {path}")
    return 0


def _start(site: "SiteSettings", args: argparse.Namespace) -> int:
    from ..deployment.rights import of_file, refuse
    from ..deployment.site_process import connection, keep_running

    refuse(of_file(args.file), str(args.file))
    keep_running(site, connection(site, insecure=args.insecure), lambda line: print(line, flush=True))
    return 0


def _review(site: "SiteSettings", args: argparse.Namespace) -> int:
    from ..deployment.approval import find
    from ..deployment.review import overview, review
    from .render import say, show_table

    if args.hash:
        found = review(site, find(site, args.hash))
        if args.json:
            print(json.dumps(asdict(found), indent=2))
        else:
            _show_review(found)
        return 0
    rows = overview(site)
    if args.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    elif not rows:
        say("nothing was asked for yet; a request is kept when a run first reaches this site")
    else:
        headings = ("request", "state", "expires", "federation", "rounds", "asked first", "bundle")
        show_table(
            headings,
            [
                (
                    row.request.hash[:16],
                    row.state,
                    row.expires[:10],
                    printable(str(row.request.settings.get("federation.name", "?"))),
                    printable(str(row.request.settings.get("rounds", "?"))),
                    row.request.since[:16],
                    row.request.bundle[:12],
                )
                for row in rows
            ],
        )
        say("pfedsam site review FILE REQUEST shows one in full")
    return 0


def _show_review(found: "object") -> None:
    from ..deployment.review import Review
    from .render import say

    assert isinstance(found, Review)
    request, bundle = found.row.request, found.bundle
    say(f"request {request.hash}: {found.row.state}, first asked {request.since}")
    say("\nThe plan")
    for line in found.plan:
        say(f"  {printable(line)}")
    say("\nWhat would leave")
    for line in found.leaves:
        say(f"  {printable(line)}")
    say(f"\nThe bundle {bundle.sha256}")
    for file in bundle.files:
        say(f"  {printable(file.name)}  {file.n_bytes} bytes  {file.sha256[:12]}")
    if bundle.remarks:
        for remark in bundle.remarks:
            say(f"  LOOK: {printable(remark)}")
    else:
        say(f"  It has no code of its own; {printable(bundle.app)} calls what is installed here.")
    for file in bundle.files:
        lines = file.text.splitlines()
        longest = LONGEST_TEXT if file.name.endswith(".py") else LONGEST_PROJECT
        if file.name.endswith(".py") or file.name == "pyproject.toml":
            say(f"\n  {printable(file.name)}")
            for line in lines[:longest]:
                say(f"    {printable(line)}")
            if len(lines) > longest:
                say(f"    … and {len(lines) - longest} lines more, in the state folder")
    if found.changed is not None:
        say(
            "\nChanged since the last approval"
            if found.changed
            else "\nNo setting changed since the last approval"
        )
        for key, before, now in found.changed:
            say(f"  {printable(f'{key}: {before} → {now}')}")
    if found.row.state != "approved":
        say(f"\nto allow it: pfedsam site approve FILE {request.hash}")


def _approve(site: "SiteSettings", args: argparse.Namespace) -> int:
    from ..deployment.approval import approve
    from .render import say

    one = approve(site, args.hash, args.expires)
    if args.expires == 0:
        say(f"{one.request.hash[:16]} is not approved any more")
        return 0
    until = f"until {one.expires[:16]} UTC" if one.expires else "until it is withdrawn (--expires 0)"
    say(
        f"{one.request.hash[:16]} may run here {until}; a run that waits for its sites goes on by itself, "
        "one that has ended is started again by the coordinator"
    )
    return 0


def _pause(site: "SiteSettings", args: argparse.Namespace) -> int:
    from ..site.consent import pause
    from .render import say

    say(f"{site.site} is paused; the sign is {pause(site)}")
    return 0


def _resume(site: "SiteSettings", args: argparse.Namespace) -> int:
    from ..site.consent import resume
    from .render import say

    standing = resume(site)
    for sign in standing:
        say(f"{sign} was put there by hand and still stops every site with this state folder: remove it")
    if not standing:
        say(f"{site.site} goes on")
    return 1 if standing else 0


def _leave(site: "SiteSettings", args: argparse.Namespace) -> int:
    from ..deployment.approval import withdraw_all
    from ..site.consent import leave
    from .render import say

    key = Path(site.key) if site.key else None
    if not args.yes:
        say(f"This would end work for the federation, withdraw all approvals and remove {key or 'no key'}.")
        say("What was sent before stays in the shared parameters, and the personal state stays here.")
        say("To do it: the same command with --yes. To stop for a while: pfedsam site pause.")
        return 1
    leave(site)
    said = f"{site.site} has left: {withdraw_all(site)} approval(s) withdrawn"
    try:
        if key is not None:
            key.unlink(missing_ok=True)
    except OSError as error:
        say(f"{said}; the key could not be removed ({error.strerror}), so remove it yourself: {key}")
        return 1
    say(f"{said}, {'key removed' if key else 'no key was named'}")
    say("What was sent before stays in the shared parameters; ask the coordinator to revoke the site, too.")
    return 0
