"""A BIDS data set with segmentations: derivatives/PIPELINE/sub-…/…_dseg.nii.gz beside sub-…/….

A mask belongs to the image in the same folder below the data set's root whose name has the same entities
(sub, ses, acq, run …) apart from those that only results have. The patient is the subject. Names of
values come from one dseg.tsv of a pipeline (columns index and name). Brain Imaging Data Structure,
"Derivatives: imaging", discrete segmentations; surfaces and probabilities (probseg) are not read.
"""

import csv
from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path

from ...settings.site import SiteSettings
from ...settings.text import read_text
from ..account import Account, account_of
from ..findings import Finding, some
from ..listing import NOTES, files_below, is_system
from ..readers import LARGEST_LABEL, stem_of, suffix_of
from .case import Case, Layout, Names, Survey

OF_RESULTS = ("space", "seg", "atlas", "res", "den", "desc", "label", "hemi")
MASKS = "derivatives/*/sub-*/**/*_dseg.[nN][iI][iI]*"
MASK_ENDINGS = (".nii", ".nii.gz")


def survey(site: SiteSettings) -> Survey:
    """See ``Layout``; the settings ``images``, ``masks`` and ``patient`` are not used."""
    data = Path(site.data)
    masks = sorted(path for path in data.glob(MASKS) if suffix_of(path) in MASK_ENDINGS)
    if not masks:
        text = f"{data} has no derivatives/*/sub-*/**/*_dseg.nii or .nii.gz"
        return Survey([], [Finding("PFS-201", text)], _account(site, (), ()))
    of_image: dict[Path, list[Path]] = defaultdict(list)
    alone, several = [], []
    for mask in masks:
        images = _images(data, mask, site.channel)
        if len(images) == 1:
            of_image[images[0]].append(mask)
        elif images:
            several.append(f"{mask.name} ({', '.join(image.name for image in images)})")
        else:
            alone.append(mask.name)
    findings = []
    if alone:
        text = f"{len(alone)} masks have no image of the same entities: {some(alone)}"
        findings.append(Finding("PFS-202", text, {"masks_without_image": len(alone)}))
    if several:
        text = (
            f"{len(several)} masks have several images: {some(several)}; "
            "say which contrast is used in the site setting channel, for example T2w"
        )
        findings.append(Finding("PFS-102", text, {"masks_of_several_images": len(several)}))
    double = [" = ".join(m.name for m in found) for found in of_image.values() if len(found) > 1]
    if double:
        text = f"{len(double)} images have several masks: {some(double)}; write a manifest that says which"
        findings.append(Finding("PFS-202", text, {"images_of_several_masks": len(double)}))
    cases = [
        Case(stem_of(image), image.relative_to(data).parts[0], image, found[0])
        for image, found in of_image.items()
        if len(found) == 1
    ]
    findings += _lacking(data, {case.patient for case in cases})
    used = [path for case in cases for path in (case.image, case.mask)]
    account = _account(site, (*masks, *of_image), used)
    return Survey(sorted(cases, key=lambda case: case.id), findings, account)


def _lacking(data: Path, patients: set[str]) -> list[Finding]:
    """A warning for subjects that are there, or in participants.tsv, and have no segmentation."""
    there = {path.name for path in data.glob("sub-*") if path.is_dir()}
    lacking = sorted((there | _participants(data)) - patients)
    if not lacking:
        return []
    text = f"{len(lacking)} of {len(lacking) + len(patients)} subjects have no segmentation: {some(lacking)}"
    hint = "right where nobody has marked them; else look for their files in derivatives"
    return [Finding("PFS-216", text, {"subjects_without_mask": len(lacking)}, hint=hint, severity="warning")]


def _participants(data: Path) -> set[str]:
    try:
        rows = read_text(data / "participants.tsv").splitlines()
    except (OSError, ValueError):
        return set()
    found = {row.get("participant_id") or "" for row in csv.DictReader(rows, delimiter="\t")}
    return {name for name in found if name.startswith("sub-")}


def _account(site: SiteSettings, read: Collection[Path], used: Iterable[Path]) -> Account:
    """What a pipeline calls a segmentation and is none that can be read is no part of the rules.

    Args:
        read: masks and their images; those not used are in a finding.
    """
    data, known = Path(site.data), set(read)
    passed_over = {
        path: _reason(path, data, Path(site.state)) for path in files_below(data) if path not in known
    }
    return account_of(data, known, used, passed_over)


def _reason(path: Path, data: Path, state: Path) -> str:
    if path.is_relative_to(state):
        return "state"
    if is_system(path):
        return "system"
    if "_dseg." in path.name and path.suffix.lower() not in NOTES and suffix_of(path) not in MASK_ENDINGS:
        return "format"
    return "description" if path.suffix.lower() in NOTES else "rule"


def _images(data: Path, mask: Path, contrast: str) -> list[Path]:
    """The images that a mask may belong to."""
    _, _, *below = mask.parent.relative_to(data).parts  # derivatives, PIPELINE, then as in the raw data
    wanted = {one for one in _entities(mask) if one.partition("-")[0] not in OF_RESULTS}
    folder = data.joinpath(*below)
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    images = [p for p in found if suffix_of(p) and not p.name.startswith(".") and _entities(p) == wanted]
    return [image for image in images if contrast in ("", stem_of(image).rpartition("_")[2])]


def _entities(path: Path) -> set[str]:
    return set(stem_of(path).split("_")[:-1])


def _value_names(data: Path) -> Names:
    tables = sorted(data.glob("derivatives/*/*dseg.tsv"))
    if len(tables) != 1:
        return {}
    try:
        rows = list(csv.DictReader(read_text(tables[0]).splitlines(), delimiter="\t"))
        found = {row["name"]: int(row["index"]) for row in rows}
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return {}
    return {name: frozenset({value}) for name, value in found.items() if name and 0 < value <= LARGEST_LABEL}


LAYOUT = Layout(
    fits=lambda data: (data / "dataset_description.json").is_file() and (data / "derivatives").is_dir(),
    survey=survey,
    names=_value_names,
)
