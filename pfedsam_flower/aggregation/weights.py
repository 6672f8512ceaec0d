"""What a site counts for in the weighted mean. Integers, so that no rounding enters."""

from collections.abc import Callable

from ..contract.messages import RoundReply

WEIGHTS: dict[str, Callable[[RoundReply], int]] = {
    "patients": lambda reply: reply.n_train_patients,
    "samples": lambda reply: reply.n_train_samples,
    "equal": lambda reply: 1,
}
