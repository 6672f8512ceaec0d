"""TIFF through tifffile and imagecodecs: pages, and stacks in one directory, are slices."""

import logging
import math
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..pixels import Grid, Pixels
from .refusals import refuse_size, refuse_turned, unreadable, unusable
from .stored import AS_NUMBERS, lossy, refuse_alpha, refuse_falling_palette

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage, TiffPageSeries

PHOTOMETRIC, ORIENTATION = 262, 274  # tags of TIFF 6.0
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, YCBCR = 0, 1, 2, 3, 6
CHUNKY = 1
REDUCED, TRANSPARENCY = 1, 4  # bits of NewSubfileType
ALPHA = (1, 2)  # ExtraSamples: associated, unassociated
PLAIN, JPEG = 1, 7
# none, three of CCITT, LZW, deflate by both numbers, PackBits, LZMA, Zstandard, PNG
LOSSLESS = (PLAIN, 2, 3, 4, 5, 8, 32946, 32773, 34925, 34926, 50000, 34933)
# letters of tifffile: slices, and pages of which nothing is said
SLICES = ("Z", "I", "Q")
DESCRIBED = ("ome", "imagej", "shaped")


def read(path: Path) -> Pixels:
    """Every slice as an image: low is dark, a palette becomes its colours, alpha is dropped.

    Raises:
        DataError: PFS-204 when it is damaged, too large, or of colours that are not RGB; PFS-207 when its
            pages are not the slices of one volume.
        ValueError and what else tifffile raises: the caller makes a DataError of it.
    """
    with _opened(path) as tif:
        _, page, values = _stack(path, tif)
        if page.photometric == PALETTE:
            values = _colours(page, values[..., 0])
        elif page.photometric == WHITE_IS_ZERO:
            values = _turned(page, values)
        else:
            values = values[..., : _n_channels(page)]
    return Pixels(values.astype(np.float32), Grid(values.shape[:3]))


def read_stored(path: Path) -> Pixels:
    """Every slice as a mask: the numbers as they are stored, in their own type.

    Raises:
        DataError: PFS-204 also when the compression may lose something, or when the numbers are not for
            certain the labels; else as ``read``.
    """
    with _opened(path) as tif:
        for page in tif.pages:
            if page.compression not in LOSSLESS:
                raise lossy(path, f"{_name(page.compression)} compression inside the TIFF")
        _, page, values = _stack(path, tif)
        if page.photometric == WHITE_IS_ZERO and not tif.is_imagej:
            raise unreadable(
                path,
                "the mask is inverted: its file says that 0 is white, so its labels may be the numbers stored "
                "or the greys seen",
                "save the numbers that are meant with 0 as black (photometric MINISBLACK)",
            )
        if page.photometric == PALETTE and page.colormap is not None:
            refuse_falling_palette(path, values, np.asarray(page.colormap).T)
        n = _n_channels(page)
        if values.shape[-1] > n:
            whole = values.dtype.kind in "iu"
            refuse_alpha(path, values[..., n:], np.iinfo(values.dtype).max if whole else 1)
    values = values[..., :n]
    return Pixels(values.view(np.uint8) if values.dtype == np.bool_ else values, Grid(values.shape[:3]))


def grid(path: Path) -> Grid:
    """The grid from the headers alone; no pixel is decoded."""
    with _opened(path) as tif:
        series = _series(path, tif)
        page = series.keyframe
        return Grid((_n_slices(path, series), page.imagelength, page.imagewidth))


@contextmanager
def _opened(path: Path) -> Iterator["TiffFile"]:
    from tifffile import TiffFile  # late: the command line starts without it

    # a description may name other files; a volume is one file
    with _listening() as said, TiffFile(path, _multifile=False) as tif:
        yield tif
        if said:  # tifffile goes on with zeros, or with fewer pages
            raise ValueError(said[0])


@contextmanager
def _listening() -> Iterator[list[str]]:
    """What tifffile warns of in this thread, without the file's name."""
    said: list[str] = []
    thread = threading.get_ident()

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == thread:
                said.append(re.sub(r"<tifffile\.[^>]*> ?", "", record.getMessage()))

    handler, log = Handler(logging.WARNING), logging.getLogger("tifffile")
    log.addHandler(handler)
    log.propagate = False
    try:
        yield said
    finally:
        log.removeHandler(handler)


def _stack(path: Path, tif: "TiffFile") -> tuple["TiffPageSeries", "TiffPage", np.ndarray]:
    """The series, its first page, and [slices, H, W, samples] in the machine's byte order."""
    series = _series(path, tif)
    page = series.keyframe
    values = series.asarray(squeeze=False).reshape(
        _n_slices(path, series), page.imagelength, page.imagewidth, -1
    )
    return series, page, values


def _series(path: Path, tif: "TiffFile") -> "TiffPageSeries":
    """The one series of a file, all pages of which are there, alike and whole."""
    pages = [page for page in tif.pages]
    for page in pages:
        refuse_turned(path, page.tags.valueof(ORIENTATION))
        _refuse_kind(path, page)  # type: ignore[arg-type]
        _refuse_holes(path, tif, page)  # type: ignore[arg-type]
    full = [page for page in pages if not page.subfiletype & REDUCED]
    if len({page.shape for page in full}) > 1:
        raise ValueError(f"its {len(full)} pages do not have one size and one number of channels")
    inner = [page for one in full for page in one.pages or ()]
    if not full or full[0].index or not all(page.subfiletype & REDUCED for page in inner):
        raise unusable(
            path, "it holds other pictures beside its slices", "save the slices as a file of their own"
        )
    series = tif.series[0]
    page = series.keyframe
    if len(tif.series) > 1:
        raise ValueError(f"its {len(full)} pages are not stored alike")
    described = next((kind for kind in DESCRIBED if getattr(tif, f"is_{kind}")), series.kind)
    in_one = len(full) == 1 and series.size > page.size
    if in_one and not _is_there(tif, page, series.nbytes):
        raise unreadable(path, f"{series.size // page.size} slices are described, which are not all in it")
    if described != series.kind or (not in_one and series.size != sum(one.size for one in full)):
        n = series.size // page.size
        raise unusable(
            path,
            f"its {described} description does not fit its {len(full)} page(s): {n} are meant, or other files",
            "save it as one stack in one file",
        )
    refuse_size(path, page.imagelength, page.imagewidth)
    return series


def _n_slices(path: Path, series: "TiffPageSeries") -> int:
    """Slices of a series; refuses every other axis."""
    page = series.keyframe
    axes = dict(zip(series.get_axes(squeeze=False), series.get_shape(squeeze=False), strict=True))
    letters = "".join(series.get_axes(squeeze=False))
    several = [a for a in letters if axes[a] > 1 and a not in "YX" and not (a == "S" and _is_last(letters))]
    if len(letters) == len(axes) and re.search("YXS?$", letters) and set(several) <= set(SLICES):
        n = math.prod(axes[a] for a in several)
        if (
            len(several) <= 1
            and n * page.imagelength * page.imagewidth * _n_last(axes, letters) == series.size
        ):
            return n
    if set(several) == {"S"}:
        raise unusable(
            path,
            f"it holds {axes['S']} separate planes, and does not say whether they are slices, channels or colours",
            "save slices as pages, and colours as RGB pixel by pixel (planar configuration 1)",
            volumes=axes["S"],
        )
    n = math.prod(axes[a] for a in several)
    raise unusable(
        path,
        f"its pages are {n} channels or time points, or of unknown meaning (axes {letters})",
        "save each as a stack of its own",
        volumes=n,
    )


def _is_last(letters: str) -> bool:
    return letters.endswith("YXS")


def _n_last(axes: dict[str, int], letters: str) -> int:
    return axes["S"] if _is_last(letters) else 1


def _refuse_kind(path: Path, page: "TiffPage") -> None:
    """Raises where the numbers of a page have a meaning that is not read here."""
    kind, extra = page.photometric, tuple(page.extrasamples)
    if PHOTOMETRIC not in page.tags:
        raise unreadable(path, "it does not say whether low is black or white", AS_NUMBERS)
    if page.subfiletype & TRANSPARENCY:
        raise unusable(path, "one of its pages is a transparency mask", "save it without", volumes=2)
    by_jpeg = kind == YCBCR and page.compression == JPEG  # which the decoder makes RGB
    if kind not in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE) and not by_jpeg:
        raise unreadable(path, f"its colours are {_name(kind)}", "save it as RGB or grey")
    if page.dtype is None or page.dtype.kind not in "biuf":
        raise unreadable(
            path,
            f"its numbers have {page.bitspersample} bits of {_name(page.sampleformat)} format",
            "save it with 8, 16 or 32 bits",
        )
    n = 3 if kind in (RGB, YCBCR) else 1
    if page.samplesperpixel > n and page.planarconfig == CHUNKY:
        if page.samplesperpixel > n + 1 or extra[-1:] not in [(one,) for one in ALPHA]:
            raise unusable(
                path,
                f"each pixel has {page.samplesperpixel} numbers, of which only {n} have a known meaning",
                "save each channel as a file of its own, or grey or RGB alone",
                volumes=page.samplesperpixel,
            )


def _refuse_holes(path: Path, tif: "TiffFile", page: "TiffPage") -> None:
    """Raises where strips or tiles are missing, empty or beyond the end: tifffile fills them with zeros."""
    parts = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    size = tif.filehandle.size
    n = math.prod(page.chunked)
    lacking = n - sum(start > 0 and count > 0 and start + count <= size for start, count in parts)
    if lacking or (page.is_contiguous and sum(page.databytecounts) < page.nbytes):
        raise unreadable(path, f"{max(lacking, 1)} of {n} strips or tiles of a page are missing or cut")


def _is_there(tif: "TiffFile", page: "TiffPage", n_bytes: int) -> bool:
    """Whether a stack behind one page is in the file, one plane after another."""
    return bool(page.is_contiguous) and page.dataoffsets[0] + n_bytes <= tif.filehandle.size


def _n_channels(page: "TiffPage") -> int:
    return 3 if page.photometric in (RGB, YCBCR) else 1


def _colours(page: "TiffPage", indices: np.ndarray) -> np.ndarray:
    """[..., 3] of 8 bits; a colour map has 16."""
    colormap = np.asarray(page.colormap).T
    if indices.max() >= len(colormap):
        raise ValueError(f"pixels of colour {indices.max()}, and a palette of {len(colormap)} colours")
    return colormap[indices] >> 8


def _turned(page: "TiffPage", values: np.ndarray) -> np.ndarray:
    if values.dtype.kind not in "bu":
        raise ValueError("low is white in it; save it with low as black")
    return (2**page.bitspersample - 1) - values.astype(np.int64)


def _name(number: object) -> str:
    return str(getattr(number, "name", number))
