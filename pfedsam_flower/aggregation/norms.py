"""How far a site's change may go, measured by the others' of the same round (docs/decisions/0003)."""

from collections.abc import Mapping
from statistics import median

FACTOR = 6.0
"""So many times the median of the others' norms a delta may have. Honest ones have 1.3 times at most."""
CONSPICUOUS = 1 / 3
"""A norm above this share of its bound is spoken of, long before it is left out."""
HEAVY = 10.0
"""A site that counts for more than so many times the median of the others is spoken of."""


def norm_bounds(norms: Mapping[str, float], floor: float, ceiling: float) -> dict[str, float]:
    """The largest norm allowed to each site: ``FACTOR`` times the median of the others', floor to ceiling.

    A site has no part in its own bound, and the median of three others or more does not follow one of them.
    Of two others it is the mean: one that is too large widens the bound of the honest one and stands out
    itself. Nothing depends on the order of the replies.

    Args:
        norms: of all deltas of the round, by site.
        floor: no bound is lower, so that sites with tiny deltas cannot have an honest one left out.
        ceiling: no bound is higher; it is the bound of a site without others.
    """

    def bound(site: str) -> float:
        others = [norm for name, norm in norms.items() if name != site]
        return min(ceiling, max(floor, FACTOR * median(others))) if others else ceiling

    return {site: bound(site) for site in sorted(norms)}


def heavy(weights: Mapping[str, int]) -> dict[str, float]:
    """Of each site that nearly decides alone: how many times the median of the others it counts for."""
    found = {}
    for site in sorted(weights):
        others = [weight for name, weight in weights.items() if name != site]
        times = weights[site] / median(others) if others else 0.0
        if times > HEAVY:
            found[site] = times
    return found
