"""Which files of a folder are one DICOM series, and which one is meant."""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import DataError
from .dicom_header import Header, read_header
from .dicom_place import is_placed, stacked
from .dicom_start import DIRECTORY, is_dicom
from .refusals import unreadable, unusable
from .stack import Stack

# By SOP class (PS3.4 annex B), and what to do instead.
NOT_PICTURES = {
    "1.2.840.10008.5.1.4.1.1.66.4": (
        "it is a segmentation (DICOM-SEG), whose frames are segments on chosen slices",
        "convert it on the grid of its image: segimage2itkimage of dcmqi, 3D Slicer, or highdicom",
    ),
    "1.2.840.10008.5.1.4.1.1.481.2": ("it is a dose distribution (RTDOSE), not an image", "leave it out"),
}
# Prefixes of classes without pixels: waveforms, presentation states, registrations and surfaces, reports,
# documents, RT structures, plans and records, directories.
NO_PIXELS = (
    *(f"1.2.840.10008.5.1.4.1.1.{n}" for n in ("9.", "11.", "66", "88.", "104.", "481.3", "481.4")),
    *(f"1.2.840.10008.5.1.4.1.1.481.{n}" for n in (5, 6, 7, 8, 9)),
    "1.2.840.10008.1.3.10",
)
SHOWN = 8
ENDINGS = {"", ".dcm", ".ima", ".dicom"}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Series:
    """One series of a folder, from the headers of its files.

    Attributes:
        uid: SeriesInstanceUID. description, modality: as the files say, '' when they do not.
    """

    uid: str
    description: str
    modality: str
    n_files: int


def holds_dicom(folder: Path) -> bool:
    """Whether a file of a folder is DICOM; cheap where one is."""
    try:
        return any(path.name[0] != "." and path.is_file() and is_dicom(path) for path in folder.iterdir())
    except OSError:
        return False


def split(path: Path) -> tuple[Path, str]:
    """``folder#UID`` → folder and UID, '' when the path names none."""
    name, hash_, uid = path.name.rpartition("#")
    return (path, "") if path.exists() or not hash_ else (path.with_name(name), uid)


def series_in(folder: Path) -> list[Series]:
    """The series of a folder sorted by UID, those that are no images included.

    Raises:
        DataError: PFS-204 when a file is damaged.
    """
    return [
        Series(uid, files[0].text("description"), files[0].text("modality"), len(files))
        for uid, files in sorted(_by_series(folder).items())
    ]


def all_apart(folder: Path) -> bool:
    """Whether a folder holds pictures, as of X-ray or mammography: every file is a series of its own.

    Slices of one volume are no pictures, whatever their UIDs. A damaged file says nothing; who reads it will
    be told.
    """
    found = []
    for path in _like_slices(folder):
        with suppress(DataError):
            found.append(read_header(path))
    found = [file for file in found if not no_picture(file)]
    apart = len(found) > 1 and len({file.text("series") for file in found}) == len(found)
    with suppress(DataError):
        return apart and not _slices_among(found)
    return apart


def chosen(path: Path, folder: Path, uid: str) -> list[Header]:
    """The files of the named series, or of the only one with pictures.

    A study counts as a series where each of its files is one: so they are named when they are one volume.

    Raises:
        DataError: PFS-207 when that is not one, PFS-204 when a file is damaged.
    """
    groups = _by_series(folder)
    pictures = {uid: files for uid, files in groups.items() if not no_picture(files[0])}
    flat = [file for files in pictures.values() for file in files]
    if uid:
        study = [files for files in pictures.values() if files[0].text("study") == uid]
        if uid in groups:
            return groups[uid]
        if study and all(len(files) == 1 for files in study):
            return [files[0] for files in study]
        raise unusable(path, f"the folder holds no series {uid}", _listed(groups), series=len(groups))
    if 1 < len(pictures) == len(flat) and (slices := _slices_among(flat)):
        how_many = "all" if len(slices) == len(flat) else str(len(slices))
        raise unusable(
            path,
            f"its {len(flat)} files have a series UID each, yet {how_many} of them lie one behind the "
            "other like the slices of a volume: they are single pictures, or one volume whose UIDs were lost",
            _both_ways(folder, slices),
            series=len(pictures),
        )
    if len(pictures) > 1:
        raise unusable(
            path,
            f"the folder holds {len(pictures)} series",
            f"name one as {folder.name}#UID, or move each into a folder of its own: {_listed(pictures)}",
            series=len(pictures),
        )
    if not groups:
        raise unreadable(path, "the folder holds no DICOM file", "give a folder with one series")
    return next(iter((pictures or groups).values()))


def no_picture(file: Header) -> tuple[str, str] | None:
    """Why a file of this class is no picture, and what to do."""
    known = NOT_PICTURES.get(file.text("sop_class"))
    if known or not file.text("sop_class").startswith(NO_PIXELS):
        return known
    return f"it is a DICOM file without an image (modality {file.text('modality')})", "leave it out"


def look(file: Header) -> tuple[int, int, int, str]:
    """What all slices of a volume have in common: rows, columns, channels and kind of colour."""
    return (
        file.integer("rows"),
        file.integer("columns"),
        file.integer("channels", 1),
        file.text("photometric"),
    )


def _slices_among(files: list[Header]) -> list[Header]:
    """Files that lie like the slices of one volume, if they were one series; none when they do not.

    Less than half of the files may be other pictures, such as scouts. Slices may be missing or share their
    places, and there may be two; but then they must be of one study or frame of reference, too.
    """
    kinds = [(look(file), *np.round(file.numbers("orientation"), 2)) for file in files if _is_slice(file)]
    if not kinds:
        return []
    usual, n = Counter(kinds).most_common(1)[0]
    slices = [file for file, kind in zip(filter(_is_slice, files), kinds, strict=True) if kind == usual]
    if 2 * n <= len(files) or n < 2:
        return []
    found = stacked(slices)
    if isinstance(found, Stack) and n > 2:
        return slices
    related = _shared(slices, "study") or _shared(slices, "frame_of_reference")
    alike = isinstance(found, Stack) or "missing" in found.counts or found.counts.get("places", 0) > 2
    return slices if related and alike else []


def _is_slice(file: Header) -> bool:
    return is_placed(file) and bool(file.text("spacing"))


def _shared(files: list[Header], name: str) -> str:
    """The text of an element that is the same in all files, '' when it is not."""
    texts = {file.text(name) for file in files}
    return texts.pop() if len(texts) == 1 else ""


def _both_ways(folder: Path, files: list[Header]) -> str:
    study = _shared(files, "study")
    named = f"name it by its study in a manifest or for predict, {folder.name}#{study}, or " if study else ""
    return (
        f"one volume: {named}give all files one Series Instance UID; single pictures: put each into a folder "
        "of its own"
    )


def _by_series(folder: Path) -> dict[str, list[Header]]:
    groups: dict[str, list[Header]] = {}
    for path in _like_slices(folder):
        header = read_header(path)  # refuses what looks like a slice and is none
        if header.text("series") or not header.text("sop_class").startswith(NO_PIXELS):
            groups.setdefault(header.text("series"), []).append(header)
    return groups


def may_be_slice(path: Path) -> bool:
    """Whether a file in a folder with a series is read as one of it: it is DICOM or is called so."""
    called = path.suffix.lower() in ENDINGS or path.suffix[1:].isdigit()
    return is_dicom(path) or (called and path.name.upper() != DIRECTORY)


def is_no_picture(sop_class: str) -> bool:
    """Whether files of a SOP class are passed over beside those with an image."""
    return sop_class in NOT_PICTURES or sop_class.startswith(NO_PIXELS)


def _like_slices(folder: Path) -> Iterator[Path]:
    """The files of a folder that are DICOM or are called so."""
    for path in sorted(folder.iterdir()):
        if path.name[0] == "." or not path.is_file():
            continue
        if may_be_slice(path):
            yield path
        else:
            log.info("%s is no DICOM file and is ignored", path)


def _listed(groups: dict[str, list[Header]]) -> str:
    told = [
        f"{uid} ({files[0].text('modality')} {files[0].text('description')}, {len(files)} files)"
        for uid, files in sorted(groups.items())
    ]
    return "; ".join(told[:SHOWN]) + (f"; and {len(told) - SHOWN} more" if len(told) > SHOWN else "")
