"""The network between coordinator and sites: what is sent comes late, twice, in another order, or never."""

import heapq
import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flwr.app import Error, Message
from flwr.common.constant import ErrorCode

from pfedsam_flower.federation.client import build_client_app
from pfedsam_flower.federation.in_process import InProcessGrid
from pfedsam_flower.settings.site import SiteSettings
from pfedsam_flower.site.consent import stop_files

from .disk import Disk, Killed
from .fate import LONGEST_S, Schedule, within

COORDINATOR = "coordinator"


@dataclass
class Request:
    """A message on its way. ``kind``: hello, preflight, train, close; ``expires``: seconds of the world."""

    message: Message
    site: str
    kind: str
    number: int
    expires: float


class Network(InProcessGrid):
    """A Grid whose clock moves only when the coordinator sleeps. A site answers when a request reaches it.

    Attributes:
        now: the world's time, seconds.
        left: how many replies have left each site, errors apart.
        handed: first answers that the coordinator got, errors apart, by (site, kind, round).
        got: message ids of these.
        events, trace: what the coordinator wrote down, by kind; and when, one line each.
    """

    def __init__(
        self,
        plan: Schedule,
        sites: list[SiteSettings],
        disk: Disk,
        draw: random.Random,
        injected: Counter[str],
    ) -> None:
        super().__init__(build_client_app(), sites, keep=False)
        self.plan, self.disk, self.draw, self.injected = plan, disk, draw, injected
        self.settings = {site.site: site for site in sites}
        self.nodes = {site: node for node, site in self.names.items()}
        self.now, self.turns = 0.0, plan.turns()
        self.due: list[tuple[float, int, str, Message | None]] = []
        self.requests: dict[str, Request] = {}
        self.arrived: dict[str, list[Message]] = {}
        self.free_at = dict.fromkeys(self.settings, 0.0)
        self.newest: dict[str, tuple[int, Message]] = {}
        self.old: list[Message] = []
        self.left: Counter[str] = Counter()
        self.handed: Counter[tuple[str, str, int]] = Counter()
        self.got: set[str] = set()
        self.events: Counter[str] = Counter()
        self.trace: list[str] = []
        self._serial = 0

    def monotonic(self) -> float:
        """The coordinator's clock."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Until something happens, 20 s at most: quicker than 0.3 s at a time."""
        self.disk.tick()
        soon = [t for t in self.turns if t > self.now][:1] + [t for t, *_ in self.due[:1] if t > self.now]
        self.pass_time(max(seconds, min([20.0, *(t - self.now for t in soon)])))

    def pass_time(self, seconds: float) -> None:
        """The sites and the network go on for so long."""
        end = self.now + seconds
        while self.due and self.due[0][0] <= end:
            self.now, _, message_id, reply = heapq.heappop(self.due)
            if reply is None:
                self._deliver(message_id)
            else:
                self.arrived.setdefault(message_id, []).append(reply)
        self.now = end

    def note(self, event: str, fields: Mapping[str, object]) -> None:
        """One line of the trace, without what depends on the real clock."""
        action = f" {fields['action']}" if "action" in fields else ""
        self.events[event + action] += 1
        shown = {key: value for key, value in fields.items() if key in ("round", "site", "sites", "code")}
        self.trace.append(f"{self.now:.3f} {event}{action} {json.dumps(shown)}")

    def forget(self) -> None:
        """The coordinator starts anew: it does not know what it asked before; the sites may still get it."""
        self.arrived.clear()
        if self.draw.random() < 0.5:
            self.due = [one for one in self.due if one[3] is not None]
            heapq.heapify(self.due)

    def get_node_ids(self) -> Iterable[int]:
        self.disk.tick()
        return [node for node, name in self.names.items() if self._here(name)]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        self.disk.tick()
        ids = []
        for message in messages:
            site = self.names[message.metadata.dst_node_id]
            copy = self._over_the_wire(message, site, "down")
            words = json.loads(copy.content.config_records["words"]["json"])  # type: ignore[arg-type]
            kind = str(words.get("kind", "hello"))
            message_id = copy.metadata.message_id
            ids.append(message_id)
            expires = self.now + copy.metadata.ttl
            self.requests[message_id] = Request(copy, site, kind, int(words.get("round", 0)), expires)
            if not self._weather("request lost"):
                self._later(message_id, 200.0 if self._weather("request late") else 0.2)
                if self._weather("request twice"):
                    self._later(message_id, 900.0)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        self.disk.tick()
        found: list[Message] = []
        for message_id in message_ids:
            request = self.requests[message_id]
            expired = self.plan.strict and self.now >= request.expires
            if not expired and self.arrived.get(message_id):
                found.append(self.arrived[message_id].pop(0))
                if not found[-1].has_error() and message_id not in self.got:
                    self.got.add(message_id)
                    self.handed[request.site, request.kind, request.number] += 1
            elif expired or not self._here(request.site):
                found.append(Message(Error(ErrorCode.NODE_UNAVAILABLE, ""), reply_to=request.message))
        if self.old and self._weather("reply not asked for"):
            found.append(self.draw.choice(self.old))
        self.old = [*self.old, *found][-6:]
        if len(found) > 1 and self._weather("replies in another order"):
            self.draw.shuffle(found)
        return found

    def _over_the_wire(self, message: Message, site: str, direction: str) -> Message:
        """Under a number of its own; not taken apart: hashing each part is most of a run's time."""
        self._serial += 1
        message.metadata.__dict__["_message_id"] = f"message {self._serial}"
        return message

    def _deliver(self, message_id: str) -> None:
        request = self.requests[message_id]
        site, fate = request.site, self.plan.sites[request.site]
        if self.plan.strict and self.now >= request.expires:
            return
        if not self._here(site) or self.now < self.free_at[site]:
            back = [end for start, end in fate.away if start <= self.now < end]
            self._at(max([self.free_at[site], self.now + 0.1, *back]), message_id, None)
            return
        took = fate.works.pop(request.number, 1.0) if request.number else 0.3
        self.free_at[site] = self.now + took
        interrupted = any(self.now < start < self.now + took for start, _ in fate.away)
        if interrupted and self.draw.random() < 0.5:
            self.injected["site gone before the work was done"] += 1
            return
        reply = self._work(request)
        if reply is None:
            return
        if interrupted:
            self.injected["site gone before the reply was sent"] += 1
        elif not self._weather("reply lost"):
            self.left[site] += not reply.has_error()
            wait = took + (self.draw.uniform(100, 900) if self._weather("reply late") else 0.1)
            spoilt = self._spoilt(request, reply)
            self._at(self.now + wait, message_id, spoilt)
            if self._weather("reply twice"):
                self._at(self.now + wait + self.draw.choice([0.0, 1.0, 300.0]), message_id, spoilt)

    def _work(self, request: Request) -> Message | None:
        """The real site answers; None when it was killed over it."""
        fate, settings = self.plan.sites[request.site], self.settings[request.site]
        sign = stop_files(settings)[0]
        if within(fate.paused, self.now):
            sign.parent.mkdir(parents=True, exist_ok=True)
            sign.touch()
            self.injected["site paused"] += 1
        else:
            sign.unlink(missing_ok=True)
        self.disk.actor = request.site
        try:
            answer = self._answer(request.message, self.nodes[request.site])
            return self._over_the_wire(answer, request.site, "up")
        except Killed:
            self.disk.start_again()
            back = self.now + self.draw.choice([5.0, 60.0, 400.0])
            fate.away.append((self.now, back))
            self.turns = sorted({*self.turns, back})
            return None
        finally:
            self.disk.actor = COORDINATOR

    def _spoilt(self, request: Request, reply: Message) -> Message:
        """The reply, or one that was another's answer, or to another round's question."""
        if reply.has_error() or request.kind not in ("train", "close"):
            return reply
        others = [message for site, (_, message) in sorted(self.newest.items()) if site != request.site]
        number, before = self.newest.get(request.site, (request.number, reply))
        self.newest[request.site] = request.number, reply
        if number < request.number and self._weather("reply of an earlier round"):
            return Message(before.content, reply_to=request.message)
        if others and self._weather("reply of another site"):
            return Message(self.draw.choice(others).content, reply_to=request.message)
        return reply

    def _here(self, site: str) -> bool:
        return not within(self.plan.sites[site].away, self.now)

    def _weather(self, what: str) -> bool:
        if self.now >= LONGEST_S or self.draw.random() >= self.plan.weather[what]:
            return False
        self.injected[what] += 1
        return True

    def _later(self, message_id: str, mean_s: float) -> None:
        self._at(self.now + self.draw.expovariate(1 / mean_s), message_id, None)

    def _at(self, when: float, message_id: str, reply: Message | None) -> None:
        self._serial += 1
        heapq.heappush(self.due, (when, self._serial, message_id, reply))
