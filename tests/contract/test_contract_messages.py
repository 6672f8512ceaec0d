"""Records survive the wire, and nothing that is not exactly such a record does."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pfedsam_flower.aggregation.rules import RULES
from pfedsam_flower.aggregation.weights import WEIGHTS
from pfedsam_flower.contract.messages import (
    LARGEST_WORDS,
    ClassFacts,
    HelloReply,
    HelloRequest,
    PreflightReply,
    PreflightRequest,
    Range,
    Record,
    Refusal,
    RoundReply,
    RoundRequest,
    Timings,
    decode,
    encode,
)
from pfedsam_flower.contract.methods import METHODS
from pfedsam_flower.errors import CODES, ContractError, PfedsamError
from pfedsam_flower.settings.run import RunSettings
from pfedsam_flower.settings.sources import default_flat, to_flat

REPLY: dict[str, Any] = {"kind": "train", "site": "north", "round": 1, "contract": "c", "broadcast": "b"}
text = st.text('aZ09 .-_äß→😀"\\\n', max_size=10)
scalars = st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | text


@given(st.dictionaries(text, scalars, max_size=6))
def test_settings_keep_value_and_type_on_the_wire(settings: dict[str, Any]) -> None:
    record = HelloRequest(software="0.1.0", settings=settings)
    again = decode(HelloRequest, encode(record))
    assert again == record
    assert {k: type(v) for k, v in again.settings.items()} == {k: type(v) for k, v in settings.items()}


def test_every_default_survives() -> None:
    record = RoundRequest(
        kind="train", round=1, contract="c", settings=default_flat(), deadline_s=1.0, broadcast="b"
    )
    again = decode(RoundRequest, encode(record))
    assert again == record
    assert [type(v) for v in again.settings.values()] == [type(v) for v in default_flat().values()]


@given(st.dictionaries(text, st.floats(allow_nan=False, allow_infinity=False), max_size=5))
def test_metrics_keep_every_bit(metrics: dict[str, float]) -> None:
    seconds = Timings(load=1.5, global_=0.1)
    record = RoundReply(**REPLY, metrics=metrics, seconds=seconds)
    assert decode(RoundReply, encode(record)) == record


def test_timings_travel_under_their_plain_name() -> None:
    body = json.loads(encode(RoundReply(**REPLY, seconds=Timings(global_=2.0))))
    assert body["seconds"]["global"] == 2.0


def test_every_public_text_fits_a_refusal() -> None:
    for code in CODES:
        text = PfedsamError(code, "local", counts={"patients": 10**6, "values": 10**9}).public()
        refusal = Refusal(code=code, text=text)
        record = HelloReply(
            site="north",
            software="0.1.0",
            n_train_patients=0,
            n_validation_patients=0,
            n_test_patients=0,
            refusal=refusal,
        )
        assert decode(HelloReply, encode(record)).refusal == refusal


def fields_of(record: Record) -> list[tuple[str, ...]]:
    """Where in the record's JSON every value stands, those of nested records too."""

    def inside(value: Any, path: tuple[str, ...]) -> list[tuple[str, ...]]:
        deeper = [one for key, part in value.items() for one in inside(part, (*path, key))] \
            if isinstance(value, dict) else []  # fmt: skip
        return [*([path] if path else []), *deeper]

    return inside(json.loads(encode(record)), ())


HASH = "a" * 64
FULL: list[Record] = [
    HelloRequest(software="1", settings={"rounds": 3, "federation.name": "test"}),
    HelloReply(
        site="north",
        software="1",
        n_train_patients=7,
        n_validation_patients=6,
        n_test_patients=5,
        refusal=Refusal(code="PFS-204", text="x"),
    ),
    PreflightRequest(settings={"rounds": 3}, deadline_s=60.0),
    PreflightReply(
        site="north",
        cases=9,
        patients="<5",
        height=Range(low=1.0, high=2.0),
        orientations={"LPS": 9},
        channels={"1": 9},
        classes=(ClassFacts(annotated=True, cases=9, share=0.5),),
        warnings={"PFS-213": 6},
        refused="PFS-204",
    ),
    RoundRequest(kind="train", round=3, contract=HASH, settings={}, deadline_s=60.0, broadcast=HASH),
    RoundReply(
        kind="train",
        site="north",
        round=3,
        contract=HASH,
        broadcast=HASH,
        n_train_patients=7,
        n_train_samples=8,
        metrics={"dice": 0.5},
        delta=HASH,
        delta_norm=1.5,
        refusal=Refusal(code="PFS-204", text="x"),
    ),
]
OTHERS = st.sampled_from(
    [
        None,
        True,
        False,
        0,
        3,
        3.0,
        -1,
        10**12,
        10**400,
        0.5,
        -0.5,
        "3",
        "3.0",
        "true",
        "",
        "x" * 100_001,
        [],
        [3],
        {},
    ]
    + [{"a": 1}, [[]]]
)


def same_type(before: Any, after: Any) -> bool:
    number = {int, float}
    return type(before) is type(after) or (type(before) is float and {type(before), type(after)} <= number)


@pytest.mark.parametrize("record", FULL, ids=lambda one: type(one).__name__)
@given(data=st.data())
def test_no_field_takes_a_value_of_another_type(record: Record, data: st.DataObject) -> None:
    """What is read has the value and the type that were sent, or nothing is read."""
    path = data.draw(st.sampled_from(fields_of(record)))
    other = data.draw(OTHERS)
    words = json.loads(encode(record))
    place = words
    for key in path[:-1]:
        place = place[key]
    before, place[path[-1]] = place[path[-1]], other
    try:
        again = decode(type(record), json.dumps(words).encode())
    except ContractError:
        return
    found = json.loads(encode(again))
    for key in path:
        found = found[key]
    assert found == other or (other == {} and isinstance(before, dict))
    anything = path[0] == "settings" and len(path) == 2  # a setting may have any plain type
    absent_or_present = other is None or before is None or {type(before), type(other)} == {int, str}
    assert anything or same_type(before, other) or absent_or_present
    if isinstance(before, int) and not anything:
        assert type(other) is int or other == "<5" or other is None


@pytest.mark.parametrize("record", FULL, ids=lambda one: type(one).__name__)
def test_a_name_that_stands_twice_is_refused_at_any_depth(record: Record) -> None:
    text = encode(record).decode()
    for path in fields_of(record):
        key = json.dumps(path[-1]) + ":"
        twice = text.replace(key, f"{key}0,{key}", 1)
        assert twice != text
        with pytest.raises(ContractError, match="twice"):
            decode(type(record), twice.encode())


@pytest.mark.parametrize(
    "bad",
    [
        b"[" * 200_000,
        b'{"kind":' * 100_000,
        b'{"kind": "' + b"x" * LARGEST_WORDS + b'"}',
        b'{"round": ' + b"9" * 5000 + b"}",
        b'{"site": "\\ud800"}',
    ],
    ids=["lists", "objects", "long", "digits", "half a letter"],
)
def test_words_without_end_are_refused_before_they_cost_anything(bad: bytes) -> None:
    for record in FULL:
        with pytest.raises(ContractError) as caught:
            decode(type(record), bad)
        assert caught.value.code == "PFS-404"


@pytest.mark.parametrize("seconds", [0, -1, 1e300, math.inf, math.nan, 367 * 86400])
def test_no_request_asks_for_a_deadline_that_never_comes(seconds: float) -> None:
    words = {"kind": "preflight", "settings": {}, "deadline_s": seconds}
    with pytest.raises(ContractError):
        decode(PreflightRequest, json.dumps(words).encode())


def body(**changes: Any) -> bytes:
    return json.dumps(REPLY | changes).encode()


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff\xfe",
        b'{"kind":',
        body(path="a field that nobody agreed on"),
        body(kind="preflight"),
        body(round=0),
        body(n_train_samples=-1),
        body(site="../north"),
        body(site="north\n"),
        body(site=""),
        body(metrics={"dice": math.nan}),
        body(metrics={"dice": math.inf}),
        body(metrics={"dice": None}),
        body(metrics={"dice": "patient 12"}),
        body(metrics=[1.0]),
        body(delta_norm=math.nan),
        body(seconds={"load": 1.0, "wait": 2.0}),
        body(refusal={"code": "oops", "text": "x"}),
        body(refusal={"code": "PFS-204", "text": "x" * 301}),
    ],
)
def test_anything_else_is_refused(bad: bytes) -> None:
    with pytest.raises(ContractError) as caught:
        decode(RoundReply, bad)
    assert caught.value.code == "PFS-404"


def test_a_refused_message_is_not_repeated_in_public() -> None:
    with pytest.raises(ContractError) as caught:
        decode(RoundReply, body(metrics={"dice": "patient 12"}))
    assert caught.value.public() == "PFS-404 a message cannot be read"


def test_records_do_not_change() -> None:
    with pytest.raises(ValidationError):
        RoundReply(**REPLY).round = 2


def test_defaults_name_rows_that_exist() -> None:
    settings = RunSettings()
    assert settings.method in METHODS
    assert settings.aggregation.rule in RULES
    assert settings.aggregation.weights in WEIGHTS
    assert to_flat(settings)["method"] == "pfedsam"


def test_every_method_does_something_and_says_what() -> None:
    for name, method in METHODS.items():
        assert method.sentence, name
        assert method.shared or method.personal, name
        assert not set(method.shared) & set(method.personal), f"{name}: a group with two roles"
        assert method.round, f"{name}: nothing to do in a round"
        phases = {*method.round, *method.closing}
        assert method.personal or not phases & {"local", "joint"}, f"{name}: nothing personal to train"
        assert method.shared or not phases - {"local"}, f"{name}: nothing shared to train"
        assert "global" not in phases or method.has_global, f"{name}: no model to train in the global phase"
