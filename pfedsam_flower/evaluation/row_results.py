"""One row of a comparison: its means, gains, distances and costs. Pure: no disk, no clock."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from statistics import fmean

import numpy as np

from .comparable import PatientScore, defined, over_seeds, per_patient, shared
from .resampling import Interval, bootstrap_interval, mean_over_sites
from .statistics import Summary, Table, make_table, summarise


@dataclass(frozen=True)
class RunFacts:
    """What one run of a row cost; None where it was not measured.

    Attributes:
        trained: parameters that a site trains. shared, personal: how many travel, how many stay.
        bytes_up, bytes_down: per site and round, as measured on the wire.
        seconds: of the whole run. peak_memory_mb: of the process.
        global_steps, personal_steps, alone_steps: optimiser steps per site in the whole run.
    """

    row: str
    seed: int
    fold: int
    trained: float | None = None
    shared: float | None = None
    personal: float | None = None
    bytes_up: float | None = None
    bytes_down: float | None = None
    seconds: float | None = None
    peak_memory_mb: float | None = None
    global_steps: float | None = None
    personal_steps: float | None = None
    alone_steps: float | None = None


COSTS = tuple(field.name for field in fields(RunFacts) if field.name not in ("row", "seed", "fold"))


@dataclass(frozen=True)
class Gain:
    """Dice over the reference: mean over sites and its interval; intervals by site (None: one patient)."""

    mean: float
    interval: Interval | None
    sites: dict[str, Interval | None]


@dataclass(frozen=True)
class Surface:
    """Distances, means over sites, on the patients that have them in every complete row with distances.

    Attributes:
        hd95: in ``unit``: mm, pixel, or mixed, which has no mean; '' when there is no patient.
        nsd: in 0..1. Both None without a mean.
        patients: that the means are of.
        undefined: the row's own scores without a distance, of ``scores`` scores (patients x classes x seeds).
    """

    hd95: float | None
    nsd: float | None
    unit: str
    patients: int
    undefined: int
    scores: int


@dataclass(frozen=True)
class RowResult:
    """One row of the comparison.

    Attributes:
        lacks: what it was not scored on, as text; '' for a complete row. Means of an incomplete row are of
            other patients or seeds than those of the other rows.
        dice: means by site and over sites, classes averaged per patient; gains over the reference on what
            both were scored on.
        intervals: of ``dice.sites``; None where a site has one patient.
        gain: None where there is nothing in common with the reference.
        classes: Dice of each class, where there are several.
        surface: None without distances and for incomplete rows.
        undefined: its own patients x classes without a Dice with one of the seeds; they count for no row.
        empty: cases x classes without reference. marked: share of them with a mark, None without any.
        costs: means over the runs, by the names of ``COSTS``; what was never measured is absent.
        runs: behind the costs.
    """

    row: str
    lacks: str
    dice: Summary
    intervals: dict[str, Interval | None]
    gain: Gain | None
    classes: dict[str, Summary]
    surface: Surface | None
    undefined: int
    empty: int
    marked: float | None
    costs: dict[str, float]
    runs: int


def row_results(
    scores: Sequence[PatientScore],
    lacks: dict[str, str],
    reference: str,
    facts: Sequence[RunFacts],
    seed: int,
) -> list[RowResult]:
    """One per row of ``lacks`` (see ``lacking``) for which Dice is defined anywhere.

    Args:
        scores: all that count. facts: of the runs that count. seed: of the intervals.
        reference: the row that gains are over; it need not be there.
    """
    dice = defined(scores, "dice")
    surfaces = _surfaces([s for s in scores if not lacks[s.row]])
    classes = list(dict.fromkeys(s.name for s in dice))
    rows = []
    for row, lack in lacks.items():
        own, pair = table_of(dice, row), table_of(dice, row, reference)
        if own is None:
            continue
        of_class = {c: [s for s in dice if s.name == c] for c in classes if len(classes) > 1}
        tables = {c: (table_of(some, row), table_of(some, row, reference)) for c, some in of_class.items()}
        mine = [s for s in scores if s.row == row]
        cases = sum(s.empty for s in mine)
        runs = [fact for fact in facts if fact.row == row]
        rows.append(
            RowResult(
                row=row,
                lacks=lack,
                dice=_summary(own, pair, reference, seed),
                intervals=_site_intervals(own.of(row), seed),
                gain=_gain(pair.gains(row, reference), seed) if pair else None,
                classes={c: _summary(one, two, reference, seed) for c, (one, two) in tables.items() if one},
                surface=surfaces.get(row),
                undefined=len({s.subject for s in mine if s.dice is None}),
                empty=sum({s.subject: s.empty for s in mine}.values()),
                marked=sum(s.marked for s in mine) / cases if cases else None,
                costs=_mean_costs(runs),
                runs=len(runs),
            )
        )
    return rows


def table_of(scores: Sequence[PatientScore], *rows: str) -> Table | None:
    """Dice of what these rows were all scored on, seeds averaged; None when that is nothing."""
    both = over_seeds(per_patient(shared(scores, rows)))
    return make_table(both, rows) if both else None


def _summary(own: Table, pair: Table | None, reference: str, seed: int) -> Summary:
    """Means of all that the row was scored on, gains on what it shares with the reference."""
    summary = summarise(own, seed=seed)[0]
    if pair is None:
        return summary
    beside = summarise(pair, reference, seed=seed)[0]
    return replace(summary, gains=beside.gains, worst_gain=beside.worst_gain)


def _site_intervals(by_site: dict[str, np.ndarray], seed: int) -> dict[str, Interval | None]:
    return {site: bootstrap_interval({site: values}, seed=seed) for site, values in by_site.items()}


def _gain(gains: dict[str, np.ndarray], seed: int) -> Gain:
    return Gain(mean_over_sites(gains), bootstrap_interval(gains, seed=seed), _site_intervals(gains, seed))


def _surfaces(scores: list[PatientScore]) -> dict[str, Surface]:
    """By row; {} when nobody has a distance. A row without any does not take them from the others."""
    having = {s.row for s in scores if s.hd95 is not None}
    if not having:
        return {}
    distances = {m: defined([s for s in scores if s.row in having], m) for m in ("hd95", "nsd")}
    units = {s.unit for s in distances["hd95"]}
    unit = units.pop() if len(units) == 1 else "mixed" if units else ""
    result = {}
    for row in dict.fromkeys(s.row for s in scores):
        own = [s for s in scores if s.row == row]
        means = {
            metric: mean_over_sites(make_table(over_seeds(per_patient(mine, metric)), (row,)).of(row))
            for metric, rest in distances.items()
            if (mine := [s for s in rest if s.row == row]) and unit != "mixed"
        }
        result[row] = Surface(
            hd95=means.get("hd95"),
            nsd=means.get("nsd"),
            unit=unit,
            patients=len({(s.site, s.patient) for s in distances["hd95"]}),
            undefined=sum(s.hd95 is None for s in own),
            scores=len(own),
        )
    return result


def _mean_costs(runs: list[RunFacts]) -> dict[str, float]:
    measured = {name: [v for run in runs if (v := getattr(run, name)) is not None] for name in COSTS}
    return {name: fmean(values) for name, values in measured.items() if values}
