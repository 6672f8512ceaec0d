"""One round's messages out and answers in: who was asked, who answered, who is asked again."""

import re
import time
from collections import Counter
from dataclasses import dataclass, field

from flwr.app import Message
from flwr.serverapp import Grid

from .history import RunFolder
from .roster import ASK_AGAIN_S, Roster, may_change
from .strategy import PFedSAMStrategy

LARGEST_TRIES = 3
"""How often a site whose process ended is asked the same again within a round."""


@dataclass
class OpenRound:
    """A round that has begun and waits for answers.

    Attributes:
        asked: sites that take part in this round, or were to.
        open: those of them whose answer is waited for.
        pending: site, node and time of asking by message id.
        patient: below quorum, waiting: whoever may still answer is asked again, once a minute.
        rests: until when a site is left alone.
    """

    grid: Grid
    strategy: PFedSAMStrategy
    roster: Roster
    folder: RunFolder
    asked: set[str]
    open: set[str] = field(init=False)
    pending: dict[str, tuple[str, int, float]] = field(default_factory=dict)
    tries: Counter[str] = field(default_factory=Counter)
    missed_since: dict[str, float] = field(default_factory=dict)
    rests: dict[str, float] = field(default_factory=dict)
    patient: bool = False

    def __post_init__(self) -> None:
        self.open = set(self.asked)

    @property
    def number(self) -> int:
        assert self.strategy.request is not None
        return self.strategy.request.round

    def step(self, left_s: float) -> None:
        """Look who is there, ask those who have not been asked, take in the answers that have come.

        Args:
            left_s: seconds after which an answer is of no use.
        """
        self.roster.look()
        # a late comer that was expected still takes part in this round
        new = set(self.roster.present()) - self.asked
        self.asked |= new
        self.open |= new
        busy = {site: node for site, node, _ in self.pending.values()}
        now = time.monotonic()
        for site in sorted(self.open):
            node = self.roster.nodes.get(site)
            if node is None or node not in self.roster.online:
                self.missed_since.setdefault(site, now)
            elif busy.get(site) != node and self.rests.get(site, 0.0) <= now:
                self._ask(site, node, left_s)
        for message in self.grid.pull_messages(list(self.pending)) if self.pending else []:
            self._take(message)

    def all_gone(self, longer_than_s: float) -> bool:
        """Whether all that are waited for have been away for so long."""
        now = time.monotonic()
        gone = {s for s in self.open if now - self.missed_since.get(s, now) > longer_than_s}
        return bool(gone) and gone == self.open

    def wait_on(self) -> None:
        """Be patient: every site that has not answered, and may, is waited for again."""
        self.patient = True
        self.tries.clear()
        left_out = self.strategy.left_out
        self.open |= {s for s in self.asked if s not in left_out or may_change(left_out[s])}
        self.open -= set(self.strategy.admitted)

    def close(self) -> None:
        """Name those who did not answer; an answer that comes later is recognised, and named too."""
        for site in sorted(self.open):
            self._lost(site, "no usable answer before the deadline")
        self.roster.late |= {
            message_id: (site, self.number, asked) for message_id, (site, _, asked) in self.pending.items()
        }

    def _ask(self, site: str, node: int, left_s: float) -> None:
        self.tries[site] += 1
        if self.tries[site] > LARGEST_TRIES and not self.patient:
            self.open.discard(site)
            self._lost(site, f"asked {LARGEST_TRIES} times")
            return
        self.missed_since.pop(site, None)
        (message_id,) = self.grid.push_messages([self.strategy.instruction(site, max(left_s, 1.0))])
        if message_id:
            self.pending = {m: p for m, p in self.pending.items() if p[0] != site}
            self.pending[message_id] = (site, node, time.monotonic())

    def _take(self, message: Message) -> None:
        """One answer: admitted, left out, or a loss after which the site is asked again."""
        known = self.pending.pop(message.metadata.reply_to_message_id, None)
        if known is None:
            return
        site = known[0]
        if self.patient:
            self.rests[site] = time.monotonic() + ASK_AGAIN_S
        if message.has_error():
            said = public_part(message.error.reason)
            self._lost(site, f"Flower's error {message.error.code}" + (f": {said}" if said else ""))
            self.missed_since.setdefault(site, time.monotonic())
            return
        admitted = self.strategy.admit(site, message)
        if admitted or not self.patient or not may_change(self.strategy.left_out.get(site, "")):
            self.open.discard(site)

    def _lost(self, site: str, reason: str) -> None:
        self.folder.log("lost", round=self.number, site=site, reason=reason)


def public_part(reason: str | None) -> str:
    """Code, title and counts in Flower's text of an error, as a site has it that could not even refuse."""
    found = re.search(r"PFS-\d{3} [\w ,.()-]{1,100}", reason or "")
    return found[0] if found else ""
