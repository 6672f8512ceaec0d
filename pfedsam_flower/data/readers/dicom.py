"""DICOM: one file, or a folder with a series of them that make up one regular volume."""

from collections import Counter
from collections.abc import Callable, Hashable
from pathlib import Path

import numpy as np

from ..findings import some
from ..pixels import Grid, Pixels
from . import dicom_frames, dicom_place
from .dicom_header import NATIVE, RLE, Header, read_header
from .dicom_series import ENDINGS as ENDINGS
from .dicom_series import Series as Series
from .dicom_series import all_apart as all_apart
from .dicom_series import chosen, look, no_picture
from .dicom_series import holds_dicom as holds_dicom
from .dicom_series import is_no_picture as is_no_picture
from .dicom_series import may_be_slice as may_be_slice
from .dicom_series import series_in as series_in
from .dicom_series import split as split
from .dicom_start import DIRECTORY as DIRECTORY
from .dicom_start import is_dicom as is_dicom
from .dicom_start import sop_class as sop_class
from .dicom_values import meant, stored
from .refusals import unreadable, unusable

ULTRASOUND_FILM = "1.2.840.10008.5.1.4.1.1.3.1"
GREY, COLOUR = {"MONOCHROME1", "MONOCHROME2"}, {"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT"}
PALETTE = "PALETTE COLOR"
EXACT = GREY | {PALETTE, "RGB", "YBR_RCT"}  # colours whose stored numbers come out as they are
LARGEST = 2**24  # float32 holds whole numbers exactly up to here


def read(path: Path) -> Pixels:
    """One file, or the one series of images of a folder; rescaled values (Hounsfield units in CT).

    Raises:
        DataError: PFS-204 (not whole, not decodable), PFS-207 (not one regular volume, values that cannot be
            told).
    """
    return _decoded(path, _meant)


def read_stored(path: Path) -> Pixels:
    """The numbers of a mask as they are stored: not turned, rescaled or looked up; of a palette its indices.

    Raises:
        DataError: as ``read``, and PFS-204 when the pixels were compressed with loss.
    """
    return _decoded(path, _exact)


def grid(path: Path) -> Grid:
    """The grid from the headers; no pixel is decoded."""
    return _volume(path)[1]


def _decoded(path: Path, values_of: Callable[[Header], np.ndarray]) -> Pixels:
    files, place = _volume(path)
    values = np.empty((*place.shape, files[0].integer("channels", 1)), np.float32)
    for out, file in zip(values, files, strict=True):
        out[...] = values_of(file)
    return Pixels(values, place)


def _meant(file: Header) -> np.ndarray:
    if file.text("photometric") == PALETTE:
        raise unusable(file.path, f"its colours are stored as {PALETTE}", "export it as grey or RGB")
    return meant(file)


def _exact(file: Header) -> np.ndarray:
    if reason := dicom_frames.loss(file):
        raise unreadable(
            file.path,
            f"{reason}, which blurs the values of a mask",
            "save masks without loss, as NIfTI or PNG",
        )
    if file.text("photometric") not in EXACT:
        raise unreadable(
            file.path,
            f"the mask's colours are stored as {file.text('photometric')}",
            "save one whole number per pixel, not a picture of the mask",
        )
    numbers = stored(file)
    if np.abs(numbers).max() > LARGEST:
        raise unreadable(file.path, f"the mask has numbers beyond {LARGEST}", "number its labels from 1")
    return numbers


def _volume(path: Path) -> tuple[list[Header], Grid]:
    """The files in the order of their slices, checked, and the grid they make up."""
    folder, uid = split(path)
    files = chosen(path, folder, uid) if folder.is_dir() else [read_header(path)]
    for file in files:
        _check_picture(file)
        dicom_frames.check(file)
    if len(files) == 1:
        return files, dicom_place.single(files[0])
    name = f"series {files[0].text('series') or '(without UID)'}"
    _check_alike(path, files, name)
    return dicom_place.volume(path, files, name)


def _check_alike(path: Path, files: list[Header], name: str) -> None:
    kinds: tuple[tuple[Callable[[Header], Hashable], str], ...] = (
        (look, "images of different size or colour"),
        (lambda file: file.text("kernel"), "reconstructions (Convolution Kernel)"),
    )
    for key, what in kinds:
        found = Counter(key(file) for file in files)
        usual, n = found.most_common(1)[0]
        if len(found) > 1:
            odd = [file.path.name for file in files if key(file) != usual] if 2 * n > len(files) else []
            raise unusable(
                path,
                f"{name} mixes {what} in its {len(files)} files" + (f": {some(odd)}" if odd else ""),
                "export each kind as a series of its own",
                files=len(files),
            )


def _check_picture(file: Header) -> None:
    if reason := no_picture(file):
        raise unusable(file.path, *reason)
    _check_one_frame(file)
    photometric, as_stored = file.text("photometric"), file.text("transfer_syntax") in NATIVE | {RLE}
    kinds = {"RGB"} if as_stored else COLOUR  # only what JPEG decodes is converted to RGB
    if photometric not in (GREY | {PALETTE} if file.integer("channels", 1) == 1 else kinds):
        raise unusable(
            file.path, f"its colours are stored as {photometric or '(not said)'}", "export it as grey or RGB"
        )


def _check_one_frame(file: Header) -> None:
    n_frames = int((file.numbers("frames") or (1,))[0])
    if n_frames > 1 and file.text("sop_class") == ULTRASOUND_FILM:
        what = f"a film of ultrasound: frames are times ({n_frames} frames)"
        raise unusable(file.path, f"the file is {what}", "export single frames", frames=n_frames)
    hint = "convert it to NIfTI, with dcm2niix for instance"
    if n_frames > 1:
        what = f"multi-frame: it hides where each frame lies ({n_frames} frames)"
        raise unusable(file.path, f"the file is {what}", hint, frames=n_frames)
    if file.values.keys() & {"shared_groups", "frame_groups"}:
        raise unusable(file.path, "the file is of an enhanced class: it hides where its frame lies", hint)
