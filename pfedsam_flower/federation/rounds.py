"""The loop over rounds: every wait has a limit, a reason and names."""

import time
from collections.abc import Callable

import numpy as np
from flwr.app import Message
from flwr.serverapp import Grid

from ..contract.messages import FlatSettings, RoundRequest
from ..contract.schema import Contract, digest
from ..errors import FederationError
from ..settings.run import RunSettings
from ..settings.sources import to_flat
from .history import RunFolder
from .roster import Roster
from .strategy import PFedSAMStrategy

POLL_S = 0.3
LARGEST_TRIES = 3
"""How often a site whose process ended is asked the same again within a round."""


def run_rounds(
    grid: Grid,
    strategy: PFedSAMStrategy,
    roster: Roster,
    folder: RunFolder,
    first: int,
    packed: np.ndarray,
    sleep: Callable[[float], None] = time.sleep,
) -> np.ndarray:
    """All rounds from ``first`` on and the closing round; returns the final shared parameters.

    Raises:
        FederationError: PFS-501 when fewer than ``federation.minimum-sites`` take part, with the names.
    """
    run, contract = strategy.run, strategy.contract
    if run.rounds == 0:  # preflight only
        wait_for_sites(roster, run, sleep)
        return packed
    for number in range(first, run.rounds + 1):
        _one(grid, strategy, roster, folder, _request("train", number, run, contract, packed), packed, sleep)
        packed = strategy.aggregate()
        folder.save_round(number, packed)
        _end(folder, strategy, digest(packed))
    _one(
        grid,
        strategy,
        roster,
        folder,
        _request("close", run.rounds + 1, run, contract, packed),
        packed,
        sleep,
    )
    _end(folder, strategy, digest(packed))
    return packed


def _request(
    kind: str, number: int, run: RunSettings, contract: Contract, packed: np.ndarray
) -> RoundRequest:
    settings: FlatSettings = dict(to_flat(run))
    return RoundRequest(
        kind=kind,
        round=number,
        contract=contract.hash,
        settings=settings,
        deadline_s=run.federation.round_deadline_s,
        broadcast=digest(packed),
    )


def wait_for_sites(roster: Roster, run: RunSettings, sleep: Callable[[float], None]) -> list[str]:
    """Names of the sites to ask: all that are named, or at least the minimum, within the start deadline.

    Sites that are looking through their data then are waited for longer, each for a round deadline at most.

    Raises:
        FederationError: PFS-501 with the names of those that are missing or refused.
    """
    limit = time.monotonic() + run.federation.start_deadline_s
    while True:
        roster.look()
        present = roster.present()
        busy = roster.preflight.busy(roster.online)  # that has its own deadline
        settled = not busy and (not roster.absent() if roster.expected else not roster.asked)
        late = not busy and time.monotonic() >= limit
        if len(present) >= run.federation.minimum_sites and (settled or late):
            roster.preflight.tell()
            return present
        hopeless = (
            bool(roster.expected)
            and len(roster.expected) - len(roster.refused) < run.federation.minimum_sites
        )
        if late or (hopeless and not roster.asked and not busy):
            roster.preflight.tell()
            raise too_few(roster, present, run)
        sleep(POLL_S)


def too_few(roster: Roster, present: list[str], run: RunSettings) -> FederationError:
    """Why a round cannot be closed, with names."""
    parts = [f"present: {', '.join(present) or 'none'}"]
    parts += [f"absent: {', '.join(roster.absent())}"] if roster.absent() else []
    parts += (
        [f"refused: {', '.join(f'{s} ({c})' for s, c in sorted(roster.refused.items()))}"]
        if roster.refused
        else []
    )
    hints = ["correct what the refused sites' own logs name"] if roster.refused else []
    hints += ["start the missing SuperNodes"] if roster.absent() or not roster.refused else []
    return FederationError(
        "PFS-501",
        f"{len(present)} of at least {run.federation.minimum_sites} sites; " + "; ".join(parts),
        hint=" and ".join(hints) + ", then `flwr run` again: the run goes on where it stopped",
        counts={"sites": len(present)},
    )


def _one(
    grid: Grid,
    strategy: PFedSAMStrategy,
    roster: Roster,
    folder: RunFolder,
    request: RoundRequest,
    packed: np.ndarray,
    sleep: Callable[[float], None],
) -> None:
    """One round's messages out and replies in; raises PFS-501 when too few pass."""
    run = strategy.run
    strategy.begin(request, packed)
    targets = wait_for_sites(roster, run, sleep)
    folder.log("round-start", round=request.round, kind=request.kind, sites=targets)
    start = time.monotonic()
    pending: dict[str, tuple[str, int, float]] = {}  # message id → site, node, when asked
    tries = dict.fromkeys(targets, 0)
    missed_since: dict[str, float] = {}
    open_sites = set(targets)
    while open_sites and time.monotonic() - start < run.federation.round_deadline_s:
        roster.look()
        # a late comer that was expected still takes part in this round
        for site in roster.present():
            if site not in tries:
                tries[site] = 0
                open_sites.add(site)
        busy = {site: node for site, node, _ in pending.values()}
        for site in sorted(open_sites):
            node = roster.nodes.get(site)
            here = node is not None and node in roster.online
            if here and busy.get(site) != node:
                tries[site] += 1
                if tries[site] > LARGEST_TRIES:
                    open_sites.discard(site)
                    continue
                missed_since.pop(site, None)
                left = run.federation.round_deadline_s - (time.monotonic() - start)
                (message_id,) = grid.push_messages([strategy.instruction(site, max(left, 1.0))])
                if message_id:
                    pending = {m: p for m, p in pending.items() if p[0] != site}
                    pending[message_id] = (site, node, time.monotonic())  # type: ignore[assignment]
            elif not here:
                missed_since.setdefault(site, time.monotonic())
        for message in grid.pull_messages(list(pending)) if pending else []:
            _take(message, pending, open_sites, strategy, folder, missed_since)
        now = time.monotonic()
        gone = {s for s in open_sites if now - missed_since.get(s, now) > run.federation.start_deadline_s}
        if gone and gone == open_sites:
            break
        sleep(POLL_S)
    for site in sorted(open_sites):
        folder.log("lost", round=request.round, site=site, reason="no usable answer before the deadline")
    if len(strategy.admitted) < run.federation.minimum_sites:
        raise too_few(roster, sorted(strategy.admitted), run)


def _take(
    message: Message,
    pending: dict[str, tuple[str, int, float]],
    open_sites: set[str],
    strategy: PFedSAMStrategy,
    folder: RunFolder,
    missed_since: dict[str, float],
) -> None:
    """One answer: admitted, left out for good, or a loss after which the site is asked again."""
    known = pending.pop(message.metadata.reply_to_message_id, None)
    if known is None:
        return
    site, _, _ = known
    assert strategy.request is not None
    if message.has_error():
        reason = f"Flower's error {message.error.code}"
        folder.log("lost", round=strategy.request.round, site=site, reason=reason)
        missed_since.setdefault(site, time.monotonic())
        return
    strategy.admit(site, message)
    open_sites.discard(site)


def _end(folder: RunFolder, strategy: PFedSAMStrategy, shared: str) -> None:
    assert strategy.request is not None
    folder.log(
        "round-end",
        round=strategy.request.round,
        kind=strategy.request.kind,
        sites=sorted(strategy.admitted),
        seconds=round(strategy.seconds(), 3),
        shared=shared,
    )
