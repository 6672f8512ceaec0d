"""How the sites' deltas become one. NumPy only; every rule takes and returns packed arrays."""

from collections.abc import Callable, Mapping

import numpy as np

from ..contract.checks import euclidean_norm
from .factors import Tensors, product_factors, residuals, split

Rule = Callable[[Tensors, np.ndarray, Mapping[str, np.ndarray], Mapping[str, int]], np.ndarray]
"""(tensors in packed order, broadcast, deltas by site, weights by site) → the next shared parameters."""


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


def mean(
    tensors: Tensors, broadcast: np.ndarray, deltas: Mapping[str, np.ndarray], weights: Mapping[str, int]
) -> np.ndarray:
    """Broadcast + weighted mean, entry by entry, LoRA's factors like everything else (FedAvg, 1602.05629)."""
    return (broadcast.astype(np.float64) + weighted_mean(deltas, weights)).astype(np.float32)


def product(
    tensors: Tensors, broadcast: np.ndarray, deltas: Mapping[str, np.ndarray], weights: Mapping[str, int]
) -> np.ndarray:
    """As ``mean``, but each LoRA pair becomes the best rank-r pair of the mean product (FLAP-SAM, 2407.21739;
    FlexLoRA, 2402.11505).
    """
    shared = mean(tensors, broadcast, deltas, weights)
    return _with(tensors, shared, product_factors(tensors, broadcast, deltas, weights))


def residual(
    tensors: Tensors, broadcast: np.ndarray, deltas: Mapping[str, np.ndarray], weights: Mapping[str, int]
) -> np.ndarray:
    """As ``mean``, and what the mean factors leave out of the mean product is added to each pair's residual
    matrix, so that nothing is lost (FedEx-LoRA, 2410.09432). They travel: D_out x D_in more values per pair.
    """
    shared, before = mean(tensors, broadcast, deltas, weights), split(tensors, broadcast)
    left_out = residuals(tensors, broadcast, deltas, weights)
    return _with(tensors, shared, {key: before[key] + value for key, value in left_out.items()})


def middle(
    tensors: Tensors, broadcast: np.ndarray, deltas: Mapping[str, np.ndarray], weights: Mapping[str, int]
) -> np.ndarray:
    """Broadcast + median of the sites' values, entry by entry; every site counts for the same (1803.01498).

    Weights are a site's own word, so they have no part in it. As long as fewer than half of the sites are
    hostile, each entry stays within the honest ones.
    """
    return _added(broadcast, deltas, lambda ordered: np.median(ordered, axis=0))


def trimmed_mean(
    tensors: Tensors, broadcast: np.ndarray, deltas: Mapping[str, np.ndarray], weights: Mapping[str, int]
) -> np.ndarray:
    """As ``median``, with the mean of what is left without the smallest and largest values of each entry
    (1803.01498): a fifth of the sites at either end, rounded up, as many hostile ones as it bears.
    """
    cut = trimmed(len(deltas))
    return _added(broadcast, deltas, lambda ordered: ordered[cut : len(ordered) - cut].mean(axis=0))


def trimmed(n_sites: int) -> int:
    """How many values ``trimmed-mean`` leaves out at either end; none of two sites."""
    return min(-(-n_sites // 5), (n_sites - 1) // 2)


def clipped_mean(
    tensors: Tensors, broadcast: np.ndarray, deltas: Mapping[str, np.ndarray], weights: Mapping[str, int]
) -> np.ndarray:
    """As ``mean``, after deltas longer than the median norm were shortened to it (norm clipping, 1911.07963;
    at a quantile of the norms, 1905.03871). A site may still choose the direction, and what it counts for.

    Of an even number of sites the larger of the middle two norms is the median.
    """
    norms = {site: euclidean_norm(deltas[site]) for site in sorted(deltas)}
    limit = sorted(norms.values())[len(norms) // 2]
    clipped = {
        site: delta if norms[site] <= limit else delta.astype(np.float64) * (limit / norms[site])
        for site, delta in deltas.items()
    }
    return mean(tensors, broadcast, clipped, weights)


CHUNK = 2**20
"""Values of each site that are ordered at a time: all at once, in float64, may not fit into memory."""


def _added(
    broadcast: np.ndarray, deltas: Mapping[str, np.ndarray], reduce: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Broadcast + ``reduce`` of the sites' values, float64 [sites, values], each entry in ascending order."""
    shared = broadcast.astype(np.float64)
    for start in range(0, len(shared), CHUNK):
        part = np.stack([deltas[site][start : start + CHUNK] for site in sorted(deltas)]).astype(np.float64)
        shared[start : start + CHUNK] += reduce(np.sort(part, axis=0))
    return shared.astype(np.float32)


def _with(tensors: Tensors, packed: np.ndarray, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """``packed`` with other values, float64 by key, in the place of some of its tensors; it is changed."""
    start = 0
    for key, shape in tensors:
        size = int(np.prod(shape))
        if key in values:
            packed[start : start + size] = values[key].ravel()
        start += size
    return packed


RULES: dict[str, Rule] = {
    "mean": mean,
    "product": product,
    "residual": residual,
    "median": middle,
    "trimmed-mean": trimmed_mean,
    "clipped-mean": clipped_mean,
}

BEARS_A_HOSTILE_SITE = ("median", "trimmed-mean", "clipped-mean")
"""Rules that one site of three or more cannot lead astray; of two nobody knows who is right."""
UNWEIGHTED = ("median", "trimmed-mean")
"""Rules for which every site counts for the same."""
FEWEST = 3
"""Sites that a rule which bears a hostile one needs."""
