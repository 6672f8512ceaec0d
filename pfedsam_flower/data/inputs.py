"""What a person wants masks of: one image, or a folder of them."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import DataError
from .account import Account, account_of, told
from .findings import some
from .layouts.case import entries_alike
from .listing import Entry, listing_of
from .readers import READERS, companions, dicom, is_case_path, stem_of, suffix_of

LONGEST_NAME = 255 - len(".nii.gz")
"""Bytes of a name beside which the longest suffix of an output finds room: file systems allow 255 in all."""


@dataclass(frozen=True)
class Input:
    """One image or volume.

    Attributes:
        name: of its file without suffix, or of its folder, after its sub-folders; unique among the inputs.
        reference: the mask to compare with, None where none is asked for.
    """

    name: str
    path: Path
    reference: Path | None = None


@dataclass(frozen=True)
class Inputs:
    """What is to be predicted, sorted by name.

    Attributes:
        account: what became of every file of the folder, or of the one file.
        references: likewise of the folder of references, None without; a mask of no image is passed over.
    """

    inputs: tuple[Input, ...]
    account: Account
    references: Account | None = None


def find_inputs(path: Path, references: Path | None = None) -> Inputs:
    """The image or DICOM series that ``path`` is, or those that lie in it and below it.

    Args:
        references: folder of masks of the same names, every input must have one.

    Raises:
        DataError: PFS-201 nothing to read, PFS-202 two inputs of one name, inputs without reference, a name
            too long for a mask's file, or a folder that is a series and holds other images too.
    """
    entries, account = _entries(path, references)
    if not entries:
        raise DataError(
            "PFS-201",
            "; ".join(["the folder has no image", *(line.strip() for line in told(account)[1:])]),
            where=str(path),
            hint="known: DICOM series, " + ", ".join(READERS),
        )
    by_name = _unique(entries, "image", path)
    _check_lengths(by_name)
    if references is None:
        return Inputs(tuple(Input(name, one.path) for name, one in by_name.items()), account)
    masks, beside = _masks(references, path)
    pairs = {name: _reference(one, by_name, masks) for name, one in by_name.items()}
    lacking = [name for name, mask in pairs.items() if mask is None]
    if lacking:
        alike = entries_alike((by_name[name] for name in lacking), masks.values())
        text = f"{len(lacking)} of {len(by_name)} images have no reference of the same name: {some(lacking)}"
        raise DataError(
            "PFS-202",
            text + (f"; they look alike and are not the same: {some(alike)}" if alike else ""),
            where=str(references),
            hint="rename one of the two" if alike else "leave --references out to get masks alone",
        )
    used = [path for mask in pairs.values() if mask for path in mask.files]
    files = {path: "unasked" for mask in masks.values() for path in mask.files} | beside
    inputs = tuple(Input(name, one.path, m.path) for name, one in by_name.items() if (m := pairs[name]))
    return Inputs(inputs, account, account_of(references, files, used, files))


def name_of(path: Path) -> str:
    """What the outputs of an image are called: its file's stem, or its folder and the series named."""
    if path.is_dir():  # a link's own name, as in training: its target's may be the patient's
        return path.name if path.name not in ("", "..") else path.resolve().name
    return stem_of(path) if suffix_of(path) else path.name.replace("#", "-")


def _entries(path: Path, references: Path | None) -> tuple[list[Entry], Account]:
    """The path itself if it is a file or a series, else what lies in it and below it, without references."""
    without = (references,) if references else ()
    if not path.is_dir():
        if not path.exists() and "#" not in path.name:
            raise DataError("PFS-201", "there is no such file or folder", where=str(path))
        alone = Entry(name_of(path), name_of(path), path, (path, *companions(path)))
        return [alone], account_of(path.parent, alone.files, alone.files, {})
    try:
        found = listing_of(path, without=without)
        if is_case_path(path) and not dicom.all_apart(path):
            _refuse_mixed(path, found.entries)
            found = listing_of(path, whole=True, without=without)
    except OSError as error:
        raise DataError("PFS-201", f"the folder cannot be read: {error.strerror}", where=str(path)) from error
    entries = [replace(one, name=name_of(path)) if one.path == path else one for one in found.entries]
    used = [file for one in entries for file in one.files]
    return entries, account_of(path, used, used, found.passed_over)


def _refuse_mixed(path: Path, entries: Iterable[Entry]) -> None:
    """Refuses other images in or below a folder that is a series itself: which is meant is not known."""
    others = [one.path for one in entries if one.path.parent != path or suffix_of(one.path) != ".dcm"]
    if others:
        raise DataError(
            "PFS-202",
            f"the folder holds DICOM files, and {len(others)} other images: "
            f"{some(one.relative_to(path).as_posix() for one in others)}",
            where=str(path),
            hint="put them in folders of their own, or name the series that is meant: FOLDER#UID",
        )


def _masks(folder: Path, images: Path) -> tuple[dict[str, Entry], dict[Path, str]]:
    """Files that may be masks by name, and the others with the reason; without the folder of images.

    Raises:
        DataError: PFS-201 when the folder cannot be read, PFS-202 when two masks have one name.
    """
    try:
        found = listing_of(folder, without=(images,))
    except OSError as error:
        raise DataError(
            "PFS-201", f"the folder of references cannot be read: {error.strerror}", where=str(folder)
        ) from error
    return _unique(found.entries, "reference", folder), found.passed_over


def _reference(one: Entry, images: dict[str, Entry], masks: dict[str, Entry]) -> Entry | None:
    """As in training (``layouts.case.partners``): the same name, else the only one of the same stem."""
    if one.name in masks:
        return masks[one.name]
    same = [mask for mask in masks.values() if mask.stem == one.stem and mask.name not in images]
    alone = sum(other.stem == one.stem for other in images.values()) == 1
    return same[0] if alone and len(same) == 1 else None


def _unique(entries: Iterable[Entry], what: str, folder: Path) -> dict[str, Entry]:
    """Entries by name, sorted; two of one name are refused."""
    by_name: dict[str, list[Entry]] = {}
    for one in entries:
        by_name.setdefault(one.name, []).append(one)
    double = [
        " and ".join(str(one.path.relative_to(folder)) for one in f) for f in by_name.values() if len(f) > 1
    ]
    if double:
        raise DataError(
            "PFS-202",
            f"{len(double)} names belong to more than one {what}: {some(double)}",
            where=str(folder),
            hint="keep one of each name",
        )
    return {name: found[0] for name, found in sorted(by_name.items())}


def _check_lengths(by_name: dict[str, Entry]) -> None:
    long = [name for name in by_name if len(os.fsencode(name)) > LONGEST_NAME]
    if long:
        raise DataError(
            "PFS-202",
            f"{len(long)} names are too long for a mask's file, which may have {LONGEST_NAME} bytes before "
            f"its suffix: {some(f'{name} ({len(os.fsencode(name))})' for name in long)}",
            where=str(by_name[long[0]].path),
            hint="rename them",
        )
