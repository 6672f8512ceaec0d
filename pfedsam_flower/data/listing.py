"""Every file below a folder, each once: part of what may be a case, or passed over, with the reason.

Training and prediction look through folders by this one rule, so that no file vanishes in either.
"""

import os
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .readers import companions, dicom, stem_of, suffix_of

SYSTEM_NAMES = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", ".ds_store", ".directory"}
SYSTEM_STARTS = ("._", ".nfs", ".trash")
NOTES = {
    ".txt",
    ".md",
    ".rst",
    ".csv",
    ".tsv",
    ".json",
    ".toml",
    ".yaml",
    ".yml",
    ".log",
    ".pdf",
    ".xlsx",
    ".docx",
}

SIDECARS = {".json", ".txt", ".bval", ".bvec", ".xml"}

REASONS: dict[str, tuple[str, str]] = {
    "system": ("kept by an operating system", ""),
    "description": ("of the data set's description", ""),
    "rule": ("that the layout does not train on", ""),
    "state": ("of the site's own state", ""),
    "sidecar": ("that describe an image of the same name", ""),
    "notes": ("of notes and tables", ""),
    "hidden": ("with a hidden name", "take the dot from the name, or remove them"),
    "format": (
        "of a format that is not read",
        "convert what is an image, and take the rest out of the folder",
    ),
    "beside": (
        "beside a DICOM series",
        "previews may stay; an image that is a case belongs into a folder without a series",
    ),
    "pixels": ("of DICOM without an image", "reports, plans and segmentations are not read; take them out"),
    "outside": (
        "outside of the folders that are read",
        "move what belongs to the data into the folders of images and masks",
    ),
    "unasked": ("of masks without an image among the inputs", "look whether an image is missing"),
    "special": (
        "that cannot be looked into",
        "links that lead nowhere or in a circle, pipes, devices and locked folders: remove or mend them",
    ),
}
"""Why files are passed over, and what to do about it; '' where nothing has to be done."""


@dataclass(frozen=True)
class Entry:
    """An image or a mask.

    Attributes:
        name: of the file without suffix or of the DICOM folder, the sub-folders before it, joined by "-"; a
            folder of the file's own name counts once. It depends on no other file, so that a case that is
            added renames none.
        stem: without the sub-folders.
        path: a file, or a folder with a DICOM series.
        files: all that belong to it: the file and its voxels' file, or the slices.
    """

    name: str
    stem: str
    path: Path
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Listing:
    """A folder looked through.

    Attributes:
        entries: in order of the path.
        passed_over: the reason (a key of ``REASONS``) of every other file.
    """

    entries: tuple[Entry, ...] = ()
    passed_over: dict[Path, str] = field(default_factory=dict)


def listing_of(folder: Path, *, whole: bool = False, without: Collection[Path] = ()) -> Listing:
    """What lies in a folder and below it; pixels are not looked at.

    A sub-folder with DICOM files is one entry. The files of ``folder`` itself are entries one by one, unless
    it counts as a series, too (``whole``). Folders in ``without`` are not looked into.

    Raises:
        OSError: the folder itself cannot be read; of those below it that is a reason.
    """
    entries: list[Entry] = []
    passed_over: dict[Path, str] = {}
    for place, files, dead in _walk(folder, _real(without)):
        passed_over |= dict.fromkeys(dead, "special")
        parts = place.relative_to(folder).parts
        reasons = {path: _by_name(path.name, parts) for path in files}
        passed_over |= {path: reason for path, reason in reasons.items() if reason}
        plain = [path for path, reason in reasons.items() if not reason]
        series = (parts or whole) and any(map(_is_dicom, plain))
        found = _series(place, plain, passed_over) if series else _singles(plain, passed_over)
        entries += [
            Entry(joined((*parts[: len(parts) - (path == place)], stem)), stem, path, own)
            for stem, path, own in found
        ]
    return Listing(tuple(entries), passed_over)


def joined(parts: tuple[str, ...]) -> str:
    """Sub-folders and a stem as a name that a file can have: p5/p5 is ``p5``, p5/scan1 is ``p5-scan1``."""
    if len(parts) > 1 and parts[-1] == parts[-2]:
        parts = parts[:-1]
    return "-".join(parts)


def files_below(folder: Path, without: Collection[Path] = ()) -> Iterator[Path]:
    """Every file below a folder, and what cannot be looked into; folders in ``without`` are left out."""
    left_out = _real(without)
    if folder.is_dir() and os.path.realpath(folder) not in left_out:
        for _, files, dead in _walk(folder, left_out):
            yield from files
            yield from dead


def is_system(path: Path) -> bool:
    """Whether a file is one that operating systems keep beside a person's own."""
    name = path.name.lower()
    return name in SYSTEM_NAMES or name.startswith(SYSTEM_STARTS)


def _by_name(name: str, above: tuple[str, ...]) -> str:
    """The reason that a file's name and those of the folders above it give alone, '' for none."""
    if is_system(Path(name)):
        return "system"
    return "hidden" if any(part[0] == "." for part in (name, *above)) else ""


def _singles(files: list[Path], passed_over: dict[Path, str]) -> list[tuple[str, Path, tuple[Path, ...]]]:
    found, others, voxels = [], [], set()
    for path in files:
        if not suffix_of(path):
            others.append(path)
            continue
        own = tuple(one for one in companions(path) if one.is_file())
        voxels |= {one.resolve() for one in own}
        found.append((stem_of(path), path, (path, *own)))
    stems = {stem for stem, _, _ in found}
    passed_over |= {path: _unread(path, stems) for path in others if path.resolve() not in voxels}
    return found


def _unread(path: Path, stems: Collection[str]) -> str:
    """Why a file that no reader knows is passed over, beside images of these stems."""
    if path.name.upper() == dicom.DIRECTORY:
        return "description"
    return "sidecar" if path.stem in stems and path.suffix.lower() in SIDECARS else "format"


def _series(
    place: Path, files: list[Path], passed_over: dict[Path, str]
) -> list[tuple[str, Path, tuple[Path, ...]]]:
    """The folder as one entry: what the reader will take for slices, without reports and the like."""
    slices = {path: dicom.sop_class(path) for path in files if dicom.may_be_slice(path)}
    pictures = [path for path, kind in slices.items() if not dicom.is_no_picture(kind)]
    passed_over |= {
        path: "description" if path.name.upper() == dicom.DIRECTORY else "beside"
        for path in files
        if path not in slices
    }
    if pictures:  # else the reader says what they are
        passed_over |= {path: "pixels" for path in slices if path not in pictures}
    return [(place.name, place, tuple(pictures or slices))]


def _is_dicom(path: Path) -> bool:
    return suffix_of(path) == ".dcm" and dicom.is_dicom(path)


def _real(folders: Collection[Path]) -> frozenset[str]:
    return frozenset(os.path.realpath(folder) for folder in folders)


def _walk(
    folder: Path, without: frozenset[str], above: tuple[str, ...] = ()
) -> Iterator[tuple[Path, list[Path], list[Path]]]:
    """(folder, its files, what cannot be looked into), from the top down, sorted; links are followed."""
    above = (*above, os.path.realpath(folder))
    files, dead, below = [], [], []
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda one: one.name)
    for one in entries:
        path = folder / one.name
        try:
            mode = one.stat().st_mode
        except OSError:
            dead.append(path)
            continue
        if stat.S_ISREG(mode):
            files.append(path)
        elif not stat.S_ISDIR(mode) or (real := os.path.realpath(path)) in above:
            dead.append(path)
        elif real not in without:
            below.append(path)
    yield folder, files, dead
    for path in below:
        try:
            yield from _walk(path, without, above)
        except OSError:
            yield folder, [], [path]
