"""The loop over rounds: every wait has a limit, a reason and names."""

import time
from collections.abc import Callable, Mapping
from logging import WARNING
from typing import Literal

import numpy as np
from flwr.common.logger import log
from flwr.serverapp import Grid

from ..contract.messages import FlatSettings, RoundRequest
from ..contract.schema import Contract, digest
from ..errors import FederationError
from ..settings.run import RunSettings
from ..settings.sources import to_flat
from .history import RunFolder
from .one_round import OpenRound
from .roster import Roster
from .strategy import PFedSAMStrategy

POLL_S = 0.3


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
        # the history first: of a round that is whole on the disk it must be known who took part
        _end(folder, strategy, digest(packed))
        folder.save_round(number, packed)
        folder.thin()
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
    kind: Literal["train", "close"], number: int, run: RunSettings, contract: Contract, packed: np.ndarray
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

    Sites that are looking through their data then are waited for longer, each for a round deadline at most;
    with ``federation.below-quorum = wait``, missing ones for ``federation.quorum-wait-s``.

    Raises:
        FederationError: PFS-501 with the names of those that are missing or refused.
    """
    own, start = run.federation, time.monotonic()
    waits = own.below_quorum == "wait"
    last = own.start_deadline_s + (own.quorum_wait_s if waits else 0.0)
    told = False
    while True:
        roster.look()
        present = roster.present()
        busy = roster.preflight.busy(roster.online)  # that has its own deadline
        settled = not busy and (not roster.absent() if roster.expected else not roster.asked)
        now = time.monotonic() - start
        late = not busy and now >= own.start_deadline_s
        if len(present) >= own.minimum_sites and (settled or late):
            roster.preflight.tell()
            return present
        hopeless = bool(roster.expected) and len(roster.expected) - len(roster.hopeless()) < own.minimum_sites
        over = not busy and now >= last
        if over or (hopeless and own.below_quorum == "stop" and not roster.asked and not busy):
            roster.preflight.tell()
            raise too_few(roster, present, run)
        if late and waits and not told:
            told = True
            _below(roster, run, present, None, "wait")
        sleep(POLL_S)


def too_few(
    roster: Roster, present: list[str], run: RunSettings, left_out: Mapping[str, str] | None = None
) -> FederationError:
    """Why a round cannot be closed, with names.

    Args:
        left_out: the reason's code by site, of this round's replies that could not be used.
    """
    refused = roster.refused | dict(left_out or {})
    parts = [f"present: {', '.join(present) or 'none'}"]
    parts += [f"absent: {', '.join(roster.absent())}"] if roster.absent() else []
    parts += [f"refused: {', '.join(f'{s} ({c})' for s, c in sorted(refused.items()))}"] if refused else []
    hints = ["correct what the refused sites' own logs name"] if refused else []
    hints += ["start the missing SuperNodes"] if roster.absent() or not refused else []
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
    """One round until enough have answered; raises PFS-501 when too few did and no more is to be tried."""
    own, start = strategy.run.federation, time.monotonic()
    while True:
        try:
            _attempt(grid, strategy, roster, folder, request, packed, sleep)
            return
        except FederationError as error:
            if error.code != "PFS-501" or own.below_quorum != "retry":
                raise
            if time.monotonic() - start >= own.quorum_wait_s:
                raise
            there = sorted(strategy.admitted) or roster.present()
            _below(roster, strategy.run, there, request.round, "retry")
            pause = time.monotonic() + own.start_deadline_s
            while time.monotonic() < pause:
                sleep(POLL_S)
            roster.ask_all_again()


def _attempt(
    grid: Grid,
    strategy: PFedSAMStrategy,
    roster: Roster,
    folder: RunFolder,
    request: RoundRequest,
    packed: np.ndarray,
    sleep: Callable[[float], None],
) -> None:
    """One round's messages out and replies in; raises PFS-501 when too few pass."""
    run, own = strategy.run, strategy.run.federation
    strategy.begin(request, packed)
    targets = wait_for_sites(roster, run, sleep)
    folder.log(
        "round-start",
        round=request.round,
        kind=request.kind,
        sites=targets,
        absent=roster.absent(),
        refused=sorted(roster.refused),
    )
    current = OpenRound(grid, strategy, roster, folder, set(targets))
    end = time.monotonic() + own.round_deadline_s
    while current.open and (left := end - time.monotonic()) > 0:
        current.step(left)
        if current.all_gone(own.start_deadline_s):
            break
        sleep(POLL_S)
    if len(strategy.admitted) < own.minimum_sites and own.below_quorum == "wait":
        _below(roster, run, sorted(strategy.admitted), request.round, "wait")
        current.wait_on()
        end = time.monotonic() + own.quorum_wait_s
        while len(strategy.admitted) < own.minimum_sites and (left := end - time.monotonic()) > 0:
            current.step(min(left, own.round_deadline_s))
            sleep(POLL_S)
    current.close()
    strategy.settle()
    if len(strategy.admitted) < own.minimum_sites:
        raise too_few(roster, sorted(strategy.admitted), run, strategy.left_out)


def _below(roster: Roster, run: RunSettings, present: list[str], number: int | None, action: str) -> None:
    """Says that there are too few, who is missing, and what is done about it."""
    missing = sorted(set(roster.expected) - set(present))
    text = f"{len(present)} of at least {run.federation.minimum_sites} sites; {action}"
    log(WARNING, "too few sites: %s; missing: %s", text, ", ".join(missing) or "not named")
    seconds = run.federation.quorum_wait_s
    at = {} if number is None else {"round": number}
    roster.folder.log(
        "below-quorum", **at, action=action, present=present, missing=missing, at_most_s=seconds, text=text
    )


def _end(folder: RunFolder, strategy: PFedSAMStrategy, shared: str) -> None:
    assert strategy.request is not None
    folder.log(
        "round-end",
        round=strategy.request.round,
        kind=strategy.request.kind,
        sites=sorted(strategy.admitted),
        missing=sorted(set(strategy.run.federation.sites) - set(strategy.admitted)),
        seconds=round(strategy.seconds(), 3),
        shared=shared,
    )
