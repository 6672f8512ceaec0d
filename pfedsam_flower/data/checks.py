"""A site's data looked through as a whole: every case is read once, one in memory at a time."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import PfedsamError
from ..settings.run import ImageSettings, RunSettings
from ..settings.site import SiteSettings
from .account import Account
from .cases import CaseData, prepare, read_case
from .facts import CaseFacts, case_facts
from .findings import Finding, of_error
from .layouts import layout_of
from .patients import split_patients
from .samples import outline_of
from .splits import PARTS, Split

SEVERAL = 5
"""With fewer cases nothing is called unlike the others."""
FAR = 5.0
"""A case is unlike the others when it is so many robust standard deviations (1.4826 times the median
absolute deviation) from their median, and by more than the floor of ``_measures``."""
CLIPPED_SHARE = 0.02
"""So many values at the very top say that the image was cut at a window before."""
COVERED, IN_CASES = 0.95, 0.9
"""A class covers nearly all of every image: more than this share of the voxels in this share of the cases."""
NAMES_PATIENTS = ("manifest", "BIDS")
"""Layouts that say themselves who a case's patient is."""

Watch = Callable[[int, int, CaseData | None], None]


@dataclass(frozen=True)
class Examination:
    """What was found.

    Attributes:
        n_cases: cases of the layout, unreadable ones included.
        facts: of the cases that can be used, in order of id.
        classes: the federation's.
        annotated: which of them this site's labels name.
        patients: number by part of the split; empty when it cannot be split.
        account: what became of every file below the data folder; None for a manifest, which names its files.
    """

    n_cases: int
    facts: tuple[CaseFacts, ...]
    findings: tuple[Finding, ...]
    classes: tuple[str, ...]
    annotated: tuple[bool, ...]
    patients: dict[str, int]
    account: Account | None = None

    @property
    def errors(self) -> list[Finding]:
        """Findings with which the site cannot take part."""
        return [finding for finding in self.findings if finding.severity == "error"]

    @property
    def warnings(self) -> list[Finding]:
        """Findings that are worth a look."""
        return [finding for finding in self.findings if finding.severity == "warning"]


def examine(
    site: SiteSettings, run: RunSettings, split_path: Path, watch: Watch = lambda number, n, data: None
) -> Examination:
    """Read every case of a site and say what it is like and what is wrong; writes nothing.

    Args:
        split_path: the recorded split; where there is none, the split that would be made.
        watch: called after each case with its number, the number of cases and the case (None when it
            cannot be used).
    """
    outline = outline_of(site, run, split_path)
    labels, cases, split = outline.labels, outline.cases, outline.split
    problems, findings = outline.labels_faulty, list(outline.findings)
    named = layout_of(site) in NAMES_PATIENTS
    findings += split_patients({case.id: case.patient for case in cases}, named=named)
    facts = []
    for number, case in enumerate(cases, 1):
        data = None
        try:
            raw = read_case(case, labels)
            data = prepare(raw, labels, run.image)
            facts.append(case_facts(raw, data))
            del raw
        except PfedsamError as error:
            # values without a name are the consequence of faulty labels, which were said once
            if not (problems and error.code == "PFS-205"):
                findings.append(of_error(error))
        watch(number, len(cases), data)
    annotated = labels.annotated
    if not problems:
        findings += _masks(facts, run.classes, annotated)
    findings += [
        *_duplicates(facts, split),
        *_spacings(facts),
        *_intensities(facts, run.image),
        *_unlike(facts),
    ]
    patients = {part: len(getattr(split, part)) for part in PARTS} if split else {}
    return Examination(
        len(cases), tuple(facts), tuple(findings), run.classes, annotated, patients, outline.account
    )


def repeated(facts: Iterable[CaseFacts]) -> list[list[CaseFacts]]:
    """Groups of cases whose images have the same content; images of one value (blank slices) do not count."""
    groups = defaultdict(list)
    for one in facts:
        if one.intensity[0] < one.intensity[-1]:
            groups[one.digest].append(one)
    return [group for group in groups.values() if len(group) > 1]


def _warning(code: str, text: str, where: str, hint: str) -> Finding:
    return Finding(code, text, {}, where, hint, "warning")


def _masks(facts: Sequence[CaseFacts], classes: Sequence[str], annotated: Sequence[bool]) -> list[Finding]:
    findings = []
    for one in facts:
        if not any(one.voxels):
            hint = "right when nothing is there to mark; else complete the mask"
            findings.append(_warning("PFS-211", "the mask is empty", one.mask, hint))
        findings += [
            _warning("PFS-211", f"{name} is one voxel", one.mask, "look whether it is a slip of the pen")
            for name, n in zip(classes, one.voxels, strict=True)
            if n == 1
        ]
    if facts and not any(any(one.voxels) for one in facts):
        hint = "check the setting labels, and that the masks are the right files"
        return [*findings, Finding("PFS-212", "no mask of this site marks anything", hint=hint)]
    for k, name in enumerate(classes):
        if facts and annotated[k] and not any(one.voxels[k] for one in facts):
            text = f"{name} occurs in no case"
            hint = (
                f"if this site does not annotate {name}, leave it out of the setting labels: it then counts"
            )
            findings.append(_warning("PFS-212", text, "", hint + " as not annotated, not as absent"))
    return findings + _covering(facts, classes)


def _covering(facts: Sequence[CaseFacts], classes: Sequence[str]) -> list[Finding]:
    """Classes that look like the background: where 255 is the background, or the two are swapped."""
    hint = (
        "look at the contact sheet: if the class and the background are swapped, swap their values in the "
        "setting labels; a class whose value is 0 needs masks written anew"
    )
    findings = []
    for k, name in enumerate(classes):
        full = sum(one.voxels[k] > COVERED * np.prod(one.shape) for one in facts)
        if facts and full >= IN_CASES * len(facts):
            text = (
                f"{name} covers more than {100 * COVERED:.0f} % of the voxels in {full} of {len(facts)} cases"
            )
            findings.append(_warning("PFS-218", text, "", hint))
    return findings


def _duplicates(facts: Sequence[CaseFacts], split: Split | None) -> list[Finding]:
    findings = []
    for group in repeated(facts):
        parts = {one.id: _part(one.patient, split) for one in group}
        first, *others = sorted(group, key=lambda one: parts[one.id] not in PARTS)  # in some part: first
        for other in others:
            here, there = parts[other.id], parts[first.id]
            if here != there and here in PARTS:
                text = f"the same image as {first.id} of another patient: this is in {here}, that in {there}"
                hint = "give both to one patient (setting patient) or remove one: no test on training images"
                findings.append(Finding("PFS-210", text, {}, other.image, hint))
            else:
                text, hint = f"the same image as {first.id}", "remove one of them, or it counts twice"
                findings.append(_warning("PFS-210", text, other.image, hint))
    return findings


def _part(patient: str, split: Split | None) -> str:
    return next((part for part in PARTS if split and patient in getattr(split, part)), "no part of the split")


def _spacings(facts: Sequence[CaseFacts]) -> list[Finding]:
    """Pictures know no spacing, and need none; a volume, or one file among others, has lost it."""
    some_know = any(one.spacing_mm for one in facts)
    hint = "distances will be in pixels; export it in a format that keeps the spacing"
    return [
        _warning("PFS-214", "the spacing is not known", one.image, hint)
        for one in facts
        if one.spacing_mm is None and (some_know or one.shape[0] > 1)
    ]


def _intensities(facts: Sequence[CaseFacts], settings: ImageSettings) -> list[Finding]:
    findings = []
    for one in facts:
        least, low, _, high, largest = one.intensity
        if least == largest:
            text, hint = f"every value of the image is {least:g}", "look whether the export went wrong"
        elif settings.intensity == "window" and (high <= settings.window_low or low >= settings.window_high):
            text = f"its values ({low:g} to {high:g}) lie outside the window"
            hint = "the window is in Hounsfield units: export the image unscaled, or agree on another window"
        elif one.spacing_mm and one.at_top > CLIPPED_SHARE:  # photographs are often overexposed
            text = (
                f"{100 * one.at_top:.0f} % of its values are {largest:g}, the largest: as if cut at a window"
            )
            hint = "export the original values if you can"
        else:
            continue
        findings.append(_warning("PFS-215", text, one.image, hint))
    return findings


def _unlike(facts: Sequence[CaseFacts]) -> list[Finding]:
    """Cases far from the median of their site in spacing, size or intensity: one sentence each."""
    said: dict[str, list[str]] = defaultdict(list)
    for name, unit, values, floor, relative in _measures(facts):
        known = [(one, value) for one, value in zip(facts, values, strict=True) if value is not None]
        if len(known) < SEVERAL:
            continue
        numbers = np.array([value for _, value in known], np.float64)
        scale = np.log(np.maximum(numbers, 1e-12)) if relative else numbers
        away = np.abs(scale - np.median(scale))
        for (one, value), far in zip(known, away > max(FAR * 1.4826 * np.median(away), floor), strict=True):
            if far:
                said[one.image].append(
                    f"{name} {value:g}{unit}, the others' median is {np.median(numbers):g}{unit}"
                )
    hint = "look whether it is of another kind or wrongly exported"
    return [_warning("PFS-213", "; ".join(texts), image, hint) for image, texts in said.items()]


def _measures(
    facts: Sequence[CaseFacts],
) -> Iterable[tuple[str, str, list[float | None], float, bool]]:
    """Name, unit, value per case, smallest difference that counts, and whether that is a logarithm's."""
    for axis, name in enumerate(("between slices", "of rows", "of columns")):
        counts = [one.spacing_mm is not None and (axis > 0 or one.shape[0] > 1) for one in facts]
        spacing = [
            one.spacing_mm[axis] if one.spacing_mm and yes else None
            for one, yes in zip(facts, counts, strict=True)
        ]
        yield f"spacing {name}", " mm", spacing, np.log(1.5), True
    for axis, name in enumerate(("slices", "rows", "columns")):
        yield name, "", [float(one.shape[axis]) for one in facts], np.log(2.0), True
    widths = [one.intensity[3] - one.intensity[1] for one in facts]
    usual = float(np.median(widths)) if widths else 0.0
    yield "intensity range", "", [width if width > 0 else None for width in widths], np.log(4.0), True
    for place, name in ((1, "percentile 1 of intensity"), (3, "percentile 99 of intensity")):
        yield name, "", [one.intensity[place] for one in facts], 2 * usual, False
