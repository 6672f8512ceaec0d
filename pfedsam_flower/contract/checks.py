"""Checks of one reply, alone, before anything is summed. What fails is left out by name."""

from collections.abc import Iterable

import numpy as np

from ..errors import ContractError
from .messages import RoundReply, RoundRequest
from .schema import Contract, digest
from .text import one_line

SHARED = "shared"
"""The one array name that a message may hold."""


def surplus_arrays(names: Iterable[str]) -> list[str]:
    """Names of arrays that may not travel (an L-MoE key, say); the caller drops and reports them."""
    return sorted(set(names) - {SHARED})


def check_reply(
    reply: RoundReply,
    request: RoundRequest,
    delta: np.ndarray | None,
    contract: Contract,
    largest_norm: float,
) -> None:
    """Accept a reply or say why not.

    Args:
        delta: float32 [n_values] for ``train``, None for ``close``.
        largest_norm: a delta with a larger Euclidean norm is refused.

    Raises:
        ContractError: PFS-401 other contract, PFS-402 other shape or dtype, PFS-403 not finite or too
            large, PFS-404 digest or norm do not fit, PFS-405 no samples, PFS-406 another round.
    """
    asked = (request.kind, request.round, request.broadcast)
    if (reply.kind, reply.round, reply.broadcast) != asked:
        raise ContractError("PFS-406", f"answers {reply.kind} of round {reply.round}, asked was {asked[:2]}")
    if reply.contract != contract.hash:
        raise ContractError("PFS-401", f"contract {one_line(reply.contract[:8])}, agreed {contract.hash[:8]}")
    if reply.kind == "close":
        return
    if reply.n_train_samples < 1 or reply.n_train_patients < 1:
        raise ContractError(
            "PFS-405", f"{reply.n_train_samples} training samples of {reply.n_train_patients} patients"
        )
    if delta is None:
        raise ContractError(
            "PFS-402", "no delta came with the reply", hint="the array must be named " + SHARED
        )
    contract.unpack(delta)
    if not np.isfinite(delta).all():
        n_bad = int(np.size(delta) - np.isfinite(delta).sum())
        raise ContractError("PFS-403", f"{n_bad} values are not finite", counts={"values": n_bad})
    norm = euclidean_norm(delta)
    if norm > largest_norm:
        raise ContractError(
            "PFS-403", f"the delta's norm is {norm:.3g}, the largest allowed {largest_norm:.3g}"
        )
    if digest(delta) != reply.delta or abs(norm - reply.delta_norm) > 1e-6 * norm:
        raise ContractError("PFS-404", "the delta is not the one whose digest and norm came with it")


def check_counts(reply: RoundReply, patients: int | None, samples: int | None) -> None:
    """Accept what a training reply says of the site's size, or say why not: the site counts for it.

    Args:
        patients: to train on, as the site said when it joined; None when it never did.
        samples: to train on, as its first reply of the run said; None before that.

    Raises:
        ContractError: PFS-408.
    """
    for name, said, before in (
        ("patients", reply.n_train_patients, patients),
        ("samples", reply.n_train_samples, reply.n_train_samples if samples is None else samples),
    ):
        if said != before:
            raise ContractError(
                "PFS-408",
                f"{said} training {name}, it said {'nothing' if before is None else before} before",
                hint="a site's split is fixed for a run: look at the site's data and split",
            )


def euclidean_norm(packed: np.ndarray) -> float:
    """Euclidean norm, summed in float64."""
    return float(np.sqrt(np.sum(np.square(packed, dtype=np.float64))))
