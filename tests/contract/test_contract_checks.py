"""Every way in which one reply can be wrong, by the code it is refused with."""

from typing import Any

import numpy as np
import pytest

from pfedsam_flower.contract.checks import SHARED, check_reply, euclidean_norm, surplus_arrays
from pfedsam_flower.contract.messages import RoundReply, RoundRequest
from pfedsam_flower.contract.schema import Contract, digest
from pfedsam_flower.errors import ContractError

CONTRACT = Contract((("bias", (4,)),), "b" * 64, ("lesion",), 224, "pfedsam")
DELTA = np.array([0.5, -1.0, 0.0, 2.0], np.float32)
REQUEST = RoundRequest(
    kind="train", round=3, contract=CONTRACT.hash, settings={}, deadline_s=60.0, broadcast="d" * 64
)


def reply(**changes: Any) -> RoundReply:
    whole: dict[str, Any] = {
        "kind": "train",
        "site": "north",
        "round": 3,
        "contract": CONTRACT.hash,
        "broadcast": "d" * 64,
        "n_train_patients": 5,
        "n_train_samples": 40,
        "delta": digest(DELTA),
        "delta_norm": euclidean_norm(DELTA),
    }
    return RoundReply(**(whole | changes))


def test_a_good_reply_passes() -> None:
    check_reply(reply(), REQUEST, DELTA, CONTRACT, largest_norm=10.0)


def test_a_closing_reply_needs_no_delta() -> None:
    request = REQUEST.model_copy(update={"kind": "close"})
    closing = reply(kind="close", delta="", n_train_samples=0, n_train_patients=0)
    check_reply(closing, request, None, CONTRACT, largest_norm=10.0)


def with_value(value: float) -> np.ndarray:
    delta = DELTA.copy()
    delta[1] = value
    return delta


@pytest.mark.parametrize(
    ("code", "changes", "delta"),
    [
        ("PFS-401", {"contract": "e" * 64}, DELTA),
        ("PFS-402", {}, None),
        ("PFS-402", {}, DELTA[:3]),
        ("PFS-402", {}, DELTA[:1]),
        ("PFS-402", {}, DELTA.astype(np.float64)),
        ("PFS-402", {}, DELTA.reshape(2, 2)),
        ("PFS-403", {}, with_value(np.nan)),
        ("PFS-403", {}, with_value(np.inf)),
        ("PFS-403", {}, with_value(-np.inf)),
        ("PFS-403", {}, with_value(11.0)),
        ("PFS-403", {}, with_value(3e38)),  # its square overflows float32
        ("PFS-404", {"delta": "f" * 64}, DELTA),
        ("PFS-404", {}, with_value(-1.0000001)),
        ("PFS-405", {"n_train_samples": 0}, DELTA),
        ("PFS-405", {"n_train_patients": 0}, DELTA),
        ("PFS-406", {"round": 2}, DELTA),
        ("PFS-406", {"kind": "close"}, DELTA),
        ("PFS-406", {"broadcast": "a" * 64}, DELTA),
    ],
)
def test_a_bad_reply_is_refused(code: str, changes: dict[str, Any], delta: np.ndarray | None) -> None:
    with pytest.raises(ContractError) as caught:
        check_reply(reply(**changes), REQUEST, delta, CONTRACT, largest_norm=10.0)
    assert caught.value.code == code


def test_the_largest_norm_itself_is_allowed() -> None:
    check_reply(reply(), REQUEST, DELTA, CONTRACT, largest_norm=euclidean_norm(DELTA))


def test_non_finite_values_are_counted() -> None:
    delta = np.array([np.nan, np.inf, 0.0, -np.inf], np.float32)
    with pytest.raises(ContractError) as caught:
        check_reply(reply(), REQUEST, delta, CONTRACT, largest_norm=10.0)
    assert caught.value.counts == {"values": 3}


def test_a_norm_is_summed_in_float64() -> None:
    assert euclidean_norm(np.full(4, 3e38, np.float32)) == pytest.approx(6e38)
    assert euclidean_norm(np.zeros(0, np.float32)) == 0.0


def test_only_one_array_may_travel() -> None:
    assert surplus_arrays([SHARED]) == []
    assert surplus_arrays(["lmoe.b", SHARED, "lmoe.a", "lmoe.b"]) == ["lmoe.a", "lmoe.b"]
