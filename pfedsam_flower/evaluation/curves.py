"""Values over the rounds of many runs → one line per row of a comparison. Pure: no disk, no clock."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean


@dataclass(frozen=True)
class CurvePoint:
    """Validation Dice in 0..1 of one site in one run, after so many completed rounds.

    Attributes:
        model: what was measured: global, personal or alone.
    """

    row: str
    site: str
    seed: int
    fold: int
    round: int
    model: str
    dice: float


@dataclass(frozen=True)
class Gate:
    """How evenly a site used its experts in one round: 1 all alike, 0 one alone; mean over the blocks."""

    row: str
    site: str
    seed: int
    fold: int
    round: int
    entropy: float


@dataclass(frozen=True)
class Curve:
    """One line of a plot.

    Attributes:
        row: of the comparison.
        name: the model (learning curves) or the site (gates).
        rounds, values: of the line, as many of one as of the other.
        dropped: rounds in which a site or a run has no value. They are not in the line: a mean over
            others than in the round before would rise or fall for that reason alone.
    """

    row: str
    name: str
    rounds: tuple[int, ...]
    values: tuple[float, ...]
    dropped: tuple[int, ...] = ()


def learning_curves(points: Iterable[CurvePoint]) -> list[Curve]:
    """Per row and model: mean over sites of each site's mean over its runs (seeds and folds)."""
    return _curves((p.row, p.model, (p.site, p.seed, p.fold), p.round, p.dice) for p in points)


def gate_curves(gates: Iterable[Gate]) -> list[Curve]:
    """Per row and site: mean over the site's runs (seeds and folds)."""
    return _curves((g.row, g.site, (g.site, g.seed, g.fold), g.round, g.entropy) for g in gates)


def _curves(points: Iterable[tuple[str, str, tuple[str, int, int], int, float]]) -> list[Curve]:
    """From (row, name, (site, seed, fold), round, value), in order of appearance."""
    lines: dict[tuple[str, str], dict[int, dict[tuple[str, int, int], float]]] = {}
    for row, name, source, number, value in points:
        lines.setdefault((row, name), {}).setdefault(number, {})[source] = value
    return [_curve(row, name, by_round) for (row, name), by_round in lines.items()]


def _curve(row: str, name: str, by_round: dict[int, dict[tuple[str, int, int], float]]) -> Curve:
    everybody = set().union(*by_round.values())
    complete = sorted(number for number, values in by_round.items() if set(values) == everybody)
    means = []
    for number in complete:
        by_site = defaultdict(list)
        for (site, _, _), value in by_round[number].items():
            by_site[site].append(value)
        means.append(fmean(fmean(values) for values in by_site.values()))
    return Curve(row, name, tuple(complete), tuple(means), tuple(sorted(set(by_round) - set(complete))))
