"""How sure a mean over sites is: the bootstrap and the sign-flip test, patients within their sites.

Values come by site, float64 [patients]; results do not depend on the order of the sites.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

DRAWS = 10_000
"""Bootstrap samples."""
FLIPS = 99_999
"""Random sign patterns, where they cannot all be tried: the smallest p is 1 / 100,000."""
EXACT_PATIENTS = 16
"""Up to so many patients all 2^16 = 65,536 sign patterns are tried."""
CHUNK = 10_000


@dataclass(frozen=True)
class Interval:
    """Two-sided, at this level."""

    low: float
    high: float
    level: float = 0.95


@dataclass(frozen=True)
class SignFlipTest:
    """p is two-sided and never 0; exact when every sign pattern was tried."""

    p: float
    exact: bool
    patterns: int


def mean_over_sites(by_site: Mapping[str, np.ndarray]) -> float:
    """Mean of the sites' means."""
    return float(np.mean([by_site[site].mean() for site in sorted(by_site)]))


def bootstrap_interval(
    by_site: Mapping[str, np.ndarray], *, seed: int = 0, draws: int = DRAWS, level: float = 0.95
) -> Interval | None:
    """Percentile interval of the mean over sites, patients drawn with replacement within each site.

    n - 1 of a site's n patients are drawn, which gives their mean the variance s²/n; n would give
    (n - 1)/n of that and intervals that are too short where sites are small (Rao and Wu 1988, "Resampling
    inference with complex survey data", JASA 83). None where a site has one patient: it has no spread
    to draw from, and an interval without it would be too short.
    """
    if any(len(values) < 2 for values in by_site.values()):
        return None
    random = np.random.default_rng(seed)
    total = np.zeros(draws)
    for site in sorted(by_site):
        values = by_site[site]
        drawn = random.integers(0, len(values), (draws, len(values) - 1))
        total += values[drawn].mean(axis=1)
    tail = (1 - level) / 2
    low, high = np.quantile(total / len(by_site), [tail, 1 - tail])
    return Interval(float(low), float(high), level)


def sign_flip_test(
    differences: Mapping[str, np.ndarray], *, seed: int = 0, flips: int = FLIPS
) -> SignFlipTest:
    """Paired permutation test of a mean difference over sites of 0.

    If two methods are alike, each patient's difference could as well have had the other sign. Each pattern
    of signs gives a mean over sites; p is the share of patterns with one as far from 0 as what was found.
    The pattern that was found is one of them, so p is at least 2 / 2^n, or 1 / (flips + 1) when sampled.
    """
    n_sites = len(differences)
    weighted = np.concatenate([differences[s] / (n_sites * len(differences[s])) for s in sorted(differences)])
    n = len(weighted)
    # what is equal on paper must not differ by rounding
    bound = abs(weighted.sum()) - 1e-12 * np.abs(weighted).sum()
    if n <= EXACT_PATIENTS:
        patterns = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
        return SignFlipTest(_as_far(patterns, weighted, bound) / 2**n, True, 2**n)
    random = np.random.default_rng(seed)
    count = 1
    for start in range(0, flips, CHUNK):
        patterns = random.integers(0, 2, (min(CHUNK, flips - start), n), dtype=np.int8)
        count += _as_far(patterns, weighted, bound)
    return SignFlipTest(count / (flips + 1), False, flips)


def _as_far(patterns: np.ndarray, weighted: np.ndarray, bound: float) -> int:
    """How many of the patterns (0 or 1, [patterns, patients]) give a sum at least ``bound`` from 0."""
    return int((np.abs((1.0 - 2.0 * patterns) @ weighted) >= bound).sum())
