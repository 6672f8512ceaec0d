"""What a message asks of a site, read once and strictly; every check of the door looks at this reading."""

import re
from dataclasses import dataclass
from typing import Any

from flwr.app import Message

from ..contract.messages import HelloRequest, PreflightRequest, RoundRequest, decode, read_words
from ..errors import ContractError
from .preflight import PREFLIGHT
from .records import body_of

FEDERATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
Request = HelloRequest | PreflightRequest | RoundRequest
KINDS: dict[str, tuple[str, type[Request]]] = {
    "query": ("hello", HelloRequest),
    f"query.{PREFLIGHT}": ("preflight", PreflightRequest),
    "train": ("train", RoundRequest),
}
"""The kind by Flower's message type, of all that a site answers; any other type is refused."""


@dataclass(frozen=True)
class Asked:
    """A message that came.

    Attributes:
        kind: ``hello``, ``preflight``, ``train``, ``close``, or "" for a type that nobody agreed on.
        words: None when they cannot be read.
        fault: why they cannot.
    """

    kind: str
    words: Request | None
    fault: ContractError | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """The run's settings; {} where they cannot be read."""
        return {} if self.words is None else dict(self.words.settings)

    @property
    def federation(self) -> str:
        """The federation's name, or "" where it is none that may be a folder's name."""
        name = self.settings.get("federation.name")
        return name if isinstance(name, str) and FEDERATION.fullmatch(name) else ""


def read(message: Message) -> Asked:
    """What the message asks. Raises nothing: what cannot be read has a ``fault``."""
    said = message.metadata.message_type.removesuffix(".default")
    kind, form = KINDS.get(said, ("", None))
    if form is None:
        text = f"a site answers no message of the type {said[:80]!r}"
        return Asked("", None, ContractError("PFS-404", text))
    try:
        words = decode(form, body_of(message))
    except ContractError as error:
        return Asked(kind, None, error)
    return Asked(words.kind if isinstance(words, RoundRequest) else kind, words)


def words_in(message: Message) -> dict[str, Any]:
    """The words of a message, whatever they are; {} when there are none that can be read in one way only."""
    try:
        return read_words(body_of(message))
    except ContractError:
        return {}


def settings_in(words: dict[str, Any]) -> dict[str, Any]:
    """The run's settings as a request brought them; {} when there are none."""
    flat = words.get("settings")
    return flat if isinstance(flat, dict) else {}
