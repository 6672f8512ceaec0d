"""What every layout makes of a site's data: cases, and findings about what is no case."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ...settings.site import SiteSettings
from ..account import Account
from ..findings import Finding, some
from ..listing import NOTES, Entry, Listing, is_system, listing_of
from ..readers import READERS
from .alike import look_alikes, there_is

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


Names = dict[str, frozenset[int]]


class Survey(NamedTuple):
    """A site's data looked over.

    Attributes:
        cases: those that are whole, sorted by id.
        findings: what is wrong with the rest.
        account: what became of every file; None where nothing could be looked through.
    """

    cases: list[Case]
    findings: list[Finding]
    account: Account | None = None


@dataclass(frozen=True)
class Layout:
    """One way to keep a site's data.

    Attributes:
        fits: whether what the setting ``data`` names is kept this way; cheap.
        survey: its cases, findings and account.
        names: the mask values that the layout itself gives a name, by that name, without background;
            empty where it names none or its description cannot be read.
    """

    fits: Callable[[Path], bool]
    survey: Callable[[SiteSettings], Survey]
    names: Callable[[Path], Names]


def listed(
    folder: Path, what: str, findings: list[Finding], ending: str = "", without: Collection[Path] = ()
) -> Listing:
    """Images or masks in a folder and below it: readable files, and folders that hold a DICOM series.

    What is wrong is added to ``findings``.

    Args:
        what: "images" or "masks", for the sentences.
        ending: only names that end so, in letters of either case, are used.
        without: folders that are not looked into.
    """
    try:
        found = listing_of(folder, without=without)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        parent = missing and not folder.parent.exists()
        place = f"the folder {folder.parent}" if parent else f"the {what} folder {folder}"
        reason = "is missing" + there_is(folder) if missing else f"cannot be read ({error.strerror})"
        findings.append(Finding("PFS-201", f"{place} {reason}"))
        return Listing()
    fits = {one.path for one in found.entries if one.path.name.lower().endswith(ending.lower())}
    other = {path: "format" for one in found.entries if one.path not in fits for path in one.files}
    found = Listing(tuple(one for one in found.entries if one.path in fits), found.passed_over | other)
    if not found.entries:
        known = ending or ", ".join(READERS) + ", folders with a DICOM series"
        text = f"the {what} folder {folder} has nothing usable; known formats: {known}"
        findings.append(Finding("PFS-201", text))
    return found


def outside(path: Path, state: Path) -> str:
    """Why a file that lies outside of the folders that are read is passed over."""
    if path.is_relative_to(state):
        return "state"
    if is_system(path):
        return "system"
    return "notes" if path.suffix.lower() in NOTES else "outside"


def by_name(entries: Iterable[Entry], folder: Path, findings: list[Finding]) -> dict[str, Entry]:
    """Entries by name; one that several have is a finding."""
    found: dict[str, list[Entry]] = {}
    for one in entries:
        found.setdefault(one.name, []).append(one)
    double = [
        " = ".join(one.path.relative_to(folder).as_posix() for one in several)
        for several in found.values()
        if len(several) > 1
    ]
    if double:
        text = f"{len(double)} names in {folder} belong to more than one file: {some(double)}"
        findings.append(Finding("PFS-202", text, {"double_names": len(double)}))
    return {name: several[0] for name, several in found.items()}


def partners(images: Mapping[str, Entry], masks: Mapping[str, Entry]) -> dict[str, Entry]:
    """The mask of each image, by the image's name: of the same name, else the only one of the same stem.

    A stem counts where one image and one mask have it: sub-folders may be there on one side alone.
    """
    pairs = {name: masks[name] for name in images.keys() & masks.keys()}
    left = [{n: one for n, one in side.items() if n not in pairs} for side in (images, masks)]
    stems = [Counter(one.stem for one in side.values()) for side in (images, masks)]
    of_stem = {one.stem: one for one in left[1].values() if stems[1][one.stem] == 1}
    return pairs | {
        name: of_stem[one.stem]
        for name, one in left[0].items()
        if stems[0][one.stem] == 1 and one.stem in of_stem
    }


def unmatched(
    images: Mapping[str, Entry], masks: Mapping[str, Entry], pairs: Mapping[str, Entry]
) -> list[Finding]:
    """Images without a mask and masks without an image; where two names look alike, what differs."""
    taken = {one.path for one in pairs.values()}
    alone = (
        [one for name, one in sorted(images.items()) if name not in pairs],
        [one for _, one in sorted(masks.items()) if one.path not in taken],
    )
    findings = []
    for entries, text, key in (
        (alone[0], "images have no mask of the same name", "images_without_mask"),
        (alone[1], "masks have no image of the same name", "masks_without_image"),
    ):
        if entries:
            names = some(one.path.name for one in entries)
            findings.append(Finding("PFS-202", f"{len(entries)} {text}: {names}", {key: len(entries)}))
    alike = entries_alike(*alone)
    if alike:
        findings.append(
            Finding(
                "PFS-202",
                f"{len(alike)} names of an image and a mask look alike and are not the same: {some(alike)}",
                {"names_that_look_alike": len(alike)},
                hint="rename one of the two",
            )
        )
    return findings


def entries_alike(ours: Iterable[Entry], theirs: Iterable[Entry]) -> list[str]:
    """A sentence for each pair whose names look alike, sub-folders and all, or else without them."""
    ours, theirs = list(ours), list(theirs)
    whole = look_alikes((one.name for one in ours), (one.name for one in theirs))
    return whole or look_alikes((one.stem for one in ours), (one.stem for one in theirs))


def patients_of(expression: str, ids: list[str]) -> tuple[dict[str, str], list[Finding]]:
    """Patient by id, and what is wrong with the expression or the ids."""
    try:
        pattern = re.compile(expression, re.DOTALL)  # names with a line feed are for the reader to refuse
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
