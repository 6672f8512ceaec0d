"""A federation without a model, processes or a clock: sites come, go, are slow and refuse as a table says.

The coordinator's part is the real one. Its clock is the world's, which moves only when it sleeps; so a test
may wait for a day.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, Error, Message
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode

from pfedsam_flower.contract.checks import euclidean_norm
from pfedsam_flower.contract.messages import (
    HelloReply,
    HelloRequest,
    PreflightReply,
    Record,
    Refusal,
    RoundReply,
    RoundRequest,
)
from pfedsam_flower.contract.schema import Contract, digest
from pfedsam_flower.contract.software import software
from pfedsam_flower.errors import CODES
from pfedsam_flower.federation import one_round, preflight, roster, rounds
from pfedsam_flower.federation.history import RunFolder
from pfedsam_flower.federation.in_process import InProcessGrid
from pfedsam_flower.federation.records import content, packed_of, words_of
from pfedsam_flower.federation.strategy import PFedSAMStrategy
from pfedsam_flower.settings.run import AggregationSettings, FederationSettings, RunSettings
from pfedsam_flower.settings.site import SiteSettings
from pfedsam_flower.settings.sources import to_flat

NAMES = ("harbour", "north", "valley")
CONTRACT = Contract((("weight", (4,)),), "0" * 64, ("organ", "lesion"), 224, "pfedsam")
Span = tuple[float, float]


@dataclass
class Fate:
    """What becomes of a site, in seconds of the world.

    Attributes:
        away: spans in which its SuperNode is not there; what it works on then is lost.
        delays: seconds for the first answer to a round, by round; 1 otherwise, as for an answer that is kept.
        refuses: code by kind of message (``hello``, ``train``) with the span in which it refuses so.
        says: the name by which it calls itself; empty: its own.
        joins: what it does to its hello before it sends it: fields by name.
        sends: what it does to a training reply before it is sent: (words, delta) to the same.
        adds: records that it puts beside its replies, by name.
    """

    away: tuple[Span, ...] = ()
    delays: dict[int, float] = field(default_factory=dict)
    refuses: tuple[tuple[str, str, Span], ...] = ()
    says: str = ""
    joins: dict[str, Any] = field(default_factory=dict)
    sends: Callable[[dict[str, Any], np.ndarray], tuple[dict[str, Any], np.ndarray]] | None = None
    adds: dict[str, Any] = field(default_factory=dict)

    def spans(self) -> list[Span]:
        """All spans in which it is not as usual."""
        return [*self.away, *(span for _, _, span in self.refuses)]


class World(InProcessGrid):
    """The grid of these sites. Node ids are 100, 101, … in the order of ``fates`` and stay.

    Attributes:
        now: the world's time, seconds.
        asked: messages that were sent, by (site, kind, round).
        hasty: whether a sleep may last until something happens, 20 s at most: quicker than 0.3 s at a time.
    """

    def __init__(self, fates: dict[str, Fate], *, hasty: bool = False) -> None:
        self.now, self.fates, self.hasty = 0.0, fates, hasty
        self.turns = sorted({t for fate in fates.values() for span in fate.spans() for t in span})
        self.asked: Counter[tuple[str, str, int]] = Counter()
        self.due: dict[str, tuple[str, float, Message]] = {}
        sites = [SiteSettings(site=name, data=".", state=".") for name in fates]
        super().__init__(self._app(), sites)

    def monotonic(self) -> float:
        """The coordinator's clock."""
        return self.now

    def sleep(self, seconds: float) -> None:
        if self.hasty:
            turns = [t for t in (*self.turns, *(due for _, due, _ in self.due.values())) if t > self.now]
            seconds = max(seconds, min([20.0, *(t - self.now for t in turns)]))
        self.now += seconds

    def get_node_ids(self) -> Iterable[int]:
        return [node for node, name in self.names.items() if self._here(name, self.now)]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        messages = list(messages)
        ids = list(super().push_messages(messages))
        for message_id, message in zip(ids, messages, strict=True):
            name = self.names[message.metadata.dst_node_id]
            words = json.loads(message.content.config_records["words"]["json"])  # type: ignore[arg-type]
            number = int(words.get("round", 0))
            key = (name, words.get("kind", message.metadata.message_type), number)
            took = 1.0 if self.asked[key] else self.fates[name].delays.get(number, 1.0)
            self.asked[key] += 1
            self.due[message_id] = (name, self.now + took, self.waiting[message_id])
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Answers that are due; a site that went away meanwhile never answers, and the SuperLink says so."""
        replies: list[Message] = []
        for message_id in list(message_ids):
            name, due, message = self.due.get(message_id, ("", np.inf, None))
            if message is not None and not self._here(name, self.now):
                del self.due[message_id]
                replies.append(self._unavailable(message))
            elif self.now >= due:
                del self.due[message_id]
                replies += super().pull_messages([message_id])
        return replies

    def _unavailable(self, message: Message) -> Message:
        self.waiting.pop(message.metadata.message_id)
        return Message(Error(ErrorCode.NODE_UNAVAILABLE, "node unavailable"), reply_to=message)

    def _added(self, name: str, message: Message) -> Message:
        for key, record in self.fates[name].adds.items():
            message.content[key] = record
        return message

    def _here(self, name: str, when: float) -> bool:
        return not any(start <= when < end for start, end in self.fates[name].away)

    def _refusal(self, name: str, kind: str) -> Refusal | None:
        for what, code, (start, end) in self.fates[name].refuses:
            if what == kind and start <= self.now < end:
                return Refusal(code=code, text=f"{code} {CODES[code]}")
        return None

    def _app(self) -> ClientApp:
        app = ClientApp()

        def name_of(context: Context) -> str:
            return str(context.node_config["site"])

        @app.query()
        def hello(message: Message, context: Context) -> Message:
            name = name_of(context)
            counts = {f"n_{part}_patients": 3 for part in ("train", "validation", "test")}
            says = self.fates[name].says or name
            said = {"refusal": self._refusal(name, "hello"), **counts, **self.fates[name].joins}
            reply = HelloReply(site=says, software=software(), **said)
            return Message(content(reply), reply_to=message)

        @app.query("preflight")
        def preflight(message: Message, context: Context) -> Message:
            name = name_of(context)
            return Message(content(PreflightReply(site=self.fates[name].says or name)), reply_to=message)

        @app.train()
        def work(message: Message, context: Context) -> Message:
            name, request = name_of(context), words_of(message, RoundRequest)
            broadcast = packed_of(message)
            assert broadcast is not None
            refusal = self._refusal(name, "train")
            delta = site_delta(name, request.round)
            same: dict[str, Any] = {"kind": request.kind, "site": name, "round": request.round}
            same |= {"contract": request.contract, "broadcast": digest(broadcast), "refusal": refusal}
            reply: Record = RoundReply(**same)
            if request.kind == "train" and refusal is None:
                said: dict[str, Any] = {"n_train_patients": 3, "n_train_samples": 9}
                change = self.fates[name].sends
                said, delta = change(said, delta) if change else (said, delta)
                numbers = {"delta": digest(delta), "delta_norm": euclidean_norm(delta)}
                reply = RoundReply(**(same | numbers | said))
                return self._added(name, Message(content(reply, delta), reply_to=message))
            return self._added(name, Message(content(reply), reply_to=message))

        return app


def site_delta(name: str, number: int) -> np.ndarray:
    """What a site learns in a round: the same whenever it is asked."""
    return np.array([len(name), number, ord(name[0]), 1], np.float32)


def play(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    world: World,
    *,
    n_rounds: int = 2,
    names: Any = None,
    aggregation: AggregationSettings | None = None,
    **federation: Any,
) -> np.ndarray:
    """A run of the real coordinator in the world, new or resumed; history and rounds are in ``folder``."""
    for module in (rounds, one_round, roster, preflight):
        monkeypatch.setattr(module, "time", world)
    limits = {"minimum_sites": 3, "start_deadline_s": 100.0, "round_deadline_s": 600.0, "sites": NAMES}
    run = RunSettings(
        rounds=n_rounds,
        federation=FederationSettings(**(limits | federation)),
        aggregation=aggregation or AggregationSettings(),
    )
    folder.mkdir(parents=True, exist_ok=True)
    kept = RunFolder(folder)
    last, packed = kept.open(run, CONTRACT) or (0, np.zeros(4, np.float32))
    strategy = PFedSAMStrategy(run, CONTRACT, kept)
    hello = HelloRequest(software=software(), settings=dict(to_flat(run)))
    who = roster.Roster(
        world, hello, kept, preflight.Preflight(world, kept, run), run.federation.sites, strategy.nodes, names
    )
    return rounds.run_rounds(world, strategy, who, kept, last + 1, packed, world.sleep)


def told(folder: Path, kind: str) -> list[dict[str, Any]]:
    """The events of one kind."""
    lines = (folder / "history.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == kind]
