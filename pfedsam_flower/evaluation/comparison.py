"""Scores, costs and curves of many runs → what a report on them says. Pure: no disk, no clock, no picture.

``docs/reference/statistics.md`` says how means, intervals and tests are made. Rows that were not scored on
the same patients with the same seeds as the method are described on what they share, never tested.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..data.findings import some
from ..errors import SettingsError
from . import statistics
from .comparable import PatientScore, check, counted, defined, lacking, per_patient, shared
from .curves import Curve, CurvePoint, Gate, gate_curves, learning_curves
from .resampling import Interval, bootstrap_interval, mean_over_sites
from .row_results import RowResult, RunFacts, row_results, table_of
from .statistics import Score, make_table


@dataclass(frozen=True)
class SharedGain:
    """The method minus a rival that cannot be tested, on what both were scored on.

    Attributes:
        lacks: why: what is missing.
        gain: mean over sites, None when they share nothing.
        patients, seeds: that they share.
    """

    rival: str
    lacks: str
    gain: float | None = None
    interval: Interval | None = None
    patients: int = 0
    seeds: tuple[int, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """All that a report says.

    Attributes:
        against: the method against each complete rival, Holm's correction over all that were named.
        notes: sentences: the caller's, then what does not count or was left out.
        method, reference: names of rows. seeds, folds: that count. patients: that count, by site.
        by_seed: gain of the method over each tested rival (mean over sites) with each seed by itself.
        untested: the rivals that are incomplete.
        curves: validation Dice over rounds, mean over sites. gates: evenness of the experts' use, by site.
    """

    title: str
    classes: tuple[str, ...]
    rows: list[RowResult]
    against: list[statistics.Comparison]
    notes: list[str]
    method: str
    reference: str
    seeds: tuple[int, ...]
    folds: tuple[int, ...]
    patients: dict[str, int]
    by_seed: dict[str, dict[int, float]]
    untested: list[SharedGain]
    curves: list[Curve]
    gates: list[Curve]


def compare_rows(
    scores: Iterable[PatientScore],
    facts: Iterable[RunFacts] = (),
    curves: Iterable[CurvePoint] = (),
    *,
    gates: Iterable[Gate] = (),
    method: str = "pfedsam",
    reference: str = "local",
    rivals: Sequence[str] | None = None,
    title: str = "",
    notes: Iterable[str] = (),
    seed: int = 0,
) -> Comparison:
    """The comparison of all rows in ``scores``, in their order of appearance.

    Args:
        scores: one per row, site, patient, annotated class and seed, of every test patient once.
        facts: one per row and run; runs with seeds that do not count are left out.
        method: the row that is tested. reference: the row that gains are over.
        rivals: what the method is tested against, the family of Holm's correction; all other rows if None.
        title, notes: taken into the report, such as the command, hardware and budget.
        seed: of intervals and tests.

    Raises:
        SettingsError: PFS-105: there are no scores, one is given twice or not finite, no patient is defined.
    """
    given = list(scores)
    check(given)
    count, said = counted(given, method)
    lacks = lacking(count)
    dice = defined(count, "dice")
    if not dice:
        raise SettingsError("PFS-105", "Dice is undefined for every patient", hint="look at the masks")
    seeds = tuple(sorted({s.seed for s in count}))
    costs = [fact for fact in facts if fact.seed in seeds]
    rows = row_results(count, lacks, reference, costs, seed)
    names = list(dict.fromkeys(s.row for s in given))
    silent = set(names) - {result.row for result in rows}
    said += [f"{row} has no score that counts." for row in names if row in silent]
    said += _notes(count, dice, lacks, reference)
    named = [row for row in dict.fromkeys(names if rivals is None else rivals) if row != method]
    tested = [row for row in named if method in lacks and not lacks[method] and lacks.get(row) == ""]
    values = [s for s in per_patient(dice) if s.method in (method, *tested)]
    lines = learning_curves(point for point in curves if point.seed in seeds)
    entropies = gate_curves(gate for gate in gates if gate.seed in seeds)
    said += [
        f"Not in the line of {c.row}, {c.name}, as a site or a run has no value: round {some(c.dropped)}."
        for c in (*lines, *entropies)
        if c.dropped
    ]
    return Comparison(
        title=title,
        classes=tuple(dict.fromkeys(s.name for s in count)),
        rows=rows,
        against=statistics.compare(values, method, tested, named=len(named), seed=seed) if tested else [],
        notes=[*notes, *said],
        method=method,
        reference=reference,
        seeds=seeds,
        folds=tuple(sorted({fact.fold for fact in costs})),
        patients=dict(sorted(Counter(site for site, _ in {(s.site, s.patient) for s in dice}).items())),
        by_seed={rival: {n: _gain_with(values, method, rival, n) for n in seeds} for rival in tested},
        untested=[_untested(dice, method, row, lacks, seed) for row in named if row not in tested],
        curves=lines,
        gates=entropies,
    )


def _notes(
    count: list[PatientScore], dice: list[PatientScore], lacks: dict[str, str], reference: str
) -> list[str]:
    """What is missing or left out, a sentence each."""
    said = [f"Incomplete: {row} lacks {lack}." for row, lack in lacks.items() if lack]
    if reference not in lacks:
        said.append(f"No gains: {reference} is not among the rows.")
    left = sorted({"/".join(s.subject) for s in count} - {"/".join(s.subject) for s in dice})
    if left:
        said.append(
            f"Left out of Dice in all rows, as it is in no mask of one of them: {len(left)} of "
            f"{len({s.subject for s in count})} patients x classes ({some(left)})."
        )
    return said


def _gain_with(values: list[Score], method: str, rival: str, seed: int) -> float:
    table = make_table([s for s in values if s.seed == seed], (method, rival))
    return mean_over_sites(table.gains(method, rival))


def _untested(
    scores: list[PatientScore], method: str, rival: str, lacks: dict[str, str], seed: int
) -> SharedGain:
    missing = lacks.get(rival, "all scores") or f"{method} lacks {lacks.get(method, 'all scores')}"
    table = table_of(scores, method, rival)
    if table is None:
        return SharedGain(rival, missing)
    gains = table.gains(method, rival)
    seeds = tuple(sorted({s.seed for s in shared(scores, (method, rival))}))
    return SharedGain(
        rival, missing, mean_over_sites(gains), bootstrap_interval(gains, seed=seed), table.patients, seeds
    )
