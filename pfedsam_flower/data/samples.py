"""A site's whole data: loaded for work, or looked over before work starts. The door of this room."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import PfedsamError
from ..settings.run import RunSettings
from ..settings.site import SiteSettings
from .cases import CaseData, Sample, load_case, samples_of
from .findings import Finding, of_error, refuse, some
from .fitting import fit, fit_target, unfit
from .labels import label_map, parse_labels
from .layouts import Case, find_cases, survey
from .readers import read_grid
from .splits import PARTS, Split, load_or_make_split, plan_split

__all__ = [
    "CaseData",
    "Counts",
    "Sample",
    "SiteData",
    "check_site",
    "fit",
    "fit_target",
    "label_map",
    "load_case",
    "load_site",
    "samples_of",
    "unfit",
]


@dataclass(frozen=True, eq=False)
class SiteData:
    """What a site trains, validates and tests on, in the order of case ids.

    Attributes:
        train: one sample per slice at the working size.
        validation, test: cases on their own grid.
        annotated: bool [K], which classes this site annotates.
    """

    train: list[Sample]
    validation: list[CaseData]
    test: list[CaseData]
    split: Split
    annotated: np.ndarray


@dataclass(frozen=True)
class Counts:
    """Patients of each part; all that a site says about its data."""

    train: int
    validation: int
    test: int


def load_site(
    site: SiteSettings,
    run: RunSettings,
    split_path: Path,
    *,
    parts: Collection[str] = PARTS,
    stretch: bool = False,
) -> SiteData:
    """The site's data; parts that are not asked for stay empty and are not read.

    Args:
        split_path: the recorded split; written on first use.
        stretch: training samples fill the square (see ``fit``); the backbone's pixel rule says so.

    Raises:
        SettingsError: PFS-102 labels or patient expression.
        DataError: PFS-201 … PFS-206.
        StoreError: PFS-604 when the split cannot be recorded.
    """
    labels = label_map(site.labels, run.classes)
    cases = find_cases(site)
    split = load_or_make_split(split_path, cases, site, run.seed)

    def load(part: str) -> list[CaseData]:
        patients = set(getattr(split, part)) if part in parts else set()
        return [load_case(case, labels, run.image) for case in cases if case.patient in patients]

    train = [sample for case in load("train") for sample in samples_of(case, run.image.size, stretch)]
    return SiteData(
        train, load("validation"), load("test"), split, np.array([bool(values) for values in labels])
    )


def check_site(site: SiteSettings, run: RunSettings, split_path: Path) -> Counts:
    """Patients per part, after a cheap look at everything; writes nothing.

    Settings, names, split and the headers of all files are checked; pixels of the first case only.

    Raises:
        DataError: with all findings at once, PFS-201 … PFS-206.
        SettingsError: PFS-102 when only the site's settings are wrong.
    """
    labels, problems = parse_labels(site.labels, run.classes)
    findings = [Finding("PFS-102", problem) for problem in problems]
    cases, more = survey(site)
    findings += more
    split = None
    if cases:
        try:
            split = plan_split(split_path, cases, site, run.seed)
        except PfedsamError as error:
            findings.append(of_error(error))
        headers = _check_grids(cases)
        findings += headers or ([] if problems else _check_first(cases[0], labels, run))
    refuse(findings, site.data)
    assert split is not None  # no cases and no finding cannot be
    return Counts(len(split.train), len(split.validation), len(split.test))


def _check_first(case: Case, labels: tuple[frozenset[int], ...], run: RunSettings) -> list[Finding]:
    try:
        load_case(case, labels, run.image)
    except PfedsamError as error:
        return [of_error(error)]
    return []


def _check_grids(cases: list[Case]) -> list[Finding]:
    """Unreadable headers and pairs of different grids, each as one finding."""
    unreadable, different = [], []
    for case in cases:
        try:
            difference = read_grid(case.image).difference(read_grid(case.mask))
        except PfedsamError as error:
            unreadable.append(f"{Path(error.where).name}: {error.message}")
        else:
            if difference:
                different.append(f"{case.id}: {difference}")
    findings = []
    if unreadable:
        text = f"{len(unreadable)} cases have a file that cannot be read: {some(unreadable)}"
        findings.append(Finding("PFS-204", text, {"unreadable_cases": len(unreadable)}))
    if different:
        text = f"{len(different)} images have another grid than their masks: {some(different)}"
        findings.append(Finding("PFS-202", text, {"pairs_that_differ": len(different)}))
    return findings
