"""Who is there: node ids come and go, sites keep their names."""

from collections import Counter
from dataclasses import dataclass, field

from flwr.app import Message
from flwr.serverapp import Grid

from ..contract.messages import HelloReply, HelloRequest
from ..errors import CODES, ContractError
from .history import RunFolder
from .preflight import Preflight
from .records import content, words_of

HELLO_TTL_S = 120.0
LARGEST_HELLOS = 3
"""How often a node whose app fails is asked who it is."""


@dataclass
class Roster:
    """Sites by name and the node at which each answers now.

    Without SuperNode authentication a node gets a new id at each start; so every new id is asked
    who it is, and the newest node that answers to a name has it.

    Attributes:
        preflight: what each site has to pass after it has said who it is.
        nodes: node id by site name, of sites that can take part; shared with the strategy.
        refused: sites that cannot take part, with the reason's code.
        online: node ids that Flower holds to be online.
    """

    grid: Grid
    hello: HelloRequest
    folder: RunFolder
    preflight: Preflight
    expected: tuple[str, ...]
    nodes: dict[str, int]
    refused: dict[str, str] = field(default_factory=dict)
    online: set[int] = field(default_factory=set)
    asked: dict[str, int] = field(default_factory=dict)
    known: set[int] = field(default_factory=set)
    hellos: Counter[int] = field(default_factory=Counter)

    def look(self) -> None:
        """Ask newcomers who they are and take in the answers that have come."""
        self.online = set(self.grid.get_node_ids())
        new = sorted(self.online - self.known)
        if new:
            messages = [
                Message(content(self.hello), dst_node_id=node, message_type="query", ttl=HELLO_TTL_S)
                for node in new
            ]
            for node, message_id in zip(new, self.grid.push_messages(messages), strict=True):
                if message_id:
                    self.asked[message_id] = node
                    self.known.add(node)
        if self.asked:
            for message in self.grid.pull_messages(list(self.asked)):
                asked = message.metadata.reply_to_message_id
                if asked in self.asked:
                    self._take(self.asked.pop(asked), message)
        for site, node, code in self.preflight.look(self.online):
            if code:
                self.refused[site] = code
            else:
                self._join(site, node)

    def present(self) -> list[str]:
        """Names of the sites that can be asked now, sorted."""
        return sorted(site for site, node in self.nodes.items() if node in self.online)

    def absent(self) -> list[str]:
        """Expected sites that are neither present nor refused."""
        return sorted(set(self.expected) - set(self.present()) - set(self.refused))

    def _take(self, node: int, message: Message) -> None:
        if message.has_error():
            self.hellos[node] += 1
            if self.hellos[node] < LARGEST_HELLOS:
                self.known.discard(node)  # ask again: it may have been starting
            else:
                text = f"the node's app failed {LARGEST_HELLOS} times; its own log says why"
                self.folder.log("refused", site=f"node {node}", code="PFS-506", text=text)
            return
        try:
            reply = words_of(message, HelloReply)
        except ContractError as error:
            self.folder.log("refused", site=f"node {node}", code=error.code, text=error.public())
            return
        if self.expected and reply.site not in self.expected:
            text = "PFS-501 the site is not among those named in federation.sites"
            self.folder.log("refused", site=reply.site, code="PFS-501", text=text)
            return
        if reply.refusal is not None or reply.software != self.hello.software:
            code = reply.refusal.code if reply.refusal else "PFS-502"
            text = reply.refusal.text if reply.refusal else f"{code} {CODES[code]}"
            self.refused[reply.site] = code
            self.nodes.pop(reply.site, None)
            self.folder.log("refused", site=reply.site, code=code, text=text)
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
