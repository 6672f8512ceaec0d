"""Scores of several methods on the same patients → means, intervals, tests. No image, no model, no disk.

One metric and one class at a time. The patient is the unit: seeds are averaged per patient first, for they
repeat the patient and add none. Every mean over sites gives each site the same weight, whatever its size.
``docs/reference/statistics.md`` says why it is done in this way.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..data.findings import some
from ..errors import SettingsError
from .resampling import Interval, bootstrap_interval, mean_over_sites, sign_flip_test


@dataclass(frozen=True)
class Score:
    """What one method, trained with one seed, scored on one patient; None where it is not defined."""

    method: str
    site: str
    patient: str
    seed: int
    value: float | None


@dataclass(frozen=True, eq=False)
class Table:
    """The same patients for every method, seeds averaged.

    Attributes:
        methods: the columns.
        values: float64 [patients, methods] by site; sites and patients in the order of their names. A site
            where nobody is left is not in it.
        undefined: by method, patients without a value in one of its seeds at least.
        left_out: (site, patient) that are undefined for one of the methods at least, and so left out for all.
    """

    methods: tuple[str, ...]
    values: dict[str, np.ndarray]
    undefined: dict[str, int]
    left_out: tuple[tuple[str, str], ...]

    @property
    def patients(self) -> int:
        """Patients of all sites that count."""
        return sum(len(rows) for rows in self.values.values())

    def of(self, method: str) -> dict[str, np.ndarray]:
        """A method's values by site, float64 [patients]."""
        column = self.methods.index(method)
        return {site: rows[:, column] for site, rows in self.values.items()}

    def gains(self, method: str, rival: str) -> dict[str, np.ndarray]:
        """``method`` minus ``rival`` by site, float64 [patients]."""
        ours, theirs = self.of(method), self.of(rival)
        return {site: ours[site] - theirs[site] for site in ours}


def make_table(scores: Iterable[Score], methods: Sequence[str]) -> Table:
    """The complete patients of the named methods; scores of other methods are not looked at.

    An undefined value leaves its patient out, counted. A value that is not there at all is another matter: a
    run is not finished or was lost, and a mean over what there is would compare different patients.

    Raises:
        SettingsError: PFS-105, with all findings: no methods, no scores, a patient that a method was not
            scored on in one of the seeds, a score given twice or not finite; nobody is left.
    """
    wanted = tuple(dict.fromkeys(methods))
    rows = [score for score in scores if score.method in wanted]
    _refuse(_findings(rows, wanted))
    of_patient: dict[tuple[str, str], dict[str, list[float | None]]] = defaultdict(dict)
    for row in sorted(rows, key=lambda row: (row.site, row.patient, row.seed)):
        of_patient[row.site, row.patient].setdefault(row.method, []).append(row.value)
    undefined = dict.fromkeys(wanted, 0)
    left_out, complete = [], defaultdict(list)
    for (site, patient), by_method in of_patient.items():
        missing = [method for method in wanted if None in by_method[method]]
        for method in missing:
            undefined[method] += 1
        if missing:
            left_out.append((site, patient))
        else:
            complete[site].append([np.mean(np.array(by_method[method], float)) for method in wanted])
    if not complete:
        _refuse([f"all {len(left_out)} patients are undefined for one of the methods"])
    values = {site: np.array(complete[site]) for site in complete}
    return Table(wanted, values, undefined, tuple(left_out))


@dataclass(frozen=True)
class Summary:
    """One method's row.

    Attributes:
        sites: mean over patients, by site.
        mean_over_sites, mean_over_patients: each site, each patient with the same weight.
        worst_site: its name.
        interval: of ``mean_over_sites``; None where a site has one patient.
        gains: by site, over the reference; empty without one.
        worst_gain: name of the site that gains least (loses most), '' without a reference.
    """

    method: str
    sites: dict[str, float]
    mean_over_sites: float
    mean_over_patients: float
    worst_site: str
    interval: Interval | None
    gains: dict[str, float]
    worst_gain: str


def summarise(
    table: Table, reference: str = "", *, larger_is_better: bool = True, seed: int = 0
) -> list[Summary]:
    """A row per method of the table.

    Args:
        reference: the method that gains are over, such as training alone.
        larger_is_better: True for Dice, False for distances; it decides what is worst, not the sign of gains.
        seed: of the intervals.

    Raises:
        SettingsError: PFS-105 when the reference is not in the table.
    """
    if reference and reference not in table.methods:
        _refuse([f"the reference {reference} is not in the table, which has {some(table.methods)}"])
    sign = 1 if larger_is_better else -1

    def worst(by_site: dict[str, float]) -> str:
        return min(by_site, key=lambda site: (sign * by_site[site], site), default="")

    rows = []
    for method in table.methods:
        values = table.of(method)
        sites = _means(values)
        gains = _means(table.gains(method, reference)) if reference else {}
        rows.append(
            Summary(
                method=method,
                sites=sites,
                mean_over_sites=mean_over_sites(values),
                mean_over_patients=float(np.concatenate(list(values.values())).mean()),
                worst_site=worst(sites),
                interval=bootstrap_interval(values, seed=seed),
                gains=gains,
                worst_gain=worst(gains),
            )
        )
    return rows


@dataclass(frozen=True)
class Comparison:
    """A method against one rival, on the patients that are complete for these two.

    Attributes:
        gains: mean of method minus rival over patients, by site.
        gain: mean of these over sites.
        spread: standard deviation of patients' differences around their site's mean; None if no site has two.
        interval: of ``gain``; None where a site has one patient.
        p: two-sided, of the sign-flip test. p_holm: corrected for the whole family of rivals.
        exact: every sign was tried, not a sample of them.
        patients: that count.
    """

    method: str
    rival: str
    gains: dict[str, float]
    gain: float
    spread: float | None
    interval: Interval | None
    p: float
    p_holm: float
    exact: bool
    patients: int


def compare(
    scores: Iterable[Score], method: str, rivals: Sequence[str], *, named: int | None = None, seed: int = 0
) -> list[Comparison]:
    """A method against each rival; name all rivals at once, for they are the family that Holm corrects for.

    Args:
        named: how many rivals the family has, those included that cannot be tested yet; None: these.

    Raises:
        SettingsError: PFS-105, see ``make_table``; also for a method that is its own rival.
    """
    family = list(dict.fromkeys(rivals))
    if method in family:
        _refuse([f"{method} cannot be its own rival"])
    rows = list(scores)
    tables = {rival: make_table(rows, (method, rival)) for rival in family}
    differences = {rival: tables[rival].gains(method, rival) for rival in family}
    tests = {rival: sign_flip_test(differences[rival], seed=seed) for rival in family}
    corrected = holm({rival: test.p for rival, test in tests.items()}, named)
    return [
        Comparison(
            method=method,
            rival=rival,
            gains=_means(differences[rival]),
            gain=mean_over_sites(differences[rival]),
            spread=_spread(differences[rival]),
            interval=bootstrap_interval(differences[rival], seed=seed),
            p=tests[rival].p,
            p_holm=corrected[rival],
            exact=tests[rival].exact,
            patients=tables[rival].patients,
        )
        for rival in family
    ]


def holm(p_values: Mapping[str, float], named: int | None = None) -> dict[str, float]:
    """Holm's step-down correction (Holm 1979), in the order given: all at most α hold together at level α.

    Args:
        named: tests of the family, when some of them have no p yet: these count as p = 1.
    """
    family = max(len(p_values), named or 0)
    corrected: dict[str, float] = {}
    so_far = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        so_far = max(so_far, min(1.0, (family - rank) * p_values[name]))
        corrected[name] = so_far
    return {name: corrected[name] for name in p_values}


def _means(by_site: Mapping[str, np.ndarray]) -> dict[str, float]:
    return {site: float(values.mean()) for site, values in by_site.items()}


def _spread(by_site: Mapping[str, np.ndarray]) -> float | None:
    """Pooled within sites, so that sites that differ in their gain do not count as noise."""
    freedom = sum(len(values) - 1 for values in by_site.values())
    if not freedom:
        return None
    return float(np.sqrt(sum(((v - v.mean()) ** 2).sum() for v in by_site.values()) / freedom))


def _findings(rows: list[Score], methods: tuple[str, ...]) -> list[str]:
    """What is wrong with the rows, one sentence each: they must be methods x patients x seeds, each once."""
    given = Counter((row.method, row.site, row.patient, row.seed) for row in rows)
    patients = sorted({(row.site, row.patient) for row in rows})
    seeds = sorted({row.seed for row in rows})
    found = [] if methods else ["no method is named"]
    for method in methods:
        missing = [
            f"{site}/{patient} seed {seed}"
            for site, patient in patients
            for seed in seeds
            if (method, site, patient, seed) not in given
        ]
        if not patients or len(missing) == len(patients) * len(seeds):
            found.append(f"{method} has no scores")
        elif missing:
            found.append(
                f"{method} has no score for {len(missing)} of its patients and seeds: {some(missing)}"
            )
    twice = [f"{m} {site}/{patient} seed {seed}" for (m, site, patient, seed), n in given.items() if n > 1]
    if twice:
        found.append(f"{len(twice)} scores are given more than once: {some(sorted(twice))}")
    wild = [
        f"{row.method} {row.site}/{row.patient} seed {row.seed}"
        for row in rows
        if row.value is not None and not np.isfinite(row.value)
    ]
    if wild:
        found.append(f"{len(wild)} scores are not finite (undefined is None): {some(sorted(wild))}")
    return found


def _refuse(findings: list[str]) -> None:
    if findings:
        raise SettingsError(
            "PFS-105",
            "; ".join(findings),
            hint="finish or repeat these runs, or name only methods and seeds that were run alike",
        )
