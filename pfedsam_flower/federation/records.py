"""Typed messages ⇄ Flower records. The words travel as JSON in one field, the tensors as one packed array."""

from typing import TypeVar

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects

from ..contract.checks import SHARED, surplus_arrays
from ..contract.messages import LARGEST_WORDS, Record, decode, encode
from ..contract.text import one_line
from ..errors import ContractError

RecordT = TypeVar("RecordT", bound=Record)

LARGEST_REPLY = 32 * 1024 * 1024
"""Bytes of a reply's words that are parsed, so that what nobody agreed on can be dropped and named."""
LARGEST_HEADER = 4096
"""Bytes that NumPy may put before an array's values."""


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


def words_of(message: Message, kind: type[RecordT], largest: int = LARGEST_WORDS) -> RecordT:
    """The typed words of a message, which may have ``largest`` bytes.

    Raises:
        ContractError: PFS-404 when they are missing or of another form.
    """
    return decode(kind, body_of(message), largest)


def surplus(message: Message, *, packed: bool) -> tuple[list[str], list[str]]:
    """Names of what may not be in a message, and is not looked at: (of arrays, of records and other fields).

    A message holds the field ``json`` of the record ``words`` and, where ``packed`` says so, the array
    ``shared`` of the record ``arrays``. A field of any other record is named as ``record/field``.
    """
    arrays: list[str] = []
    others: list[str] = []
    for place, record in message.content.items():
        if place == "arrays" and isinstance(record, ArrayRecord):
            arrays += surplus_arrays(record) if packed else list(record)
        elif place == "words" and isinstance(record, ConfigRecord):
            others += [name for name in record if name != "json"]
        else:
            found = arrays if isinstance(record, ArrayRecord) else others
            found += [f"{place}/{name}" for name in record] or [place]
    return sorted(arrays), sorted(others)


def packed_of(message: Message, n_values: int | None = None) -> np.ndarray | None:
    """The packed array of a message; arrays of any other name are not looked at. None when there is none.

    Args:
        n_values: an array of more bytes than so many float32 values have is not read.

    Raises:
        ContractError: PFS-402 when it is too large, PFS-404 when it cannot be read as an array.
    """
    record = message.content.array_records.get("arrays")
    if record is None or SHARED not in record:
        return None
    n_bytes = len(record[SHARED].data)
    if n_values is not None and n_bytes > 4 * n_values + LARGEST_HEADER:
        raise ContractError(
            "PFS-402", f"the array {SHARED} has {n_bytes} bytes, agreed are {n_values} float32"
        )
    try:
        found = record[SHARED].numpy()
    except Exception as error:  # whatever bytes from outside make a reader raise
        said = one_line(repr(error))
        raise ContractError("PFS-404", f"the array {SHARED} cannot be read: {said}") from error
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
