"""Learning rates over a run, and how far a round's steps can carry the shared parameters. No torch."""

from collections.abc import Callable

from ..settings.run import RunSettings

Factor = Callable[[int], float]
"""Step of the phase, from 0 → what the learning rate is multiplied with."""


def steady(step: int) -> float:
    """A constant learning rate."""
    return 1.0


def falling(first: int, total: int) -> Factor:
    """1 over the first half of ``total`` steps, then falling in a line to a twentieth.

    Args:
        first: how many of them the phase's step 0 comes after.
    """
    return lambda step: min(1.0, max(0.05, 2 * (1 - (first + step) / max(1, total))))


def reach(run: RunSettings, number: int, n_values: int) -> float:
    """The norm of a round's delta, ``n_values`` values, when every step moves all of them the same way.

    A step of Adam moves a value by about its learning rate at most (Kingma and Ba 2015, section 2.1). Honest
    deltas stay below, for gradients change their signs (docs/decisions/0003).

    Args:
        number: of the round, from 1.
    """
    steps = run.training.global_steps
    falls = run.training.schedule == "falling"
    factor = falling((number - 1) * steps, run.rounds * steps) if falls else steady
    moved = run.training.learning_rate_shared * sum(map(factor, range(steps)))
    return float(moved * n_values**0.5)
