"""The numbers that a reply may hold beside its counts: one row each. What is in no row is dropped by name."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

MODELS = ("global", "personal", "alone")
"""The averaged model; with what the site keeps; trained at the site only."""
MIXES = ("deployed", "blend")
"""The mix that a site uses; that of the models which the federation made."""


@dataclass(frozen=True)
class Measure:
    """One number.

    Attributes:
        sentence: what it is.
        low, high: values outside are dropped, for they cannot be.
    """

    sentence: str
    low: float = 0.0
    high: float = math.inf


MEASURES: dict[str, Measure] = {
    "loss.global": Measure("mean task loss over the steps on what is shared"),
    "loss.local": Measure("mean task loss over the steps on what stays"),
    "loss.alone": Measure("mean task loss over the steps of the model trained at the site only"),
    "distillation.weight": Measure("weight of the distillation term", high=10.0),
    "gate.entropy": Measure("mean entropy of the experts' gates, nats"),
    **{f"validation.dice.{m}": Measure(f"Dice of {m} on the validation patients", high=1.0) for m in MODELS},
    **{f"mix.{m}": Measure(f"share of {m} in what the site uses", high=1.0) for m in MODELS},
    **{f"test.dice.{m}": Measure(f"Dice of {m} on the test patients", high=1.0) for m in (*MODELS, *MIXES)},
    **{f"test.marked.{m}": Measure(f"empty cases on which {m} marked something") for m in (*MODELS, *MIXES)},
    "test.empty": Measure("test cases and classes in which there is nothing to mark"),
    "test.undefined": Measure("test patients and classes whose Dice is not defined"),
    "test.cases": Measure("test cases"),
}


def agreed(metrics: Mapping[str, float]) -> tuple[dict[str, float], list[str]]:
    """(the numbers that have a row and a possible value, names of the others)."""
    kept = {
        name: value
        for name, value in metrics.items()
        if (row := MEASURES.get(name)) is not None and row.low <= value <= row.high
    }
    return kept, [name for name in metrics if name not in kept]
