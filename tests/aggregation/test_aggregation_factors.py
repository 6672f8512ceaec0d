"""LoRA's pairs: the cost of averaging factors, and the rule that averages products, against dense algebra."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pfedsam_flower.aggregation.factors import factor_errors, pairs, split
from pfedsam_flower.aggregation.rules import RULES

RANK, INSIDE, OUTSIDE = 2, 7, 5  # of different lengths: a transposed product would not fit
TENSORS = [
    ("blocks.0.attn.qkv.lora_q_a", (RANK, INSIDE)),
    ("blocks.0.attn.qkv.lora_q_b", (OUTSIDE, RANK)),
    ("mask_decoder.class_tokens", (3,)),
]
N_VALUES = RANK * (INSIDE + OUTSIDE) + 3
A, B, TOKENS = (key for key, _ in TENSORS)


def test_where_nothing_is_shared_no_factor_is_averaged() -> None:
    nothing = np.zeros(0, np.float32)
    assert split([], nothing) == {}
    assert factor_errors([], nothing, {"site0": nothing}, {"site0": 1}) == {}


@st.composite
def rounds(draw: st.DrawFn) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, int]]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sites = [f"site{i}" for i in range(draw(st.integers(1, 5)))]
    drift = draw(st.sampled_from([0.01, 0.5, 2.0]))
    broadcast = rng.standard_normal(N_VALUES).astype(np.float32)
    deltas = {site: (drift * rng.standard_normal(N_VALUES)).astype(np.float32) for site in sites}
    return broadcast, deltas, {site: int(rng.integers(1, 40)) for site in sites}


def mean_product(broadcast: np.ndarray, deltas: dict, weights: dict) -> np.ndarray:
    """M, written out: [OUTSIDE, INSIDE]."""
    total = np.zeros((OUTSIDE, INSIDE))
    for site, delta in deltas.items():
        tensors = split(TENSORS, broadcast.astype(np.float64) + delta)
        total += weights[site] * tensors[B] @ tensors[A]
    return total / sum(weights.values())


def product_of(packed: np.ndarray) -> np.ndarray:
    tensors = split(TENSORS, packed)
    return tensors[B] @ tensors[A]


def test_pairs_are_found_by_their_names() -> None:
    assert pairs(TENSORS) == [(A, B)]
    assert pairs([(A, (2, 7)), ("neck.a", (1,)), ("neck.b", (1,))]) == []


@settings(deadline=None)
@given(rounds())
def test_the_error_is_what_lies_between_mean_of_products_and_product_of_means(round_: tuple) -> None:
    broadcast, deltas, weights = round_
    wanted = mean_product(broadcast, deltas, weights)
    exact = split(TENSORS, broadcast)
    for key in (A, B):
        exact[key] = exact[key] + sum(weights[s] * split(TENSORS, d)[key] for s, d in deltas.items()) / sum(
            weights.values()
        )
    gap = np.linalg.norm(wanted - exact[B] @ exact[A]) / np.linalg.norm(wanted)
    assert factor_errors(TENSORS, broadcast, deltas, weights) == {A: pytest.approx(gap, abs=1e-7)}


@settings(deadline=None)
@given(rounds())
def test_product_is_the_best_pair_of_its_rank(round_: tuple) -> None:
    broadcast, deltas, weights = round_
    wanted = mean_product(broadcast, deltas, weights)
    result = RULES["product"](TENSORS, broadcast, deltas, weights)
    u, s, vt = np.linalg.svd(wanted)
    best = (u[:, :RANK] * s[:RANK]) @ vt[:RANK]
    np.testing.assert_allclose(product_of(result), best, atol=1e-5 * s[0])
    tokens = split(TENSORS, RULES["mean"](TENSORS, broadcast, deltas, weights))[TOKENS]
    np.testing.assert_array_equal(split(TENSORS, result)[TOKENS], tokens)
    factors = split(TENSORS, result)
    np.testing.assert_allclose(np.linalg.norm(factors[A]), np.linalg.norm(factors[B]), rtol=1e-4)


@settings(deadline=None)
@given(rounds())
def test_product_does_not_see_in_which_basis_a_site_holds_its_pair(round_: tuple) -> None:
    broadcast, deltas, weights = round_
    turned = {}
    for number, (site, delta) in enumerate(sorted(deltas.items())):
        tensors = split(TENSORS, broadcast.astype(np.float64) + delta)
        basis = np.array([[2.0, number], [0.5, 1.0 + number]])
        tensors[A], tensors[B] = np.linalg.inv(basis) @ tensors[A], tensors[B] @ basis
        there = np.concatenate([tensors[key].ravel() for key, _ in TENSORS])
        turned[site] = (there - broadcast).astype(np.float32)
    before = product_of(RULES["product"](TENSORS, broadcast, deltas, weights))
    after = product_of(RULES["product"](TENSORS, broadcast, turned, weights))
    np.testing.assert_allclose(before, after, atol=1e-4 * np.abs(before).max())


@given(rounds())
@settings(deadline=None)
def test_the_order_of_arrival_changes_no_bit(round_: tuple) -> None:
    broadcast, deltas, weights = round_
    backwards = dict(reversed(deltas.items()))
    for rule in RULES.values():
        one, other = (rule(TENSORS, broadcast, d, weights) for d in (deltas, backwards))
        assert one.tobytes() == other.tobytes()


def test_where_no_site_has_moved_b_the_pair_can_still_learn() -> None:
    rng = np.random.default_rng(0)
    broadcast = np.zeros(N_VALUES, np.float32)
    broadcast[: RANK * INSIDE] = rng.standard_normal(RANK * INSIDE)
    deltas = {site: np.zeros(N_VALUES, np.float32) for site in ("north", "south")}
    result = RULES["product"](TENSORS, broadcast, deltas, dict.fromkeys(deltas, 1))
    np.testing.assert_array_equal(result, broadcast)
    assert factor_errors(TENSORS, broadcast, deltas, dict.fromkeys(deltas, 1)) == {}
