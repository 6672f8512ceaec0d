"""Typed messages ⇄ Flower records. The words travel as JSON in one field, the tensors as one packed array."""

from typing import TypeVar

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects

from ..contract.checks import SHARED
from ..contract.messages import Record, decode, encode
from ..errors import ContractError

RecordT = TypeVar("RecordT", bound=Record)


def content(words: Record, packed: np.ndarray | None = None) -> RecordDict:
    """A message's content: ``words`` and, where there is one, the packed array named ``shared``.

    This is the only place that fills a Flower record with numbers of a model.
    """
    records: dict[str, ArrayRecord | MetricRecord | ConfigRecord] = {
        "words": ConfigRecord({"json": encode(words)})
    }
    if packed is not None:
        records["arrays"] = ArrayRecord({SHARED: Array(packed)})
    return RecordDict(records)


def body_of(message: Message) -> bytes:
    """The bytes of a message's words, unread.

    Raises:
        ContractError: PFS-404 when it has none.
    """
    record = message.content.config_records.get("words") if message.has_content() else None
    body = record.get("json") if record is not None else None
    if not isinstance(body, bytes):
        raise ContractError("PFS-404", "a message came without words")
    return body


def words_of(message: Message, kind: type[RecordT]) -> RecordT:
    """The typed words of a message.

    Raises:
        ContractError: PFS-404 when they are missing or of another form.
    """
    return decode(kind, body_of(message))


def array_names(message: Message) -> list[str]:
    """Names of all arrays in a message, whatever record they are in."""
    return [name for record in message.content.array_records.values() for name in record]


def packed_of(message: Message) -> np.ndarray | None:
    """The packed array of a message; arrays of any other name are not looked at. None when there is none.

    Raises:
        ContractError: PFS-404 when it cannot be read as an array.
    """
    record = message.content.array_records.get("arrays")
    if record is None or SHARED not in record:
        return None
    try:
        found = record[SHARED].numpy()
    except Exception as error:  # whatever bytes from outside make a reader raise
        raise ContractError("PFS-404", f"the array {SHARED} cannot be read: {error!r}") from error
    if not isinstance(found, np.ndarray):  # NumPy reads archives, too
        raise ContractError("PFS-404", f"the array {SHARED} is a {type(found).__name__}")
    return found


def packed_bytes(message: Message) -> int:
    """How long the packed array is, in bytes, without reading it; 0 when there is none."""
    record = message.content.array_records.get("arrays")
    return len(record[SHARED].data) if record is not None and SHARED in record else 0


def arrays_bytes(message: Message) -> int:
    """How long all arrays of a message are, in bytes, without reading them."""
    records = message.content.array_records.values()
    return sum(len(array.data) for record in records for array in record.values())


def wire_bytes(message: Message) -> int:
    """Bytes of a message's objects as Flower sends them (HTTP headers not counted)."""
    return sum(len(one.deflate()) for one in get_all_nested_objects(message).values())
