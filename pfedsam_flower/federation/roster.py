"""Who is there: node ids come and go, sites keep their names."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from logging import WARNING

from flwr.app import Message
from flwr.common.logger import log
from flwr.serverapp import Grid

from ..contract.messages import HelloReply, HelloRequest
from ..contract.text import one_line
from ..errors import CODES, ContractError
from .history import RunFolder
from .preflight import Preflight
from .records import content, surplus, words_of

HELLO_TTL_S = 120.0
LARGEST_HELLOS = 3
"""How often a node whose app fails is asked who it is."""
ASK_AGAIN_S = 60.0
"""After how long a site is asked again that does not want to now: it may be waiting for an approval."""


def may_change(code: str) -> bool:
    """Whether a refusal is the site's own will, which may be another one in an hour."""
    return code.startswith("PFS-7")


@dataclass
class Roster:
    """Sites by name and the node at which each answers now.

    Without SuperNode authentication a node gets a new id at each start; so every new id is asked
    who it is, and the newest node that answers to a name has it. With authentication ids stay, and
    ``names`` says which site each one is.

    Attributes:
        preflight: what each site has to pass after it has said who it is.
        nodes: node id by site name, of sites that can take part; shared with the strategy.
        names: site by node id, as enrolled; None: sites are called what they call themselves.
        refused: sites that cannot take part, with the reason's code.
        online: node ids that Flower holds to be online.
        late: site, round and when it was asked, by message id, of answers that their round did not wait for.
        again: when a node that did not want to is asked again.
    """

    grid: Grid
    hello: HelloRequest
    folder: RunFolder
    preflight: Preflight
    expected: tuple[str, ...]
    nodes: dict[str, int]
    names: Callable[[], Mapping[int, str]] | None = None
    refused: dict[str, str] = field(default_factory=dict)
    online: set[int] = field(default_factory=set)
    asked: dict[str, int] = field(default_factory=dict)
    known: set[int] = field(default_factory=set)
    hellos: Counter[int] = field(default_factory=Counter)
    named: dict[int, str] = field(default_factory=dict)
    strangers: set[int] = field(default_factory=set)
    late: dict[str, tuple[str, int, float]] = field(default_factory=dict)
    again: dict[int, float] = field(default_factory=dict)

    def look(self) -> None:
        """Ask newcomers who they are and take in the answers that have come.

        Raises:
            StoreError: PFS-603 when the register of enrolled sites has been damaged or removed.
        """
        self.online = set(self.grid.get_node_ids())
        self._forget()
        new = self._enrolled(sorted(self.online - self.known))
        if new:
            messages = [
                Message(content(self.hello), dst_node_id=node, message_type="query", ttl=HELLO_TTL_S)
                for node in new
            ]
            for node, message_id in zip(new, self.grid.push_messages(messages), strict=True):
                if message_id:
                    self.asked[message_id] = node
                    self.known.add(node)
        if self.asked or self.late:
            for message in self.grid.pull_messages([*self.asked, *self.late]):
                asked = message.metadata.reply_to_message_id
                if asked in self.asked:
                    self._take(self.asked.pop(asked), message)
                elif asked in self.late:
                    self._too_late(*self.late.pop(asked), message)
        for site, node, code in self.preflight.look(self.online):
            if code:
                self.refused[site] = code
                self._later(node, code)
            else:
                self._join(site, node)

    def present(self) -> list[str]:
        """Names of the sites that can be asked now, sorted."""
        return sorted(site for site, node in self.nodes.items() if node in self.online)

    def absent(self) -> list[str]:
        """Expected sites that are neither present nor refused."""
        return sorted(set(self.expected) - set(self.present()) - set(self.refused))

    def hopeless(self) -> set[str]:
        """Expected sites that were refused for a reason that does not pass by itself."""
        return {s for s in self.expected if s in self.refused and not may_change(self.refused[s])}

    def ask_all_again(self) -> None:
        """Nobody is refused any more: whoever was, is asked at the next look."""
        self.refused.clear()
        self.hellos.clear()
        self.known &= set(self.nodes.values()) | self._in_hand()

    def _forget(self) -> None:
        """A node without a site that went away is a new one when it is back, whatever its id."""
        held = set(self.nodes.values()) | self._in_hand() | self.online
        for node in self.known - held:
            self.known.discard(node)
            self.hellos.pop(node, None)
        self.strangers &= self.online
        due = {node for node, when in self.again.items() if time.monotonic() >= when}
        for node in due:
            del self.again[node]
            self.known.discard(node)

    def _in_hand(self) -> set[int]:
        """Nodes that have been asked something here and have not answered."""
        return set(self.asked.values()) | set(self.preflight.waiting.values())

    def _enrolled(self, new: list[int]) -> list[int]:
        """Those of the new nodes that may be asked; the others get nothing."""
        if self.names is None or not new:
            return new
        names = self.names()
        for node in sorted(set(new) - set(names) - self.strangers):
            self._log_refusal(f"node {node}", "PFS-509", f"{CODES['PFS-509']}: not enrolled, or revoked")
            self.strangers.add(node)
        self.named |= {node: names[node] for node in new if node in names}
        return [node for node in new if node in names]

    def _take(self, node: int, message: Message) -> None:
        if message.has_error():
            self.hellos[node] += 1
            if self.hellos[node] < LARGEST_HELLOS:
                self.known.discard(node)  # ask again: it may have been starting
            else:
                text = f"the node's app failed {LARGEST_HELLOS} times; its own log says why"
                self._log_refusal(self.named.get(node, f"node {node}"), "PFS-506", text)
            return
        self.folder.log_surplus(self.named.get(node, f"node {node}"), surplus(message, packed=False))
        try:
            reply = words_of(message, HelloReply)
        except ContractError as error:
            self._log_refusal(self.named.get(node, f"node {node}"), error.code, error.public())
            return
        name = self.named.get(node, reply.site)
        if reply.site != name:
            code = "PFS-509"
            self._refuse(name, code, f"{CODES[code]}: enrolled as {name}, it says that it is {reply.site}")
            return
        if self.expected and reply.site not in self.expected:
            text = "PFS-501 the site is not among those named in federation.sites"
            self._log_refusal(reply.site, "PFS-501", text)
            return
        if reply.refusal is not None or reply.software != self.hello.software:
            code = reply.refusal.code if reply.refusal else "PFS-502"
            said = one_line(reply.refusal.text) if reply.refusal else f"{code} {CODES[code]}"
            self._refuse(reply.site, code, said)
            self._later(node, code)
            return
        before, _ = self.folder.said.counted.get(reply.site, (reply.n_train_patients, 0))
        if reply.n_train_patients != before:
            code, now = "PFS-408", reply.n_train_patients
            self._refuse(reply.site, code, f"{code} {CODES[code]}: {now} training patients, {before} before")
            return
        self.folder.log(
            "site",
            site=reply.site,
            n_train_patients=reply.n_train_patients,
            n_validation_patients=reply.n_validation_patients,
            n_test_patients=reply.n_test_patients,
        )
        if reply.site in self.preflight.passed:
            self._join(reply.site, node)
        else:
            self.preflight.expect(reply.site, node)

    def _join(self, site: str, node: int) -> None:
        self.refused.pop(site, None)
        self.nodes[site] = node

    def _refuse(self, site: str, code: str, text: str) -> None:
        """The site takes part no more; said once for as long as the reason is the same."""
        self.nodes.pop(site, None)
        if self.refused.get(site) != code:
            self.refused[site] = code
            self._log_refusal(site, code, text)

    def _log_refusal(self, site: str, code: str, text: str) -> None:
        log(WARNING, "%s cannot take part: %s", site, text)
        self.folder.log("refused", site=site, code=code, text=text)

    def _later(self, node: int, code: str) -> None:
        if may_change(code):
            self.again[node] = time.monotonic() + ASK_AGAIN_S

    def _too_late(self, site: str, number: int, asked: float, message: Message) -> None:
        if not message.has_error():  # an error is no answer: it expired
            self.folder.log("late", round=number, site=site, seconds=round(time.monotonic() - asked, 3))
