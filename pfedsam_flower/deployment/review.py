"""What a site is asked to allow, in plain words: the bundle, the plan, what would leave and how big it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ..contract.methods import METHODS
from ..errors import PfedsamError
from ..settings.run import RunSettings
from ..settings.site import SiteSettings
from ..settings.sources import findings
from ..site.estimates import message_bytes
from .approval import Approval, Request, approvals, bundle_of, changes, requests
from .bundles import Bundle, read_bundle

MB = 1_000_000


@dataclass(frozen=True)
class Row:
    """A request that is ``waiting`` or ``approved``, or whose approval is ``expired`` (or was withdrawn)."""

    request: Request
    state: str
    expires: str


@dataclass(frozen=True)
class Review:
    """One request in full.

    Attributes:
        plan, leaves: sentences.
        changed: (key, before, now) against the newest approval; None where nothing was approved before.
    """

    row: Row
    bundle: Bundle
    plan: tuple[str, ...]
    leaves: tuple[str, ...]
    changed: tuple[tuple[str, Any, Any], ...] | None


def overview(site: SiteSettings) -> list[Row]:
    """Every request, newest first.

    Raises:
        StoreError: PFS-603.
    """
    known, now = approvals(site), datetime.now(UTC)
    return [_row(request, known.get(request.hash), now) for request in requests(site)]


def review(site: SiteSettings, request: Request) -> Review:
    """What there is to know before it is allowed.

    Raises:
        StoreError: PFS-603 when bundle or approvals cannot be read.
    """
    known, now = approvals(site), datetime.now(UTC)
    before = sorted((a for a in known.values() if a.request.hash != request.hash), key=lambda a: a.approved)
    changed = tuple(changes(request.settings, before[-1].request.settings)) if before else None
    plan, leaves = describe(request.settings)
    bundle = read_bundle(bundle_of(site, request))
    return Review(_row(request, known.get(request.hash), now), bundle, plan, leaves, changed)


def describe(settings: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(what would be done here, what would leave) as sentences; says so where the settings cannot be read."""
    run, problems = findings(RunSettings, settings)
    if not isinstance(run, RunSettings) or run.method not in METHODS:
        reason = "; ".join(problems) or "no such method"
        return (f"The settings are not ones of this software, it would refuse them: {reason}",), ()
    if run.rounds == 0:
        return _preflight(run)
    t, federation = run.training, run.federation
    plan = [
        f"Federation {federation.name}, with {', '.join(federation.sites) or 'whoever takes part'}: "
        f"method {run.method}, {_times(run.rounds, 'round')} and a closing round.",
        f"Learns to mark {', '.join(run.classes)} with {run.backbone.name}, {run.image.size} pixels a side.",
        f"A round trains {_times(t.global_steps, 'step')} on what is shared, {t.local_steps} on what stays, "
        f"{_times(t.batch_size, 'image')} each, and may take {federation.round_deadline_s / 60:g} minutes; "
        f"the closing round trains {_times(t.closing_steps, 'step')} on what stays.",
    ]
    try:
        n_bytes = message_bytes(run)
    except (PfedsamError, KeyError, ValueError):
        return tuple(plan), ("How big a message is cannot be said for these settings.",)
    leaves = [
        f"Each round about {n_bytes / MB:.1f} MB of changes to shared parameters leave, "
        f"{_times(run.rounds, 'time')} ({run.rounds * n_bytes / MB:.1f} MB in all), and as much comes.",
        "Beside them: numbers of patients and samples, Dice and losses as averages, seconds.",
        "Before round 1: counts and ranges over all cases, see docs/how-to/check-data.md.",
        "No image, mask, file name, patient or personal parameter. Changes to parameters can still tell "
        "something of the data they were trained on.",
    ]
    return tuple(plan), tuple(leaves)


def _preflight(run: RunSettings) -> tuple[tuple[str, ...], tuple[str, ...]]:
    who = ", ".join(run.federation.sites) or "whoever takes part"
    plan = (
        f"Federation {run.federation.name}, with {who}: the preflight alone. The data is looked through; no "
        "round is trained, a closing one neither.",
        f"To be marked later are {', '.join(run.classes)}; a run with rounds is another request.",
    )
    leaves = (
        "Counts and ranges over all cases, see docs/how-to/check-data.md; numbers of patients.",
        "No image, mask, file name, patient or parameter.",
    )
    return plan, leaves


def _times(n: int, word: str) -> str:
    return f"{n} {word}" + ("s" if n != 1 else "")


def _row(request: Request, approval: Approval | None, now: datetime) -> Row:
    if approval is None:
        return Row(request, "waiting", "")
    return Row(request, "approved" if approval.holds(now) else "expired", approval.expires)
