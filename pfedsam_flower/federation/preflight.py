"""Before round 1: every site looks through its own data and says what it is like, in counts and ranges."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from logging import INFO

from flwr.app import Message
from flwr.common.logger import log
from flwr.serverapp import Grid

from ..contract.messages import PreflightReply, PreflightRequest
from ..errors import CODES, ContractError
from ..reports.preflight import as_text
from ..settings.run import RunSettings
from ..settings.sources import to_flat
from .history import RunFolder
from .records import content, surplus, words_of

PREFLIGHT = "preflight"
"""The action of Flower's ``query`` messages that asks for it."""
LARGEST_TRIES = 3
"""How often a site whose process ended is asked again."""


@dataclass
class Preflight:
    """Which sites have been asked, and what they answered.

    A site is asked when it joins, at the start or later, and takes part once its answer has no errors.

    Attributes:
        passed: sites that need not be asked (again).
        waiting: node by site, of those that have joined and not answered yet.
        asked: (site, node, when) by message id; answers to any other message are not looked at.
        answers: what the sites said, refused ones too, by site.
    """

    grid: Grid
    folder: RunFolder
    run: RunSettings
    passed: set[str] = field(default_factory=set)
    waiting: dict[str, int] = field(default_factory=dict)
    asked: dict[str, tuple[str, int, float]] = field(default_factory=dict)
    answers: dict[str, dict[str, object]] = field(default_factory=dict)
    tries: Counter[str] = field(default_factory=Counter)
    untold: bool = False

    def expect(self, site: str, node: int) -> None:
        """The site has joined at this node and is to be asked; an answer from an older node is forgotten."""
        self.waiting[site], self.tries[site] = node, 0
        self.asked = {i: one for i, one in self.asked.items() if one[0] != site}

    def busy(self, online: set[int]) -> bool:
        """Whether a site that is there is still looking through its data."""
        return any(node in online for _, node, _ in self.asked.values())

    def look(self, online: set[int]) -> Iterator[tuple[str, int, str]]:
        """Ask those that wait and take in answers; yields site, node and code of a refusal or "" of each."""
        limit = self.run.federation.round_deadline_s
        now = time.monotonic()
        for message_id, (site, node, since) in list(self.asked.items()):
            if node not in online:  # it is asked again when it is back
                del self.asked[message_id]
            elif now - since > limit:
                del self.asked[message_id]
                yield self._refuse(site, "PFS-506", f"no answer to the preflight within {limit:g} s")
        pending = {site for site, _, _ in self.asked.values()}
        for site, node in sorted(self.waiting.items()):
            if node in online and site not in pending:
                self._ask(site, node)
        for message in self.grid.pull_messages(list(self.asked)) if self.asked else []:
            known = self.asked.pop(message.metadata.reply_to_message_id, None)
            if known is not None and (done := self._take(known[0], message)):
                yield done

    def tell(self) -> None:
        """Print the table site × facts, when there is something new in it."""
        if self.untold:
            self.untold = False
            log(INFO, "what the sites say of their data:\n%s", as_text(self.answers, self.run.classes))

    def _ask(self, site: str, node: int) -> None:
        limit = self.run.federation.round_deadline_s
        request = PreflightRequest(settings=dict(to_flat(self.run)), deadline_s=limit)
        message = Message(content(request), dst_node_id=node, message_type=f"query.{PREFLIGHT}", ttl=limit)
        (message_id,) = self.grid.push_messages([message])
        if message_id:
            self.asked[message_id] = (site, node, time.monotonic())

    def _take(self, site: str, message: Message) -> tuple[str, int, str] | None:
        if message.has_error():
            self.tries[site] += 1
            if self.tries[site] < LARGEST_TRIES:
                return None  # still waiting, so it is asked again
            text = f"its app failed {LARGEST_TRIES} times in the preflight; its own log says why"
            return self._refuse(site, "PFS-506", text)
        self.folder.log_surplus(site, surplus(message, packed=False))
        try:
            reply = words_of(message, PreflightReply)
            if reply.site != site:
                raise ContractError("PFS-406", f"the reply speaks for {reply.site}")
            if reply.classes and len(reply.classes) != len(self.run.classes):
                raise ContractError("PFS-404", "the reply speaks of other classes")
        except ContractError as error:
            return self._refuse(site, error.code, error.public())
        self.answers[site] = reply.model_dump(mode="json", exclude={"kind", "site"}, exclude_none=True)
        self.untold = True
        self.folder.log("preflight", site=site, facts=self.answers[site])
        if reply.refused is not None:
            counts = ", ".join(f"{code} {n}" for code, n in reply.errors.items())
            text = f"{reply.refused} {CODES[reply.refused]}" + (f" (findings: {counts})" if counts else "")
            return self._refuse(site, reply.refused, text)
        self.passed.add(site)
        return site, self.waiting.pop(site), ""

    def _refuse(self, site: str, code: str, text: str) -> tuple[str, int, str]:
        self.folder.log("refused", site=site, code=code, text=text)
        return site, self.waiting.pop(site), code
