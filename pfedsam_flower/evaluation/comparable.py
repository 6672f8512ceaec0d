"""Which of many runs' scores can be compared, and one value per patient of those. Pure: no disk, no clock.

What the method that is asked about has been scored on is what counts: its patients, and the seeds with which
it has them all. The other rows must have the same, or they are incomplete, which is said.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from ..data.findings import some
from ..errors import SettingsError
from .statistics import Score

METRICS = ("dice", "hd95", "nsd")


@dataclass(frozen=True)
class PatientScore:
    """What one row, trained with one seed, scored on one class of one test patient.

    Attributes:
        row: of the comparison: a method and which of its models is meant.
        name: the class, which is annotated for this patient.
        dice: of the voxels of all the patient's cases together; None where the class is in neither mask.
        hd95, nsd: mean over the patient's cases where they are defined, else None.
        unit: of ``hd95`` and of the tolerance of ``nsd``, mm or pixel.
        empty: cases in whose reference the class is not. marked: of those, the ones with a mark.
    """

    row: str
    site: str
    patient: str
    name: str
    seed: int
    dice: float | None
    hd95: float | None = None
    nsd: float | None = None
    unit: str = ""
    empty: int = 0
    marked: int = 0

    @property
    def subject(self) -> tuple[str, str, str]:
        """Site, patient and class: what every row must be scored on alike."""
        return self.site, self.patient, self.name


def check(scores: Sequence[PatientScore]) -> None:
    """Refuses what no comparison can be made of.

    Raises:
        SettingsError: PFS-105, with all findings: no scores, one given twice or not finite.
    """
    found = [] if scores else ["there are no scores"]
    given = Counter((s.row, s.seed, s.subject) for s in scores)
    twice = [f"{row} {_said(subject)} seed {seed}" for (row, seed, subject), n in given.items() if n > 1]
    if twice:
        found.append(f"{len(twice)} scores are given more than once: {some(sorted(twice))}")
    wild = [
        f"{metric} of {s.row} {_said(s.subject)} seed {s.seed}"
        for s in scores
        for metric in METRICS
        if (value := getattr(s, metric)) is not None and not np.isfinite(value)
    ]
    if wild:
        found.append(f"{len(wild)} values are not finite (undefined is None): {some(wild)}")
    if found:
        raise SettingsError("PFS-105", "; ".join(found), hint="repeat the runs that they come from")


def counted(scores: Sequence[PatientScore], method: str) -> tuple[list[PatientScore], list[str]]:
    """The scores that count, and a sentence for each kind that does not.

    Those on what ``method`` was scored on, with the seeds with which it was scored on all of it (all its
    seeds when there is no such one). All scores when the method has none.
    """
    ours = [s for s in scores if s.row == method]
    if not ours:
        return list(scores), []
    subjects = {s.subject for s in ours}
    having = Counter(s.seed for s in ours)
    whole = {seed for seed, n in having.items() if n == len(subjects)} or set(having)
    others = sorted({_said(s.subject[:2]) for s in scores if s.subject not in subjects})
    unfinished = sorted({s.seed for s in scores} - whole)
    said = []
    if others:
        said.append(
            f"Preliminary: {method} is not yet scored on {len(others)} patients that other rows have been "
            f"scored on. They do not count here: {some(others)}."
        )
    if unfinished:
        said.append(f"Not counted, as {method} is not finished with it: seed {some(unfinished)}.")
    return [s for s in scores if s.subject in subjects and s.seed in whole], said


def lacking(scores: Sequence[PatientScore]) -> dict[str, str]:
    """By row, in order of appearance: what it lacks of the patients, classes and seeds of all rows, or ''."""
    given = {(s.row, s.seed, s.subject) for s in scores}
    subjects, seeds = sorted({s.subject for s in scores}), sorted({s.seed for s in scores})
    return {
        row: _lack([(seed, subject) for seed in seeds for subject in subjects
                    if (row, seed, subject) not in given], len(subjects), len(seeds))
        for row in dict.fromkeys(s.row for s in scores)
    }  # fmt: skip


def shared(scores: Iterable[PatientScore], rows: Sequence[str]) -> list[PatientScore]:
    """These rows' scores on what all of them have been scored on, with the same seed."""
    mine = [s for s in scores if s.row in rows]
    having = Counter((s.seed, s.subject) for s in mine)
    return [s for s in mine if having[s.seed, s.subject] == len(set(rows))]


def defined(scores: Sequence[PatientScore], metric: str) -> list[PatientScore]:
    """The scores of what has a value of this metric (one of ``METRICS``) in all rows and seeds.

    What is undefined for one is left out for all, so that all rows' means are of the same. With Dice the
    class is not in the reference then; who marked it nevertheless is seen in the share marked.
    """
    undefined = {s.subject for s in scores if getattr(s, metric) is None}
    return [s for s in scores if s.subject not in undefined]


def per_patient(scores: Iterable[PatientScore], metric: str = "dice") -> list[Score]:
    """One value per row, patient and seed: the mean over the patient's classes, which are all defined."""
    values: dict[tuple[str, str, str, int], list[float]] = defaultdict(list)
    for s in scores:
        values[s.row, s.site, s.patient, s.seed].append(getattr(s, metric))
    return [Score(*key, fmean(found)) for key, found in values.items()]


def over_seeds(scores: Iterable[Score]) -> list[Score]:
    """Seeds averaged per patient and called seed 0, as a table needs it whose patients differ in seeds."""
    values: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for s in scores:
        if s.value is not None:
            values[s.method, s.site, s.patient].append(s.value)
    return [Score(*key, 0, fmean(found)) for key, found in values.items()]


def _lack(missing: list[tuple[int, tuple[str, str, str]]], subjects: int, seeds: int) -> str:
    by_seed = Counter(seed for seed, _ in missing)
    whole = [seed for seed, n in by_seed.items() if n == subjects]
    rest = [f"{_said(subject)} seed {seed}" for seed, subject in missing if seed not in whole]
    texts = [f"seed {some(whole)}"] if whole else []
    if rest:
        of = subjects * (seeds - len(whole))
        texts.append(f"{len(rest)} of its {'other ' if whole else ''}{of} scores ({some(rest)})")
    return " and ".join(texts)


def _said(subject: Sequence[str]) -> str:
    return "/".join(subject)
