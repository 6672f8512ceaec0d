"""What site and coordinator say to each other, as typed records that travel as JSON.

Numbers and agreed words only. A site's refusal carries the public text of an error: code, fixed
title, counts. There is one reading of what comes from outside, the same on both sides: ``decode``.
"""

import json
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from ..errors import CODES, ContractError
from .text import LONGEST_NAME, SHOWN, one_line

LARGEST_WORDS = 1_000_000
"""Bytes of a message's words; those of real runs have some thousand."""
LARGEST_COUNT = 10**9
"""More than any hospital has; weights of that size leave a float64 mean finite."""
YEAR_S = 366 * 86400.0

Line = Annotated[str, Field(max_length=200)]
Digest = Annotated[str, Field(max_length=64)]
FlatSettings = Annotated[
    dict[Line, bool | int | float | Annotated[str, Field(max_length=100_000)]], Field(max_length=1000)
]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
LARGEST_PATIENTS = 10**6
"""More patients than any hospital trains on."""
Patients = Annotated[int, Field(ge=0, le=LARGEST_PATIENTS)]
RoundNumber = Annotated[int, Field(ge=1, le=1_000_000)]
Deadline = Annotated[float, Field(gt=0, le=YEAR_S, allow_inf_nan=False)]
SiteName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class Record(BaseModel):
    """One message's words: unknown fields, non-finite numbers and values of another type are refused.

    ``"3"``, ``3.0`` and ``true`` are no whole numbers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, ser_json_inf_nan="constants")


class Refusal(Record):
    """Why a site did not do what it was asked; ``text`` is ``PfedsamError.public()``."""

    code: str = Field(pattern=r"^PFS-\d{3}$")
    text: str = Field(max_length=300)


class JournalHead(Record):
    """The end of a site's journal: how many lines it has, and the hash of the last one.

    A site says it with each reply, as it is before that reply; the coordinator keeps the one with the most
    lines and repeats it with each round. A site whose journal was exchanged for an older copy learns so.
    """

    lines: int = Field(ge=0, le=LARGEST_COUNT)
    head: Digest


class HelloRequest(Record):
    """First message to a node: who are you, do our installations agree, is your data usable.

    Attributes:
        deadline_s: seconds after which the ClientApp ends itself.
    """

    software: Line
    settings: FlatSettings
    deadline_s: Deadline = 120.0


class HelloReply(Record):
    """A site's name and the size of its split; never more than counts."""

    site: SiteName
    software: Line
    n_train_patients: Patients
    n_validation_patients: Patients
    n_test_patients: Patients
    refusal: Refusal | None = None
    journal: JournalHead | None = None


class RoundRequest(Record):
    """One round's work at a site. ``close``: local phase and final scores on the final shared parameters.

    Attributes:
        round: 1 … rounds for ``train``; rounds + 1 for ``close``.
        deadline_s: seconds after which the ClientApp ends itself.
        broadcast: digest of the packed shared parameters that come with the request.
        journal: what the coordinator has seen of the site's journal.
    """

    kind: Literal["train", "close"]
    round: RoundNumber
    contract: Digest
    settings: FlatSettings
    deadline_s: Deadline
    broadcast: Digest
    journal: JournalHead | None = None


class Timings(Record):
    """Seconds per part of a round at the site."""

    start: Seconds = 0.0
    load: Seconds = 0.0
    evaluate: Seconds = 0.0
    local: Seconds = 0.0
    global_: Seconds = Field(0.0, alias="global")
    alone: Seconds = 0.0

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)


class RoundReply(Record):
    """What a site says after a round. The delta comes beside it as one packed array.

    Attributes:
        metrics: numbers by name, for example ``validation.dice.global``; undefined ones are absent.
        delta: digest of the packed delta; empty for ``close``.
        refusal: set when the site did not do the work; the other numbers are then 0.
    """

    kind: Literal["train", "close"]
    site: SiteName
    round: RoundNumber
    contract: Digest
    broadcast: Digest
    n_train_patients: int = Field(0, ge=0, le=LARGEST_COUNT)
    n_train_samples: int = Field(0, ge=0, le=LARGEST_COUNT)
    metrics: dict[str, Finite] = {}
    seconds: Timings = Timings()
    delta: Digest = ""
    delta_norm: Finite = 0.0
    refusal: Refusal | None = None
    journal: JournalHead | None = None


FEW: Literal["<5"] = "<5"
SMALLEST_COUNT = 5
"""Counts of 1 to 4 never leave a site: they travel as ``FEW``."""


def _not_few(n: int) -> int:
    if 0 < n < SMALLEST_COUNT:
        raise ValueError(f"counts below {SMALLEST_COUNT} do not travel")
    return n


def _known(code: str) -> str:
    if code not in CODES:
        raise ValueError("not a code of this software")
    return code


def _three_axes(letters: str) -> str:
    if sorted(letters.translate(str.maketrans("LPI", "RAS"))) != ["A", "R", "S"]:
        raise ValueError("not three axes such as LPS")
    return letters


Count = Literal["<5"] | Annotated[int, Field(ge=0, le=LARGEST_COUNT, strict=True), AfterValidator(_not_few)]
Code = Annotated[str, AfterValidator(_known)]
Orientation = Annotated[str, AfterValidator(_three_axes)]


Channels = Annotated[str, Field(pattern="^[13]$")]


class Range(Record):
    """Between which values the cases of a site lie; how the ends are chosen: ``site.preflight``."""

    low: Finite
    high: Finite


class ClassFacts(Record):
    """One class at a site.

    Attributes:
        annotated: whether the site's labels name it.
        cases: cases in which it occurs.
        share: of all voxels of the site; absent where it occurs in fewer than five cases.
    """

    annotated: bool
    cases: Count
    share: Finite | None = None


class PreflightRequest(Record):
    """Before round 1: look through all of your data and say what it is like.

    Attributes:
        deadline_s: seconds after which the ClientApp ends itself.
    """

    kind: Literal["preflight"] = "preflight"
    settings: FlatSettings
    deadline_s: Deadline


class PreflightReply(Record):
    """What a site's data is like: counts and ranges over its cases, agreed words, nothing else.

    Ranges are absent where fewer than five cases stand behind them.

    Attributes:
        slices, height, width: of the slices as the network gets them, pixels.
        spacing_between, spacing_row, spacing_column: mm, from cases that know theirs.
        orientations: cases by where their stored axes point, as in ``LPS``.
        channels: cases by number of channels.
        intensity_low, intensity_middle, intensity_high: percentiles 1, 50 and 99 of a case's stored values.
        classes: in the order of the run's setting ``classes``.
        duplicates: images whose content occurred before.
        errors, warnings: number of findings by code.
        refused: set when the site cannot take part with this data; the code of the first error.
    """

    kind: Literal["preflight"] = "preflight"
    site: SiteName
    cases: Count = 0
    patients: Count = 0
    slices: Range | None = None
    height: Range | None = None
    width: Range | None = None
    spacing_between: Range | None = None
    spacing_row: Range | None = None
    spacing_column: Range | None = None
    spacing_known: Count = 0
    orientations: dict[Orientation, Count] = {}
    channels: dict[Channels, Count] = {}
    intensity_low: Range | None = None
    intensity_middle: Range | None = None
    intensity_high: Range | None = None
    classes: tuple[ClassFacts, ...] = ()
    empty_masks: Count = 0
    duplicates: Count = 0
    errors: dict[Code, Count] = {}
    warnings: dict[Code, Count] = {}
    refused: Code | None = None


RecordT = TypeVar("RecordT", bound=Record)


def encode(record: Record) -> bytes:
    """The record as UTF-8 JSON."""
    return record.model_dump_json(by_alias=True).encode()


def decode(kind: type[RecordT], body: bytes, largest: int = LARGEST_WORDS) -> RecordT:
    """A record from JSON that came from outside; what is typed is what ``read_words`` has read.

    Raises:
        ContractError: PFS-404 when it is not such a record.
    """
    words = read_words(body, largest)
    try:
        return kind.model_validate_json(json.dumps(words))
    except ValidationError as error:
        raise ContractError("PFS-404", f"not a {kind.__name__}: {_why(error)}") from error


def _why(error: ValidationError) -> str:
    """What is wrong with a body, without what stands in it: others have written that."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    parts = [f"{'.'.join(map(str, one['loc'])) or 'words'}: {one['msg']}" for one in found[:SHOWN]]
    more = f"; {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return "; ".join(one_line(part, 2 * LONGEST_NAME) for part in parts) + more


def read_words(body: bytes, largest: int = LARGEST_WORDS) -> dict[str, Any]:
    """The JSON object of a message, if there is only one way to read it.

    Raises:
        ContractError: PFS-404 when it is longer than ``largest``, nested too deeply, no object, not
            JSON, or has a name twice: another reader might take the other one.
    """
    if len(body) > largest:
        raise ContractError("PFS-404", f"{len(body)} bytes of words; at most {largest} are read")
    try:
        found = json.loads(body.decode("utf-8"), object_pairs_hook=_once_each)
    except UnicodeDecodeError as error:
        raise ContractError("PFS-404", "the words are no text in UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise ContractError("PFS-404", f"the words cannot be read: {str(error)[:200]}") from error
    if not isinstance(found, dict):
        raise ContractError("PFS-404", "the words are no JSON object")
    return found


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice")
    return found
