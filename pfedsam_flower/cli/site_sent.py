"""``pfedsam site sent``: what left a site, by day and run, and whether its journals are whole."""

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..settings.site import SiteSettings
    from ..site.sent import JournalState

MB = 1_000_000


def sent(site: "SiteSettings", args: argparse.Namespace) -> int:
    """Prints what left, and whether the journals are whole; the exit status is 1 when one is not."""
    from ..site.sent import entries, states, totals
    from ..site.whole import begin_anew
    from .render import say, show_table

    if args.begin_anew:
        done = begin_anew(site)
        for path, why in done:
            say(f"begun anew, the earlier one is kept beside it: {path} ({why})")
        if not done:
            say("every journal fits; nothing was changed")
        return 0
    found = entries(site)
    journals, sums = states(site), totals(found)
    last = found[-args.last :] if args.last > 0 else []
    broken = [one for one in journals if one.broken_at is not None or one.problem]
    if args.json:
        answer = {"site": site.site, "whole": not broken, "bytes": sum(one.n_bytes for one in sums)}
        answer |= {"journals": [asdict(one) for one in journals], "totals": [asdict(one) for one in sums]}
        print(json.dumps(answer | ({"last": last} if args.last else {}), indent=2))
        return 1 if broken else 0
    if sums:
        headings = ("day", "federation", "run", "messages", "rounds", "refusals", "MB")
        rows = [
            (
                one.day,
                one.federation,
                one.run,
                *map(str, (one.messages, one.rounds, one.refused)),
                _mb(one.n_bytes),
            )
            for one in sums
        ]
        n_messages, n_bytes = sum(one.messages for one in sums), sum(one.n_bytes for one in sums)
        show_table(headings, [*rows, ("all", "", "", str(n_messages), "", "", _mb(n_bytes))])
    else:
        say(f"nothing has left {site.site}" + (", as far as can be read" if broken else ""))
    for entry in last:
        say(json.dumps(entry))
    _show_journals(journals)
    return 1 if broken else 0


def _mb(n_bytes: int) -> str:
    return f"{n_bytes / MB:.3f}"


def _show_journals(journals: "list[JournalState]") -> None:
    from .render import say

    for one in journals:
        state = f"whole, {one.lines} lines"
        if one.broken_at is not None or one.problem:
            state = f"broken at line {one.broken_at}" if one.broken_at is not None else one.problem
        say(f"{one.path}: {state}, last hash {one.head}")
