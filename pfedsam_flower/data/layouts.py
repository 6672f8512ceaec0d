"""A site's folder → its cases: a folder of images, a folder of masks, the same names in both."""

import logging
import re
from dataclasses import dataclass
from pathlib import Path

from ..settings.site import SiteSettings
from .findings import Finding, refuse, some
from .readers import READERS, stem_of, suffix_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Case:
    """One image or volume with its mask.

    Attributes:
        id: the files' common name without suffix; unique at the site.
        patient: whom it belongs to; splits are by patient.
    """

    id: str
    patient: str
    image: Path
    mask: Path


def find_cases(site: SiteSettings) -> list[Case]:
    """The site's cases, sorted by id.

    Raises:
        DataError: PFS-201 (folder missing, empty), PFS-202 (image without mask, mask without image,
            two files of one name) with all findings at once.
        SettingsError: PFS-102 when nothing but the patient expression is wrong.
    """
    cases, findings = survey(site)
    refuse(findings, site.data)
    return cases


def survey(site: SiteSettings) -> tuple[list[Case], list[Finding]]:
    """The cases that are whole, sorted by id, and what is wrong with the rest."""
    findings: list[Finding] = []
    images = _files(Path(site.data), site.images, "images", findings)
    masks = _files(Path(site.data), site.masks, "masks", findings)
    if images and masks:
        findings += _unmatched(images, masks)
    patients, problem = _patients(site.patient, sorted(images.keys() & masks.keys()))
    if problem:
        findings.append(problem)
    return [Case(stem, patient, images[stem], masks[stem]) for stem, patient in patients.items()], findings


def _files(data: Path, name: str, what: str, findings: list[Finding]) -> dict[str, Path]:
    """Readable files of one folder by stem; says what is wrong, logs what is ignored."""
    folder = data / name
    try:
        found = sorted(path for path in folder.iterdir() if path.is_file())
    except OSError as error:
        reason = (
            "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        )
        place = (
            f"the folder {data}"
            if reason == "is missing" and not data.exists()
            else f"the {what} folder {folder}"
        )
        findings.append(Finding("PFS-201", f"{place} {reason}"))
        return {}
    usable = [path for path in found if suffix_of(path) and not path.name.startswith(".")]
    if len(usable) < len(found):
        log.info(
            "%s: %d hidden files or files of unknown format are ignored", folder, len(found) - len(usable)
        )
    if not usable:
        known = ", ".join(READERS)
        findings.append(
            Finding("PFS-201", f"the {what} folder {folder} has no usable file; known formats: {known}")
        )
    by_stem: dict[str, list[Path]] = {}
    for path in usable:
        by_stem.setdefault(stem_of(path), []).append(path)
    double = [" = ".join(p.name for p in paths) for paths in by_stem.values() if len(paths) > 1]
    if double:
        text = f"{len(double)} names in {folder} belong to more than one file: {some(double)}"
        findings.append(Finding("PFS-202", text, {"double_names": len(double)}))
    return {stem: paths[0] for stem, paths in by_stem.items()}


def _unmatched(images: dict[str, Path], masks: dict[str, Path]) -> list[Finding]:
    findings = []
    for have, lack, one, other in ((images, masks, "image", "mask"), (masks, images, "mask", "image")):
        alone = [have[stem].name for stem in sorted(have.keys() - lack.keys())]
        if alone:
            text = f"{len(alone)} {one}s have no {other} of the same name: {some(alone)}"
            findings.append(Finding("PFS-202", text, {f"{one}s_without_{other}": len(alone)}))
    return findings


def _patients(expression: str, stems: list[str]) -> tuple[dict[str, str], Finding | None]:
    """Patient by stem, and what is wrong with the expression or the names."""
    try:
        pattern = re.compile(expression)
    except re.error as error:
        return {}, Finding("PFS-102", f"patient = {expression!r} is not a regular expression: {error}")
    if pattern.groups < 1:
        return {}, Finding(
            "PFS-102", f"patient = {expression!r} has no group; put brackets around the patient's part"
        )
    matches = {stem: pattern.search(stem) for stem in stems}
    # an optional group may match nothing, which names no patient
    patients = {stem: match[1] for stem, match in matches.items() if match and match[1]}
    strange = [stem for stem in stems if stem not in patients]
    if strange:
        text = f"patient = {expression!r} finds no patient in {len(strange)} file names: {some(strange)}"
        return patients, Finding("PFS-102", text, {"names_without_patient": len(strange)})
    return patients, None
