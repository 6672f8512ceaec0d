"""What tests of a site's door share: requests, and a grid with one site that answers them."""

from typing import Any

import numpy as np
from flwr.app import ConfigRecord, Message

from pfedsam_flower.contract.messages import (
    HelloReply,
    HelloRequest,
    PreflightRequest,
    Record,
    RoundRequest,
)
from pfedsam_flower.contract.schema import digest
from pfedsam_flower.contract.software import software
from pfedsam_flower.federation.client import build_client_app
from pfedsam_flower.federation.in_process import InProcessGrid
from pfedsam_flower.federation.records import content, words_of
from pfedsam_flower.settings.site import SiteSettings

PACKED = np.zeros(250_000, np.float32)


def hello(flat: dict[str, Any]) -> HelloRequest:
    settings = {k: v for k, v in flat.items() if not k.startswith("coordinator.")}
    return HelloRequest(software=software(), settings=settings)


def train(flat: dict[str, Any], number: int = 1) -> RoundRequest:
    return RoundRequest(
        kind="train",
        round=number,
        contract="c" * 64,
        settings=hello(flat).settings,
        deadline_s=60,
        broadcast=digest(PACKED),
    )


def ask(grid: InProcessGrid, words: Record, packed: np.ndarray | None = None) -> Message:
    kinds = {HelloRequest: "query", PreflightRequest: "query.preflight", RoundRequest: "train"}
    message = Message(content(words, packed), dst_node_id=100, message_type=kinds[type(words)])
    (reply,) = grid.pull_messages(grid.push_messages([message]))
    return reply


def grid_of(site: SiteSettings, app: Any = None) -> InProcessGrid:
    return InProcessGrid(app or build_client_app(), [site])


def refusal_of(message: Message, kind: Any = HelloReply) -> str:
    reply = words_of(message, kind)
    return reply.refusal.code if reply.refusal else ""


def raw(grid: InProcessGrid, kind: str, body: Any, packed: np.ndarray | None = None) -> Message:
    """The answer to a message whose words are these bytes."""
    filled = content(hello({}), packed)
    filled.config_records["words"] = ConfigRecord({"json": body} if body is not None else {"other": 1})
    (reply,) = grid.pull_messages(grid.push_messages([Message(filled, dst_node_id=100, message_type=kind)]))
    return reply
