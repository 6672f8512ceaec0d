"""The weighted mean: against numbers written out by hand, and the properties a reader would expect."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfedsam_flower.aggregation import rules
from pfedsam_flower.aggregation.rules import RULES, trimmed, weighted_mean
from pfedsam_flower.aggregation.weights import WEIGHTS
from pfedsam_flower.contract.messages import RoundReply

finite = st.floats(-1e6, 1e6, width=32)


@st.composite
def federations(draw: st.DrawFn) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    names = draw(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=5, unique=True))
    length = draw(st.integers(1, 4))
    rows = st.lists(finite, min_size=length, max_size=length)
    deltas = {name: np.array(draw(rows), np.float32) for name in names}
    return deltas, {name: draw(st.integers(1, 1000)) for name in names}


def test_the_written_out_example() -> None:
    deltas = {
        "north": np.array([1.0, -2.0, 0.0], np.float32),
        "south": np.array([4.0, 2.0, 0.5], np.float32),
        "island": np.array([0.0, 8.0, -1.0], np.float32),
    }
    weights = {"north": 5, "south": 2, "island": 1}
    # (5·1 + 2·4 + 1·0) / 8, (5·-2 + 2·2 + 1·8) / 8, (5·0 + 2·0.5 + 1·-1) / 8
    np.testing.assert_array_equal(weighted_mean(deltas, weights), np.array([13 / 8, 2 / 8, 0.0], np.float32))


@given(federations())
def test_order_changes_no_bit(federation: tuple[dict[str, np.ndarray], dict[str, int]]) -> None:
    deltas, weights = federation
    expected = weighted_mean(deltas, weights).tobytes()
    for order in itertools.islice(itertools.permutations(deltas), 24):
        shuffled = {name: deltas[name] for name in order}
        assert weighted_mean(shuffled, dict(reversed(weights.items()))).tobytes() == expected


def test_the_order_is_that_of_site_names() -> None:
    values = {"b": 1.0, "a": 3e38, "c": -3e38}  # even float64 loses the 1 beside 3e38
    deltas = {name: np.array([value], np.float32) for name, value in values.items()}
    by_name = weighted_mean(deltas, dict.fromkeys(deltas, 1))
    np.testing.assert_array_equal(by_name, np.zeros(1, np.float32))
    backwards = {name: deltas[name] for name in "cab"}
    assert weighted_mean(backwards, dict.fromkeys(backwards, 1)).tobytes() == by_name.tobytes()


@given(federations())
def test_the_mean_lies_between_the_smallest_and_the_largest(
    federation: tuple[dict[str, np.ndarray], dict[str, int]],
) -> None:
    deltas, weights = federation
    mean = weighted_mean(deltas, weights)
    stacked = np.stack(list(deltas.values()))
    assert mean.dtype == np.float32
    assert (mean >= stacked.min(axis=0)).all()
    assert (mean <= stacked.max(axis=0)).all()


@given(st.lists(finite, min_size=1, max_size=5), st.integers(1, 10**6))
def test_one_site_alone_is_left_as_it_is(values: list[float], weight: int) -> None:
    delta = np.array(values, np.float32)
    np.testing.assert_array_equal(weighted_mean({"north": delta}, {"north": weight}), delta)


@given(federations(), finite)
def test_equal_deltas_stay(federation: tuple[dict[str, np.ndarray], dict[str, int]], value: float) -> None:
    deltas, weights = federation
    same = {name: np.full_like(delta, value) for name, delta in deltas.items()}
    np.testing.assert_array_equal(
        weighted_mean(same, weights), np.full_like(next(iter(same.values())), value)
    )


@given(federations(), st.sampled_from([2, 4, 64, 1024]))
def test_only_the_ratio_of_weights_counts(
    federation: tuple[dict[str, np.ndarray], dict[str, int]], factor: int
) -> None:
    deltas, weights = federation
    scaled = {name: factor * weight for name, weight in weights.items()}
    assert weighted_mean(deltas, scaled).tobytes() == weighted_mean(deltas, weights).tobytes()


def test_sums_run_in_float64() -> None:
    values = {"a": 1e8, "b": 1.0, "c": -1e8}
    deltas = {name: np.array([value], np.float32) for name, value in values.items()}
    assert np.float32(1e8) + np.float32(1) - np.float32(1e8) == 0, "the example needs what float32 loses"
    result = weighted_mean(deltas, dict.fromkeys(deltas, 1))
    np.testing.assert_array_equal(result, np.array([1 / 3], np.float32))


def test_inputs_are_not_changed() -> None:
    deltas = {"a": np.ones(2, np.float32), "b": np.zeros(2, np.float32)}
    weighted_mean(deltas, {"a": 1, "b": 3})
    np.testing.assert_array_equal(deltas["a"], np.ones(2, np.float32))
    np.testing.assert_array_equal(deltas["b"], np.zeros(2, np.float32))


@pytest.mark.parametrize("weights", [{}, {"a": 1}, {"a": 1, "c": 1}, {"a": 1, "b": 0}, {"a": 1, "b": -1}])
def test_weights_that_do_not_fit_are_refused(weights: dict[str, int]) -> None:
    deltas = {"a": np.ones(1, np.float32), "b": np.ones(1, np.float32)}
    with pytest.raises(ValueError, match="positive weight"):
        weighted_mean(deltas, weights)


def test_no_site_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="needs deltas"):
        weighted_mean({}, {})


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_keeps_shape_and_dtype(rule: str) -> None:
    deltas = {"a": np.ones(3, np.float32), "b": np.zeros(3, np.float32)}
    result = RULES[rule]([("bias", (3,))], np.zeros(3, np.float32), deltas, {"a": 1, "b": 1})
    assert (result.shape, result.dtype) == ((3,), np.float32)
    np.testing.assert_array_equal(result, np.full(3, 0.5, np.float32))


def test_what_a_site_counts_for() -> None:
    reply = RoundReply(
        kind="train",
        site="a",
        round=1,
        contract="c",
        broadcast="b",
        n_train_patients=7,
        n_train_samples=90,
    )
    assert {name: weight(reply) for name, weight in WEIGHTS.items()} == {
        "patients": 7,
        "samples": 90,
        "equal": 1,
    }


ROBUST = ("median", "trimmed-mean")
small = st.floats(-100, 100, width=32)


def as_rule(rule: str, deltas: dict[str, np.ndarray], weights: dict[str, int] | None = None) -> np.ndarray:
    """What a rule makes of deltas on shared parameters of 0."""
    length = len(next(iter(deltas.values())))
    given = weights or dict.fromkeys(deltas, 1)
    return RULES[rule]([("bias", (length,))], np.zeros(length, np.float32), deltas, given)


@st.composite
def five(draw: st.DrawFn) -> dict[str, np.ndarray]:
    rows = st.lists(small, min_size=3, max_size=3)
    return {name: np.array(draw(rows), np.float32) for name in "abcde"}


@given(five(), st.floats(-(2.0**100), 2.0**100, width=32), st.integers(1, 10**9))
def test_one_hostile_site_of_five_moves_no_value_beyond_the_honest_ones(
    deltas: dict[str, np.ndarray], value: float, weight: int
) -> None:
    honest = np.stack([deltas[name] for name in "abcd"])
    hostile = deltas | {"e": np.full(3, value, np.float32)}
    for rule in ROBUST:
        found = as_rule(rule, hostile, dict.fromkeys("abcd", 1) | {"e": weight})
        assert (found >= honest.min(axis=0)).all()
        assert (found <= honest.max(axis=0)).all()


@given(five(), st.floats(-(2.0**50), 2.0**50, width=32))
def test_a_clipped_site_takes_the_mean_no_further_than_the_longest_honest_delta(
    deltas: dict[str, np.ndarray], value: float
) -> None:
    honest = max(np.linalg.norm(deltas[name].astype(np.float64)) for name in "abcd")
    found = as_rule("clipped-mean", deltas | {"e": np.full(3, value, np.float32)})
    assert np.linalg.norm(found.astype(np.float64)) <= honest * (1 + 1e-6)


@given(five(), st.permutations("abcde"))
def test_whose_delta_it_is_changes_nothing_where_all_count_for_the_same(
    deltas: dict[str, np.ndarray], names: list[str]
) -> None:
    renamed = dict(zip(names, deltas.values(), strict=True))
    for rule in ROBUST:
        assert as_rule(rule, renamed).tobytes() == as_rule(rule, deltas).tobytes()


@pytest.mark.parametrize("rule", ["median", "trimmed-mean", "clipped-mean"])
@given(st.lists(small, min_size=1, max_size=4), st.integers(1, 7))
def test_equal_deltas_give_that_delta(rule: str, values: list[float], n: int) -> None:
    delta = np.array(values, np.float32)
    found = as_rule(rule, {f"site{i}": delta for i in range(n)}, {f"site{i}": i + 1 for i in range(n)})
    np.testing.assert_array_equal(found, delta)


def test_robust_rules_by_hand() -> None:
    deltas = {
        name: np.array([value], np.float32) for name, value in zip("abcde", (1, 2, 4, 9, 500), strict=True)
    }
    assert as_rule("median", deltas) == 4
    assert as_rule("trimmed-mean", deltas) == 5  # (2 + 4 + 9) / 3
    assert as_rule("clipped-mean", deltas) == 3  # (1 + 2 + 4 + 4 + 4) / 5
    two = {"a": np.array([1.0], np.float32), "b": np.array([3.0], np.float32)}
    assert as_rule("trimmed-mean", two) == as_rule("median", two) == 2
    assert [trimmed(n) for n in range(1, 12)] == [0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 3]


def test_many_values_are_ordered_in_parts_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    deltas = {name: draw.normal(size=100).astype(np.float32) for name in "abcde"}
    whole = {rule: as_rule(rule, deltas).tobytes() for rule in ROBUST}
    monkeypatch.setattr(rules, "CHUNK", 7)
    assert {rule: as_rule(rule, deltas).tobytes() for rule in ROBUST} == whole
