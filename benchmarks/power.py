"""How much the statistics of a comparison can see, by simulation of per-patient differences.

    python -m benchmarks.power power [--repeats 1000]
    python -m benchmarks.power coverage [--repeats 1000]

Power: how often the sign-flip test gives p <= 0.05 when one method truly gains this much at every site.
Coverage: how often an interval of 95 % holds the true gain, patients drawn n - 1 at a time (as the project
does), n at a time, and BCa on n (scipy.stats.bootstrap). No image and no model: the spread is put in, in
Dice points.
"""

import argparse
import json
import warnings
from collections.abc import Callable

import numpy as np
from scipy.stats import bootstrap

from pfedsam_flower.evaluation.resampling import bootstrap_interval, sign_flip_test

Sites = dict[str, np.ndarray]

SIZES = {
    "4 sites, 22 patients: one test part of lgg": (3, 9, 3, 7),
    "4 sites, 109 patients: all of lgg, by folds": (16, 45, 14, 34),
    **{f"4 sites, {n} patients: equal sites": (n // 4,) * 4 for n in (40, 80, 160, 320)},
}
SPREADS, GAINS = (2.0, 3.0, 6.0), (0.0, 0.5, 1.0, 2.0)
FLIPS, DRAWS = 999, 2000
SHAPES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": lambda random, n: random.standard_normal(n),
    "long tails (t, 3 degrees)": lambda random, n: random.standard_t(3, n) / np.sqrt(3),
    "skewed (exponential)": lambda random, n: random.exponential(1, n) - 1,
}
"""Mean 0, standard deviation 1."""


def draw(shape: str, sizes: tuple[int, ...], random: np.random.Generator) -> Sites:
    """Differences without a gain, standard deviation 1."""
    return {f"site {number}": SHAPES[shape](random, n) for number, n in enumerate(sizes)}


def power(sizes: tuple[int, ...], spread: float, gain: float, repeats: int) -> float:
    """Share of repetitions with p <= 0.05, differences normal."""
    random = np.random.default_rng(0)
    found = 0
    for repeat in range(repeats):
        differences = {s: gain + spread * v for s, v in draw("normal", sizes, random).items()}
        found += sign_flip_test(differences, seed=repeat, flips=FLIPS).p <= 0.05
    return found / repeats


def coverage(shape: str, sizes: tuple[int, ...], repeats: int) -> dict[str, float]:
    """Share of repetitions whose interval holds 0, the truth, by kind of interval."""
    random = np.random.default_rng(0)
    held = {"n - 1": 0, "n": 0, "BCa": 0}
    for repeat in range(repeats):
        values = draw(shape, sizes, random)
        ours = bootstrap_interval(values, seed=repeat, draws=DRAWS)
        assert ours is not None
        found = {"n - 1": (ours.low, ours.high)}
        for kind, method in (("n", "percentile"), ("BCa", "BCa")):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                theirs = bootstrap(
                    tuple(values.values()), _mean_of_means, n_resamples=DRAWS, method=method, rng=repeat
                ).confidence_interval
            found[kind] = (theirs.low, theirs.high)
        for kind, (low, high) in found.items():
            held[kind] += bool(low <= 0 <= high)
    return {kind: round(n / repeats, 3) for kind, n in held.items()}


def _mean_of_means(*sites: np.ndarray, axis: int = -1) -> np.ndarray:
    return sum(site.mean(axis=axis) for site in sites) / len(sites)


def main() -> None:
    """Print a JSON line per row."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("question", choices=("power", "coverage"))
    parser.add_argument("--repeats", type=int, default=1000)
    asked = parser.parse_args()
    if asked.question == "power":
        for name, sizes in SIZES.items():
            for spread in SPREADS:
                row = {f"gain {gain}": power(sizes, spread, gain, asked.repeats) for gain in GAINS}
                print(json.dumps({"patients": name, "spread": spread, **row}), flush=True)
    else:
        for name in list(SIZES)[:2]:
            for shape in SHAPES:
                row = coverage(shape, SIZES[name], asked.repeats)
                print(json.dumps({"patients": name, "differences": shape, **row}), flush=True)


if __name__ == "__main__":
    main()
