"""Names that look like several of one patient: slices, sides, visits, or spellings of one name.

Only names are looked at. What is found is a question to the person who knows: nothing is grouped unasked.
"""

import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from os.path import commonprefix

from .findings import Finding, some

EXAMPLES = 3

COUNTED = "slice|slc|sl|s|z|frame|fr|session|sess|ses|visit|vis|v|timepoint|time|tp|t|day|d|week|month"
"""What is counted within one patient: the word before the number."""
LOOSE = (
    "image|img|im|i|scan|series|ser|run|volume|vol|exam|study|node|nodule|lesion|roi|slide|section|core|stack|eye|"
    "patch|tile|crop|view|part|phase|echo|acq|rep|aug|rot|copy"
)
"""What is counted within one patient or within a collection."""
SIDES = "left|right|l|r|od|os|links|rechts|lt|rt"
KINDS = (
    "t1|t1w|t1c|t1ce|t1gd|t1n|t2|t2w|t2f|flair|dwi|adc|swi|pd|pre|post|baseline|followup|fu|arterial|venous|"
    "ed|es|2ch|3ch|4ch|ct|mr|mri|pet|cc|mlo|ap|pa|lat|lateral|axial|coronal|sagittal|flip|flipped|mirrored|hflip|vflip"
)
"""Contrasts, times, views and copies."""
NUMBERED = r"(.*\d[0-9A-Za-z]*)"
"""A stem whose last part holds a digit, as patients' names do."""
COLLECTION = re.compile(
    r"(?i)(^|[-_ .])(site|cent(er|re)|hospital|clinic|institution|scanner|batch|fold|set|group|cohort|study|"
    r"task|train|training|test|testing|val|validation)[-_ .]?[a-z]?[0-9]*$"
)
"""A stem that names a collection and no patient: ``site1``, ``train``."""
DATED = re.compile(r"^\D*(19|20)[0-9]{2}([01][0-9][0-3][0-9])?$")
"""A stem that is a word and a year or a day, as cameras name pictures: the day's pictures are counted."""


@dataclass(frozen=True)
class Mark:
    """One kind of ending (or beginning) that tells things of one patient apart.

    Attributes:
        pattern: groups 1 and 2 are the stem and the mark; or the mark and the stem, where ``ahead``.
        plain: it is a number alone, which counts patients as well as their slices.
    """

    pattern: re.Pattern[str]
    ahead: bool = False
    plain: bool = False


TABLE = (
    Mark(re.compile(r"(.+?)([-_ .]\d{4}[-_]\d\d[-_]\d\d)")),
    Mark(re.compile(rf"(?i)(.+?)([-_ .](?:{COUNTED})[-_ .]?\d+)")),
    Mark(re.compile(rf"(?i){NUMBERED}([-_ .](?:{LOOSE})[-_ .]?\d+)")),
    Mark(re.compile(r"(.*\d)((?:sl|s|z|S|Z)\d+)")),
    Mark(re.compile(rf"(?i)(.+?)([-_ .](?:{SIDES}|{KINDS}))")),
    Mark(re.compile(r"(.*\d)([LR]|OD|OS)")),
    Mark(re.compile(r"(.*\d)([A-Fa-f])")),
    Mark(re.compile(rf"{NUMBERED}( ?\(\d+\))")),
    Mark(re.compile(r"(.+?)([-_ .]\d+[-_ ]?of[-_ ]?\d+)")),
    Mark(
        re.compile(rf"(?i)((?:{SIDES}|(?:slice|frame|scan|view|tile|patch)[-_ .]?\d+)[-_ .])(.+)"), ahead=True
    ),
    Mark(re.compile(rf"{NUMBERED}([-_#]\d+)"), plain=True),
)
DEEPEST = 3
"""So many marks may stand one after the other: ``p1_L_visit2_s03``."""


@dataclass(frozen=True)
class Grouping:
    """One reading of the names.

    Attributes:
        expression: for the setting ``patient``.
        patients: by name, as the expression gives them.
    """

    expression: str
    patients: dict[str, str]


def split_patients(patients: Mapping[str, str], *, named: bool) -> list[Finding]:
    """Warnings about patients that look like one: PFS-217.

    Args:
        patients: by the names of cases, as the site's settings give them.
        named: a manifest or BIDS names them, so that only spellings of one name are in doubt.
    """
    findings = _spellings(patients.values(), named)
    reading = None if named else _reading(patients)
    if reading:
        groups: dict[str, list[str]] = defaultdict(list)
        for name, patient in reading.patients.items():
            groups[patient].append(name)
        torn = [names for names in groups.values() if len({patients[name] for name in names}) > 1]
        apart = len(set(patients.values()))
        text = (
            f"{len(patients)} names are {apart} patients, and would be {len(groups)}: "
            + "; ".join(some(names[:EXAMPLES]) + " look like one" for names in torn[:EXAMPLES])
            + (f"; and {len(torn) - EXAMPLES} more" if len(torn) > EXAMPLES else "")
        )
        findings.append(_warning(text, f"if so, set {_setting(reading.expression)}"))
    return findings


def _warning(text: str, hint: str) -> Finding:
    reason = "; one patient must not lie in two parts of the split"
    return Finding("PFS-217", text, {}, "", hint + reason, "warning")


def _setting(expression: str) -> str:
    """The line of TOML; the text within the quotes is what ``--patient`` takes."""
    quoted = f"'{expression}'" if "'" not in expression else json.dumps(expression, ensure_ascii=False)
    return f"patient = {quoted}"


def _spellings(patients: Iterable[str], named: bool) -> list[Finding]:
    """Patients whose names differ only in letter case, blanks, hyphens or how accents are stored."""
    alike = defaultdict(set)
    for patient in patients:
        plain = unicodedata.normalize("NFKC", patient).casefold()
        alike[re.sub(r"[-_\s]+", "-", plain).strip("-")].add(patient)
    several = [" and ".join(map(repr, sorted(names))) for _, names in sorted(alike.items()) if len(names) > 1]
    if not several:
        return []
    text = f"names that differ only in letter case, blanks, hyphens or accents: {some(several)}"
    remedy = "correct the data set" if named else "rename the files"
    return [_warning(text, f"if they are one patient, {remedy} so that the name has one spelling")]


def _reading(patients: Mapping[str, str]) -> Grouping | None:
    """The deepest reading of the names that joins patients and that an expression can express."""
    names = sorted(patients)
    tail = _tail(names)
    stems = {name: name.removesuffix(tail) for name in names}
    steps: list[_Step] = []
    found = None
    for _ in range(DEEPEST):
        step = next((step for mark in TABLE if (step := _taken_off(mark, stems, bool(steps)))), None)
        if step is None:
            break
        steps.append(step)
        stems = {name: step.stems.get(stem, stem) for name, stem in stems.items()}
        expression = _expression(steps, tail)
        if stems == _applied(expression, names) and _joins(stems, patients):
            found = Grouping(expression, stems)
    return found


def _tail(names: list[str]) -> str:
    """What all names end in, from a separator on: it tells nothing apart."""
    same = commonprefix([name[::-1] for name in names])[::-1]
    begins = re.search(r"[-_ .](?=\D)", same)
    return same[begins.start() :] if begins and len(names) > 1 else ""


def _joins(stems: Mapping[str, str], patients: Mapping[str, str]) -> bool:
    return any(len(group) > 1 for group in _by_stem(stems, patients).values())


def _by_stem(stems: Mapping[str, str], things: Mapping[str, str]) -> dict[str, set[str]]:
    groups: dict[str, set[str]] = defaultdict(set)
    for name, stem in stems.items():
        groups[stem].add(things[name])
    return groups


@dataclass(frozen=True)
class _Step:
    """One mark taken off: stems of the names that have it, the marks as expression, whether all have it."""

    stems: dict[str, str]
    marks: str
    ahead: bool
    whole: bool


def _taken_off(mark: Mark, names: Mapping[str, str], deeper: bool) -> _Step | None:
    """The names without this mark; None where it does not tell things of several patients apart."""
    now = set(names.values())
    found = {name: match for name in now if (match := mark.pattern.fullmatch(name))}
    stems = {name: match[2 if mark.ahead else 1] for name, match in found.items()}
    groups: dict[str, set[str]] = defaultdict(set)
    for name, stem in stems.items():
        groups[stem] |= {name, stem} & now
    several = [
        stem
        for stem, members in groups.items()
        if len(members) > 1 and not COLLECTION.search(stem) and not DATED.match(stem)
    ]
    whole = len(found) == len(now)
    if len(groups) < 2 or len(several) < (1 if whole and not mark.plain else 2):
        return None
    if mark.plain and (deeper or 2 * len(several) < len(groups) or 2 * len(found) < len(now)):
        return None
    marks = {re.sub(r"\d+", r"\\d+", re.escape(match[1 if mark.ahead else 2])) for match in found.values()}
    return _Step(stems, "|".join(sorted(map(_readable, marks))), mark.ahead, whole)


def _readable(escaped: str) -> str:
    """``re.escape`` is for any place in an expression; hyphens and blanks mean nothing outside of [ ]."""
    return escaped.replace("\\-", "-").replace("\\ ", " ")


def _expression(steps: list[_Step], tail: str) -> str:
    """The stem in brackets between the marks ahead of it and those behind, as they were taken off."""
    whole = all(step.whole for step in steps)
    before, after = "", _readable(re.escape(tail))
    for step in steps:
        one = f"(?:{step.marks})" if "|" in step.marks or not step.whole else step.marks
        one += "" if step.whole else "?"
        before, after = (before + one, after) if step.ahead else (before, one + after)
    return f"^{before}(.+{'' if whole else '?'}){after}$"


def _applied(expression: str, names: Iterable[str]) -> dict[str, str]:
    pattern = re.compile(expression)
    return {name: match[1] for name in names if (match := pattern.search(name))}
