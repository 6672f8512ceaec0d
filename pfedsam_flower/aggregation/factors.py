"""LoRA's pairs among the shared tensors: what averaging their factors costs, and their product instead.

Site k ends a round with B_k A_k. The mean of the products, M = Σ p_k B_k A_k, is not the product of the mean
factors B A: with dA_k = A_k - A and dB_k = B_k - B they differ by E = Σ p_k dB_k dA_k.
"""

from collections.abc import Mapping, Sequence

import numpy as np

Tensors = Sequence[tuple[str, tuple[int, ...]]]
SMALLEST_SINGULAR_VALUE = 1e-8


def pairs(tensors: Tensors) -> list[tuple[str, str]]:
    """Keys of A and B of every LoRA pair, in the contract's order."""
    keys = {key for key, _ in tensors}
    found = [(key, key[:-1] + "b") for key, _ in tensors if ".lora_" in key and key.endswith("_a")]
    return [(a, b) for a, b in found if b in keys]


def split(tensors: Tensors, packed: np.ndarray) -> dict[str, np.ndarray]:
    """The tensors of a packed array in float64, by key."""
    ends = np.cumsum([int(np.prod(shape)) for _, shape in tensors], dtype=int)
    parts = np.split(packed.astype(np.float64), ends)[:-1]  # what is behind the last end is empty
    return {key: part.reshape(shape) for (key, shape), part in zip(tensors, parts, strict=True)}


def factor_errors(
    tensors: Tensors, broadcast: np.ndarray, deltas: Mapping[str, np.ndarray], weights: Mapping[str, int]
) -> dict[str, float]:
    """‖E‖ / ‖M‖ (Frobenius) of each pair, by A's key: how far the factors' mean is from the products' mean.

    Pairs with M = 0 are left out. No matrix of the layer's own size is formed: ‖X Y‖² = Σ (XᵀX) ∘ (Y Yᵀ).

    Args:
        tensors: keys and shapes in packed order.
        broadcast, deltas: float32 [n_values]; by site name.
        weights: positive integers by site name.
    """
    found = {}
    for a, _, (shares, a_all, b_all) in _stacked(tensors, broadcast, deltas, weights):
        mean_a = np.einsum("k,kri->ri", shares, a_all)
        mean_b = np.einsum("k,kor->or", shares, b_all)
        whole = _norm_of_sum(shares, b_all, a_all)
        if whole > 0:
            found[a] = _norm_of_sum(shares, b_all - mean_b, a_all - mean_a) / whole
    return found


def product_factors(
    tensors: Tensors, broadcast: np.ndarray, deltas: Mapping[str, np.ndarray], weights: Mapping[str, int]
) -> dict[str, np.ndarray]:
    """Factors of the best rank-r approximation of M for every pair, float64 by key.

    Singular values through a QR core: with Bs = [√p_k B_k] = Q1 R1 and Asᵀ = [√p_k A_kᵀ] = Q2 R2,
    R1 R2ᵀ = U S Vᵀ and M = (Q1 U) S (Q2 V)ᵀ, at a cost of (D_out + D_in)(K r)². √S goes to either side, so
    both factors keep one size. Signs are fixed by the largest entry of each left vector. Where M is 0
    (no site has moved B yet) A stays the mean and B 0, or nothing could be learnt any more.
    """
    found = {}
    for a, b, (shares, a_all, b_all) in _stacked(tensors, broadcast, deltas, weights):
        rank = a_all.shape[1]
        roots = np.sqrt(shares)[:, None, None]
        left = np.concatenate(list(roots * b_all), axis=1)
        right = np.concatenate(list(roots * a_all), axis=0)
        q1, r1 = np.linalg.qr(left)
        q2, r2 = np.linalg.qr(right.T)
        u, s, vt = np.linalg.svd(r1 @ r2.T)
        if s[0] < SMALLEST_SINGULAR_VALUE:
            found[a], found[b] = np.einsum("k,kri->ri", shares, a_all), np.zeros(b_all.shape[1:])
            continue
        u, s, v = (q1 @ u)[:, :rank], s[:rank], (q2 @ vt.T)[:, :rank]
        columns = np.arange(u.shape[1])
        signs = np.sign(u[np.abs(u).argmax(axis=0), columns])
        root = np.sqrt(s) * signs
        new_b, new_a = np.zeros(b_all.shape[1:]), np.zeros(a_all.shape[1:])
        new_b[:, columns], new_a[columns] = u * root, (v * root).T
        found[a], found[b] = new_a, new_b
    return found


def residuals(
    tensors: Tensors, broadcast: np.ndarray, deltas: Mapping[str, np.ndarray], weights: Mapping[str, int]
) -> dict[str, np.ndarray]:
    """E = M - B A of every pair that has a residual matrix among the tensors, float64 by that matrix' key."""
    keys = {key for key, _ in tensors}
    found = {}
    for a, _, (shares, a_all, b_all) in _stacked(tensors, broadcast, deltas, weights):
        key = a.removesuffix("_a") + "_residual"
        if key in keys:
            mean_a = np.einsum("k,kri->ri", shares, a_all)
            mean_b = np.einsum("k,kor->or", shares, b_all)
            found[key] = np.einsum("k,kor,kri->oi", shares, b_all - mean_b, a_all - mean_a)
    return found


def _stacked(
    tensors: Tensors, broadcast: np.ndarray, deltas: Mapping[str, np.ndarray], weights: Mapping[str, int]
) -> list[tuple[str, str, tuple[np.ndarray, np.ndarray, np.ndarray]]]:
    """Per pair: keys of A and B; shares [K], every site's A [K, r, in] and B [K, out, r], sites by name."""
    sites = sorted(deltas)
    start, moved = split(tensors, broadcast), {site: split(tensors, deltas[site]) for site in sites}
    shares = np.array([weights[site] for site in sites], np.float64) / sum(weights[s] for s in sites)

    def of_all(key: str) -> np.ndarray:
        return np.stack([start[key] + moved[site][key] for site in sites])

    return [(a, b, (shares, of_all(a), of_all(b))) for a, b in pairs(tensors)]


def _norm_of_sum(shares: np.ndarray, b_all: np.ndarray, a_all: np.ndarray) -> float:
    """‖Σ p_k B_k A_k‖."""
    left = np.concatenate(list(b_all * shares[:, None, None]), axis=1)
    right = np.concatenate(list(a_all), axis=0)
    return float(np.sqrt(max(0.0, ((left.T @ left) * (right @ right.T)).sum())))
