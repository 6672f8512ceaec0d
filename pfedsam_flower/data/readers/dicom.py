"""DICOM: one file, or a folder with a series of them that make up one regular volume."""

import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from ...errors import DataError
from ..pixels import Grid, Pixels
from . import dicom_frames, itk
from .dicom_header import NATIVE, Header, is_dicom, read_header
from .refusals import unreadable, unusable
from .stack import Refusal, frame_of, stack

IMAGE_IO = "GDCMImageIO"
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
ULTRASOUND_FILM = "1.2.840.10008.5.1.4.1.1.3.1"
GREY, COLOUR = {"MONOCHROME1", "MONOCHROME2"}, {"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT"}
GEOMETRY = {"position": 3, "orientation": 6, "spacing": 2}
SHOWN = 8
LOOKED_AT = 64  # files of a folder that ``holds_dicom`` opens at most
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
    """Whether one of the first files of a folder is DICOM; cheap."""
    try:
        files = (path for path in folder.iterdir() if path.name[0] != "." and path.is_file())
        return any(is_dicom(path) for path in islice(files, LOOKED_AT))
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

    A damaged file says nothing; who reads it will be told.
    """
    found = []
    for path in _like_slices(folder):
        with suppress(DataError):
            found.append(read_header(path).text("series"))
    return len(found) > 1 and len(set(found)) == len(found)


def read(path: Path) -> Pixels:
    """One file, or the one series of images of a folder; rescaled values (Hounsfield units in CT).

    Raises:
        DataError: PFS-204 (not whole, not decodable), PFS-207 (not one regular volume).
    """
    files, place = _volume(path)
    values = np.empty((*place.shape, files[0].integer("channels", 1)), np.float32)
    for out, file in zip(values, files, strict=True):
        out[...] = _decoded(file)
    return Pixels(values, place)


def read_stored(path: Path) -> Pixels:
    """The numbers of a mask as they are stored."""
    return read(path)


def grid(path: Path) -> Grid:
    """The grid from the headers; no pixel is decoded."""
    return _volume(path)[1]


def _volume(path: Path) -> tuple[list[Header], Grid]:
    """The files in the order of their slices, checked, and the grid they make up."""
    folder, uid = split(path)
    files = _chosen(path, folder, uid) if folder.is_dir() else [read_header(path)]
    for file in files:
        _check_picture(file)
        dicom_frames.check(file)
    name = f"series {files[0].text('series')}"
    if len({_look(file) for file in files}) > 1:
        raise unusable(
            path,
            f"{name} mixes images of different size or colour in its {len(files)} files",
            "export each kind as a series of its own",
            files=len(files),
        )
    lost = [file for file in files if not file.text("position") or not file.text("orientation")]
    if len(files) == 1:
        return files, _single(files[0], oriented=not lost)
    if lost or not files[0].text("spacing"):
        raise unusable(
            path,
            f"{len(lost) or len(files)} of the {len(files)} files of {name} do not say where they lie",
            "use them as single images, or export the series with its geometry",
            files=len(files),
        )
    stacked = stack(*(np.array([_vector(f, key, n) for f in files]) for key, n in GEOMETRY.items()))
    if isinstance(stacked, Refusal):
        counts = {"files": len(files), **stacked.counts}
        raise unusable(path, f"{name} of {len(files)} files {stacked.reason}", stacked.hint, **counts)
    row, column = _vector(files[0], "spacing", 2)
    shape = (len(files), files[0].integer("rows"), files[0].integer("columns"))
    place = Grid(shape, (stacked.step_mm, row, column), (*stacked.origin, *stacked.direction))
    return [files[k] for k in stacked.order], place


def _by_series(folder: Path) -> dict[str, list[Header]]:
    groups: dict[str, list[Header]] = {}
    for path in _like_slices(folder):
        header = read_header(path)  # refuses what looks like a slice and is none
        if header.text("series") or not header.text("sop_class").startswith(NO_PIXELS):
            groups.setdefault(header.text("series"), []).append(header)
    return groups


def _like_slices(folder: Path) -> Iterator[Path]:
    """The files of a folder that are DICOM or are called so."""
    for path in sorted(folder.iterdir()):
        if path.name[0] == "." or not path.is_file():
            continue
        if is_dicom(path) or path.suffix.lower() in ENDINGS or path.suffix[1:].isdigit():
            yield path
        else:
            log.info("%s is no DICOM file and is ignored", path)


def _chosen(path: Path, folder: Path, uid: str) -> list[Header]:
    """The files of the named series, or of the only one with pictures."""
    groups = _by_series(folder)
    if uid:
        if uid not in groups:
            raise unusable(path, f"the folder holds no series {uid}", _listed(groups), series=len(groups))
        return groups[uid]
    pictures = {uid: files for uid, files in groups.items() if not _no_picture(files[0])}
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


def _listed(groups: dict[str, list[Header]]) -> str:
    told = [
        f"{uid} ({files[0].text('modality')} {files[0].text('description')}, {len(files)} files)"
        for uid, files in sorted(groups.items())
    ]
    return "; ".join(told[:SHOWN]) + (f"; and {len(told) - SHOWN} more" if len(told) > SHOWN else "")


def _no_picture(file: Header) -> tuple[str, str] | None:
    """Why a file of this class is no picture, and what to do."""
    known = NOT_PICTURES.get(file.text("sop_class"))
    if known or not file.text("sop_class").startswith(NO_PIXELS):
        return known
    return f"it is a DICOM file without an image (modality {file.text('modality')})", "leave it out"


def _check_picture(file: Header) -> None:
    if reason := _no_picture(file):
        raise unusable(file.path, *reason)
    n_frames = int((file.numbers("frames") or (1,))[0])
    if n_frames > 1:
        film = file.text("sop_class") == ULTRASOUND_FILM
        what = (
            "a film of ultrasound: frames are times"
            if film
            else "multi-frame: it hides where each frame lies"
        )
        hint = "export single frames" if film else "convert it to NIfTI, with dcm2niix for instance"
        raise unusable(file.path, f"the file is {what} ({n_frames} frames)", hint, frames=n_frames)
    photometric, compressed = file.text("photometric"), file.text("transfer_syntax") not in NATIVE
    kinds = COLOUR if compressed else {"RGB"}  # what is not compressed is not converted to RGB either
    if photometric not in (GREY if file.integer("channels", 1) == 1 else kinds):
        raise unusable(file.path, f"its colours are stored as {photometric}", "export it as grey or RGB")


def _look(file: Header) -> tuple[int, int, int, str]:
    return (
        file.integer("rows"),
        file.integer("columns"),
        file.integer("channels", 1),
        file.text("photometric"),
    )


def _vector(file: Header, name: str, n: int) -> tuple[float, ...]:
    numbers = file.numbers(name)
    if len(numbers) != n or not np.isfinite(numbers).all() or (name == "spacing" and min(numbers) <= 0):
        raise unreadable(file.path, f"its {name} is {file.text(name)!r}, not {n} numbers that can be one")
    return numbers


def _single(file: Header, oriented: bool) -> Grid:
    """The grid of one slice; like SimpleITK it is 1 mm thick where no distance of slices is given."""
    shape = (1, file.integer("rows"), file.integer("columns"))
    name = next((n for n in ("spacing", "detector_spacing") if file.text(n)), "")
    spacing = None
    if name:
        row, column = _vector(file, name, 2)
        spacing = (abs((file.numbers("slice_spacing") or (0.0,))[0]) or 1.0, row, column)
    if not oriented:
        return Grid(shape, spacing)
    direction = frame_of(np.array(_vector(file, "orientation", 6)))
    if isinstance(direction, Refusal):
        raise unusable(file.path, f"the file {direction.reason}", direction.hint)
    return Grid(shape, spacing, (*_vector(file, "position", 3), *direction.ravel().tolist()))


def _decoded(file: Header) -> np.ndarray:
    """float32 [H, W, 1 or 3] of one file, rescaled; GDCM turns MONOCHROME1, so that low is dark."""
    values = itk.read(file.path, IMAGE_IO).values
    if values.shape != (1, *_look(file)[:3]):
        raise unreadable(
            file.path, f"it decodes to {values.shape[1:]} values, its header says {_look(file)[:3]}"
        )
    return values[0]
