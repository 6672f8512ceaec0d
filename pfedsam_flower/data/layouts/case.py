"""What every layout makes of a site's data: cases, and findings about what is no case."""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...settings.site import SiteSettings
from ..findings import Finding, some
from ..readers import READERS, is_case_path, stem_of, suffix_of

log = logging.getLogger(__name__)
PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Case:
    """One image or volume with its mask.

    Attributes:
        id: its name, by default the files' common name without suffix; unique at the site.
        patient: whom it belongs to; splits are by patient.
        image, mask: a file, or a folder with one DICOM series (``folder#UID`` where it holds several).
        part: one of ``PARTS`` where the site has decided it in a manifest, else ''.
    """

    id: str
    patient: str
    image: Path
    mask: Path
    part: str = ""


Survey = tuple[list[Case], list[Finding]]
Names = dict[str, frozenset[int]]


@dataclass(frozen=True)
class Layout:
    """One way to keep a site's data.

    Attributes:
        fits: whether what the setting ``data`` names is kept this way; cheap.
        survey: the cases that are whole, sorted by id, and what is wrong with the rest.
        names: the mask values that the layout itself gives a name, by that name, without background;
            empty where it names none or its description cannot be read.
    """

    fits: Callable[[Path], bool]
    survey: Callable[[SiteSettings], Survey]
    names: Callable[[Path], Names]


def entries_in(folder: Path, what: str, findings: list[Finding], ending: str = "") -> dict[str, Path]:
    """Images or masks of one folder by stem: readable files, and folders that hold a DICOM series.

    What is wrong is added to ``findings``; what is ignored is counted in the log.

    Args:
        what: "images" or "masks", for the sentences.
        ending: only names that end so are used.
    """
    try:
        found = sorted(folder.iterdir())
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        parent = missing and not folder.parent.exists()
        place = f"the folder {folder.parent}" if parent else f"the {what} folder {folder}"
        reason = "is missing" if missing else f"cannot be read ({error.strerror})"
        findings.append(Finding("PFS-201", f"{place} {reason}"))
        return {}
    usable = [p for p in found if not p.name.startswith(".") and p.name.endswith(ending) and _readable(p)]
    if len(usable) < len(found):
        n = len(found) - len(usable)
        log.info("%s: %d hidden or of unknown format, ignored", folder, n)
    if not usable:
        known = ending or ", ".join(READERS) + ", folders with a DICOM series"
        text = f"the {what} folder {folder} has nothing usable; known formats: {known}"
        findings.append(Finding("PFS-201", text))
    by_stem: dict[str, list[Path]] = {}
    for path in usable:
        by_stem.setdefault(path.name if path.is_dir() else stem_of(path), []).append(path)
    double = [" = ".join(p.name for p in paths) for paths in by_stem.values() if len(paths) > 1]
    if double:
        text = f"{len(double)} names in {folder} belong to more than one file: {some(double)}"
        findings.append(Finding("PFS-202", text, {"double_names": len(double)}))
    return {stem: paths[0] for stem, paths in by_stem.items()}


def _readable(path: Path) -> bool:
    return is_case_path(path) if path.is_dir() else bool(suffix_of(path))


def unmatched(images: dict[str, Path], masks: dict[str, Path]) -> list[Finding]:
    """Images without a mask and masks without an image, by stem."""
    findings = []
    for have, lack, text, key in (
        (images, masks, "images have no mask of the same name", "images_without_mask"),
        (masks, images, "masks have no image of the same name", "masks_without_image"),
    ):
        alone = [have[stem].name for stem in sorted(have.keys() - lack.keys())]
        if alone:
            findings.append(Finding("PFS-202", f"{len(alone)} {text}: {some(alone)}", {key: len(alone)}))
    return findings


def patients_of(expression: str, ids: list[str]) -> tuple[dict[str, str], list[Finding]]:
    """Patient by id, and what is wrong with the expression or the ids."""
    try:
        pattern = re.compile(expression)
    except re.error as error:
        text = f"patient = {expression!r} is not a regular expression: {error}"
        return {}, [Finding("PFS-102", text)]
    if pattern.groups < 1:
        text = f"patient = {expression!r} has no group; put brackets around the patient's part"
        return {}, [Finding("PFS-102", text)]
    matches = {one: pattern.search(one) for one in ids}
    # an optional group may match nothing, which names no patient
    patients = {one: match[1] for one, match in matches.items() if match and match[1]}
    strange = [one for one in ids if one not in patients]
    if strange:
        text = f"patient = {expression!r} finds no patient in {len(strange)} file names: {some(strange)}"
        return patients, [Finding("PFS-102", text, {"names_without_patient": len(strange)})]
    return patients, []
