"""The preflight's reply: what is not a count, a range or an agreed word does not fit into it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pfedsam_flower.contract.messages import FEW, ClassFacts, PreflightReply, Range, decode, encode

COUNTS = ("cases", "patients", "spacing_known", "empty_masks", "duplicates")


def test_a_whole_reply_survives_the_wire() -> None:
    lungs = ClassFacts(annotated=True, cases=12, share=0.25)
    reply = PreflightReply(
        site="north", cases=12, patients=FEW, height=Range(low=200, high=512), orientations={"LPS": 12},
        channels={"1": 12}, classes=(lungs,), errors={"PFS-204": FEW}, refused="PFS-204",
    )  # fmt: skip
    assert decode(PreflightReply, encode(reply)) == reply


@pytest.mark.parametrize("field", COUNTS)
@given(n=st.integers(-3, 9))
def test_counts_of_one_to_four_cannot_be_put_in(field: str, n: int) -> None:
    if n == 0 or n >= 5:
        assert getattr(PreflightReply(site="north", **{field: n}), field) == n  # type: ignore[arg-type]
        return
    with pytest.raises(ValidationError):
        PreflightReply(site="north", **{field: n})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "bad",
    [
        {"cases": "7"},
        {"cases": 7.5},
        {"cases": True},
        {"patients": "smith-john"},
        {"orientations": {"LLS": 7}},
        {"orientations": {"smith": 7}},
        {"orientations": {"LPS": 3}},
        {"channels": {"2": 7}},
        {"errors": {"PFS-999": 7}},
        {"warnings": {"/srv/images": 7}},
        {"refused": "the file smith.png is cut"},
        {"height": {"low": "smith", "high": 2}},
        {"classes": [{"annotated": True, "cases": 2}]},
        {"names": ["smith"]},
    ],
)
def test_anything_else_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PreflightReply(site="north", **bad)
