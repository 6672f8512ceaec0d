"""IAT's term: the small matrices say what the large ones would, and only what is averaged is moved."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pfedsam_flower.learning.orthogonality import Orthogonality, begun
from pfedsam_flower.model.roles import Role

A, B = "block.lora_q_a", "block.lora_q_b"
OUT, IN, RANK = 7, 5, 3


def after_a_step(averaged: str, seed: int = 0) -> tuple[Orthogonality, dict[str, torch.Tensor]]:
    """The term of one pair after a step, and the factors as they are then."""
    draw = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    start = {A: random(RANK, IN), B: random(OUT, RANK)}
    roles: dict[str, Role] = {name: "shared" if name == averaged else "personal" for name in start}
    found = begun(start, roles)
    now = {name: (values + 0.1 * random(*values.shape)).requires_grad_() for name, values in start.items()}
    found.follow(now)
    return found, now


@given(seed=st.integers(0, 1000), averaged=st.sampled_from([A, B]))
def test_it_is_the_squared_cosine_of_the_two_changes_of_the_product(seed: int, averaged: str) -> None:
    found, now = after_a_step(averaged, seed)
    a, b = found.start[A], found.start[B]
    moved = {name: values.detach() - found.start[name] for name, values in now.items()}
    shared, local = (moved[B] @ a, b @ moved[A]) if averaged == B else (b @ moved[A], moved[B] @ a)
    left, right = (b.T @ moved[B], moved[A] @ a.T)
    torch.testing.assert_close((left * right).sum(), (shared * local).sum())
    # |P| and |Q| are those of the small matrices, as in the paper
    cosine = (shared * local).sum() / (left.norm() * right.norm())
    torch.testing.assert_close(found.term(now).detach(), cosine**2, rtol=1e-5, atol=1e-12)
    assert 0 <= float(found.term(now)) <= 1 + 1e-9


@pytest.mark.parametrize("averaged", [A, B])
def test_only_the_averaged_factor_is_moved(averaged: str) -> None:
    found, now = after_a_step(averaged)
    kept = B if averaged == A else A
    before = float(found.term(now))
    found.term(now).backward()
    assert now[averaged].grad is not None
    assert now[kept].grad is None
    with torch.no_grad():
        lower = now | {averaged: now[averaged] - 1e-3 * now[averaged].grad}
    assert float(found.term(lower)) < before


def test_a_pair_that_is_not_divided_and_a_first_step_give_nothing() -> None:
    both = {A: torch.ones(RANK, IN), B: torch.ones(OUT, RANK)}
    assert not begun(both, {A: "shared", B: "shared"}).pairs
    assert float(begun(both, {A: "shared", B: "personal"}).term(both)) == 0


def test_factors_that_start_at_zero_give_a_finite_gradient() -> None:
    start = {A: torch.randn(RANK, IN), B: torch.zeros(OUT, RANK)}
    found = begun(start, {A: "personal", B: "shared"})
    now = {name: (values + 0.1).requires_grad_() for name, values in start.items()}
    found.follow(now)
    found.term(now).backward()
    assert now[B].grad is not None
    assert torch.isfinite(now[B].grad).all()
