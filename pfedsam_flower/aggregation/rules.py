"""How the sites' deltas become one. NumPy only; every rule takes and returns packed arrays."""

from collections.abc import Callable, Mapping

import numpy as np


def weighted_mean(deltas: Mapping[str, np.ndarray], weights: Mapping[str, int]) -> np.ndarray:
    """sum_k n_k delta_k / sum_k n_k, in float64, in the order of site names, cast to float32 last.

    Neither the order of arrival nor the order of the mappings changes a bit of the result.

    Args:
        deltas: float32 [n_values] by site name; all of one shape, all finite (checked before).
        weights: positive integers by site name.

    Returns:
        float32 [n_values].

    Raises:
        ValueError: no deltas, other names in the weights, or a weight below 1.
    """
    if not deltas or set(deltas) != set(weights) or min(weights.values()) < 1:
        raise ValueError("weighted_mean needs deltas and a positive weight for each of them")
    total = np.zeros_like(next(iter(deltas.values())), dtype=np.float64)
    for site in sorted(deltas):
        total += np.float64(weights[site]) * deltas[site]
    return (total / sum(weights.values())).astype(np.float32)


RULES: dict[str, Callable[[Mapping[str, np.ndarray], Mapping[str, int]], np.ndarray]] = {
    "mean": weighted_mean,
}
