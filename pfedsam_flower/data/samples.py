"""A site's whole data: loaded for work, or looked over before work starts. The door of this room."""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np

from ..contract.software import software
from ..errors import PfedsamError
from ..settings.run import RunSettings
from ..settings.site import SiteSettings
from .account import Account
from .cache import Cache, Entry, Made, in_memory
from .cases import RESAMPLE, CaseData, Sample, Squares, load_case, samples_of, squares_of
from .findings import Finding, of_error, refuse, some
from .fitting import InputRule, fit, fit_target, input_rule, is_shrunk, unfit
from .labels import LabelMap, label_map, labels_of, site_labels
from .layouts import Case, find_cases, survey
from .pixels import Grid
from .planes import Slicing, onto
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

log = logging.getLogger(__name__)
ThingT = TypeVar("ThingT")


class Lazy(Sequence[ThingT]):
    """Things that are made each time they are asked for: no more of them are in memory than are in use."""

    def __init__(self, makers: Sequence[Callable[[], ThingT]]) -> None:
        self._makers = makers

    def __len__(self) -> int:
        return len(self._makers)

    @overload
    def __getitem__(self, place: int) -> ThingT: ...

    @overload
    def __getitem__(self, place: slice) -> "Lazy[ThingT]": ...

    def __getitem__(self, place: int | slice) -> "ThingT | Lazy[ThingT]":
        return Lazy(self._makers[place]) if isinstance(place, slice) else self._makers[place]()


@dataclass(frozen=True, eq=False)
class SiteData:
    """What a site trains, validates and tests on, in the order of case ids.

    Attributes:
        train: one sample per slice at the working size, mapped from disk when it is asked for.
        validation, test: cases on their own grid, likewise.
        annotated: bool [K], which classes this site annotates.
    """

    train: Sequence[Sample]
    validation: Sequence[CaseData]
    test: Sequence[CaseData]
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
    cache: Path | None = None,
) -> SiteData:
    """The site's data; parts that are not asked for stay empty and are not read.

    Args:
        split_path: the recorded split; written on first use.
        stretch: training samples fill the square (see ``fit``); the backbone's pixel rule says so.
        cache: folder of the prepared arrays; None: they stay in memory.

    Raises:
        SettingsError: PFS-102 labels or patient expression.
        DataError: PFS-201 … PFS-207.
        StoreError: PFS-604 when the split or prepared arrays cannot be written.
    """
    labels = labels_of(site, run.classes)
    cases = find_cases(site)
    split = load_or_make_split(split_path, cases, site, run.seed)
    rule = input_rule(run.image, stretch)
    shelf = None if cache is None else Cache(cache)

    def prepared(part: str, made: Callable[[CaseData], Made]) -> list[tuple[Case, Entry]]:
        patients = set(getattr(split, part)) if part in parts else set()
        depends_on = [software(), _libraries(), part == "train", run.image.model_dump(), stretch]
        depends_on.append([values.ranges for values in (labels.background, *labels.classes)])
        found = []
        for case in cases:
            if case.patient in patients:

                def make(case: Case = case) -> Made:
                    return made(load_case(case, labels, run.image))

                entry = in_memory(make()) if shelf is None else shelf.entry(case, depends_on, make)
                found.append((case, entry))
        return found

    train = prepared("train", lambda data: _as_squares(data, rule))
    validation, test = prepared("validation", _as_slices), prepared("test", _as_slices)
    if shelf is not None:
        shelf.close(cases)
    _say_shrunk([entry for _, entry in (*train, *validation, *test)], rule)
    samples = [
        partial(_sample, case, entry, place, rule.neighbours)
        for case, entry in train
        for place in range(entry.facts["shape"][0])
    ]
    return SiteData(
        Lazy(samples),
        Lazy([partial(_case_data, case, entry) for case, entry in validation]),
        Lazy([partial(_case_data, case, entry) for case, entry in test]),
        split,
        np.array(labels.annotated),
    )


def _as_slices(data: CaseData) -> Made:
    facts = {
        "shape": data.image.shape[:3],
        "annotated": data.annotated.tolist(),
        "spacing_mm": data.spacing_mm,
        "grid": asdict(data.grid),
        "slicing": asdict(data.slicing),
    }
    return {"image": data.image, "target": data.target}, facts


def _as_squares(data: CaseData, rule: InputRule) -> Made:
    squares = squares_of(data, rule)
    facts = _as_slices(data)[1] | {"valid": squares.valid}
    return {"image": squares.image, "target": squares.target}, facts


def _case_data(case: Case, entry: Entry) -> CaseData:
    facts, grid = entry.facts, entry.facts["grid"]
    return CaseData(
        case,
        entry.array("image"),
        entry.array("target"),
        np.array(facts["annotated"]),
        _numbers(facts["spacing_mm"]),
        Grid(tuple(grid["shape"]), _numbers(grid["spacing_mm"]), _numbers(grid["frame"]), grid["unit"]),
        Slicing(tuple(facts["slicing"]["axes"]), tuple(facts["slicing"]["flips"])),
    )


def _sample(case: Case, entry: Entry, place: int, neighbours: int) -> Sample:
    facts = entry.facts
    squares = Squares(
        case, entry.array("image"), entry.array("target"), np.array(facts["annotated"]), tuple(facts["valid"])
    )
    return squares.sample(place, neighbours)


def _numbers(values: list[float] | None) -> Any:
    return None if values is None else tuple(values)


def _libraries() -> list[str]:
    return [version(name) for name in ("numpy", "pillow", "tifffile", "imagecodecs", "SimpleITK")]


def _say_shrunk(entries: list[Entry], rule: InputRule) -> None:
    """One line for all cases whose slices do not fit the square at the working spacing."""
    shrunk = [
        entry
        for entry in entries
        if is_shrunk(entry.facts["shape"][1], entry.facts["shape"][2], rule, entry.facts["spacing_mm"])
    ]
    if shrunk:
        log.info(
            "the slices of %d of %d cases do not fit %d pixels at %g mm and are shrunk",
            len(shrunk),
            len(entries),
            rule.size,
            rule.spacing_mm,
        )


def check_site(site: SiteSettings, run: RunSettings, split_path: Path) -> Counts:
    """Patients per part, after a cheap look at everything; writes nothing.

    Settings, names, split and the headers of all files are checked; pixels of the first case only.

    Raises:
        DataError: with all findings at once, PFS-201 … PFS-206.
        SettingsError: PFS-102 when only the site's settings are wrong.
    """
    outline = outline_of(site, run, split_path)
    findings, split = list(outline.findings), outline.split
    if outline.cases:
        headers = _check_grids(outline.cases)
        faulty = headers or outline.labels_faulty
        findings += headers if faulty else _check_first(outline.cases[0], outline.labels, run)
    refuse(findings, site.data)
    for finding in findings:
        log.warning("%s: %s %s", site.site, finding.code, finding.sentence())
    assert split is not None  # no cases and no finding cannot be
    return Counts(len(split.train), len(split.validation), len(split.test))


@dataclass(frozen=True, eq=False)
class Outline:
    """A site's data before any image is read.

    Attributes:
        labels_faulty: ``labels`` are not to be relied on; ``findings`` say why.
        split: the recorded one or the one that would be made; None when there is none.
        account: what became of every file; None where nothing could be looked through.
    """

    labels: LabelMap
    labels_faulty: bool
    cases: list[Case]
    split: Split | None
    findings: list[Finding]
    account: Account | None


def outline_of(site: SiteSettings, run: RunSettings, split_path: Path) -> Outline:
    """Labels, cases and split of a site with everything that is wrong with them; writes nothing."""
    labels, problems = site_labels(site, run.classes)
    cases, more, account = survey(site)
    findings = [*(Finding("PFS-102", problem) for problem in problems), *more]
    split = None
    if cases:
        try:
            split = plan_split(split_path, cases, site, run.seed)
        except PfedsamError as error:
            findings.append(of_error(error))
    return Outline(labels, bool(problems), cases, split, findings, account)


def _check_first(case: Case, labels: LabelMap, run: RunSettings) -> list[Finding]:
    try:
        load_case(case, labels, run.image)
    except PfedsamError as error:
        return [of_error(error)]
    return []


def _check_grids(cases: list[Case]) -> list[Finding]:
    """Unreadable headers, files that are no volume and pairs of different grids, each as one finding."""
    unreadable, unusable, different = [], [], []
    for case in cases:
        try:
            _, difference = onto(read_grid(case.image), read_grid(case.mask))
        except PfedsamError as error:
            told = f"{Path(error.where).name}: {error.message}"
            if error.code == "PFS-207":  # its hint lists what there is, the series of a folder for example
                unusable.append(f"{told}; {error.hint}")
            else:
                unreadable.append(told)
        else:
            if difference:
                different.append(f"{case.id}: {difference}")
    findings = []
    if unreadable:
        text = f"{len(unreadable)} cases have a file that cannot be read: {some(unreadable)}"
        findings.append(Finding("PFS-204", text, {"unreadable_cases": len(unreadable)}))
    if unusable:
        text = f"{len(unusable)} cases have a file that is not one regular volume: {some(unusable)}"
        findings.append(Finding("PFS-207", text, {"unusable_cases": len(unusable)}))
    if different:
        text = f"{len(different)} images have another grid than their masks: {some(different)}"
        findings.append(Finding("PFS-202", text, {"pairs_that_differ": len(different)}, hint=RESAMPLE))
    return findings
