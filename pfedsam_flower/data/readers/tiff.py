"""TIFF through tifffile and imagecodecs: pages, and stacks in one directory, are slices."""

import logging
import math
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

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
ALPHA = ((1,), (2,))  # ExtraSamples: associated or not
PLAIN, JPEG = 1, 7
# none, three of CCITT, LZW, deflate by both numbers, PackBits, LZMA, Zstandard, PNG
LOSSLESS = (PLAIN, 2, 3, 4, 5, 8, 32946, 32773, 34925, 34926, 50000, 34933)
# letters of tifffile: slices, and pages of which nothing is said
SLICES = ("Z", "I", "Q")
DESCRIBED = {"ome": "OME", "imagej": "ImageJ", "shaped": "tifffile"}
COLOURS = {5: "CMYK", 6: "YCbCr", 8: "CIELAB"}


def read(path: Path) -> Pixels:
    """Every slice as an image: low is dark, a palette becomes its colours, alpha is dropped.

    Raises:
        DataError: PFS-204 when it is damaged, too large, or of colours that are not RGB; PFS-207 when its
            pages are not the slices of one volume.
        ValueError and what else tifffile raises: the caller makes a DataError of it.
    """
    with _opened(path) as tif:
        page, values = _stack(path, tif)
        values = values[..., : _n_channels(page)]
        if page.photometric == PALETTE:
            values = _colours(page, values[..., 0])
        elif page.photometric == WHITE_IS_ZERO:
            values = _turned(page, values)
    return Pixels(values.astype(np.float32), Grid(values.shape[:3]))


def read_stored(path: Path) -> Pixels:
    """Every slice as a mask: the numbers as they are stored, in their own type.

    Raises:
        DataError: PFS-204 also when the compression may lose something, or when the numbers are not for
            certain the labels; else as ``read``.
    """
    with _opened(path) as tif:
        for page in _pages(tif):
            if page.compression not in LOSSLESS:
                raise lossy(path, f"{_name(page.compression)} compression, which is inside this TIFF,")
        page, values = _stack(path, tif)
        if page.photometric == WHITE_IS_ZERO and not tif.is_imagej:
            raise unreadable(
                path,
                "the mask is inverted: 0 is white in it, so the labels may be the numbers stored or seen",
                "save the numbers that are meant with 0 as black (photometric MINISBLACK)",
            )
        if page.photometric == PALETTE:
            refuse_falling_palette(path, values, np.asarray(page.colormap).T)
        n = _n_channels(page)
        if values.shape[-1] > n:
            refuse_alpha(path, values[..., n:], 1 if values.dtype.kind == "f" else 2**page.bitspersample - 1)
    values = values[..., :n]
    if values.dtype in (np.bool_, np.float16):  # in neither of which the largest label can be said
        values = values.astype(np.float32)
    return Pixels(values, Grid(values.shape[:3]))


def grid(path: Path) -> Grid:
    """The grid from the headers alone; no pixel is decoded."""
    with _opened(path) as tif:
        series = _series(path, tif)
        page = series[0].keyframe
        samples = page.imagelength * page.imagewidth * _n_samples(page)
        return Grid((sum(one.size for one in series) // samples, page.imagelength, page.imagewidth))


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
                said.append("tifffile warns: " + re.sub(r"<[^>]*> ?", "", record.getMessage()))

    handler, log = Handler(logging.WARNING), logging.getLogger("tifffile")
    log.addHandler(handler)
    log.setLevel(logging.WARNING)
    log.propagate = False
    try:
        yield said
    finally:
        log.removeHandler(handler)


def _stack(path: Path, tif: "TiffFile") -> tuple["TiffPage", np.ndarray]:
    """The first page, which stands for all, and [slices, H, W, samples] in the machine's byte order."""
    series = _series(path, tif)
    page = series[0].keyframe
    shape = (-1, page.imagelength, page.imagewidth, _n_samples(page))
    return page, np.concatenate([one.asarray().reshape(shape) for one in series])


def _series(path: Path, tif: "TiffFile") -> "list[TiffPageSeries]":
    """What tifffile makes of the pages, all of which are there, alike, whole, and slices.

    It is one series, or as many of one slice each as were written one by one.
    """
    pages = _pages(tif)
    for page in pages:
        refuse_turned(path, page.tags.valueof(ORIENTATION))
        _refuse_kind(path, page)
        _refuse_holes(path, tif, page)
    full = [page for page in pages if not page.subfiletype & REDUCED]
    inner = [cast("TiffPage", page) for one in full for page in one.pages or ()]
    if not full or full[0].index or not all(page.subfiletype & REDUCED for page in inner):
        raise unusable(
            path, "it holds other pictures beside its slices", "save the slices as a file of their own"
        )
    if len({page.shape for page in full}) > 1:
        raise ValueError(f"its {len(full)} pages do not have one size and one number of channels")
    if len({_manner(page) for page in full}) > 1:
        raise ValueError(f"its {len(full)} pages are not stored alike")
    first, series = full[0], tif.series
    refuse_size(path, first.imagelength, first.imagewidth)
    n, kind = sum(one.size for one in series) // first.size, series[0].kind
    if len(full) == 1 and n > 1 and not _is_there(tif, first, n):
        raise unreadable(path, f"{n} slices are described, which are not all in it")
    described = next((one for one in DESCRIBED if getattr(tif, f"is_{one}")), kind)
    said = (tif.imagej_metadata or {}).get(
        "images", n
    )  # of which tifffile makes slices only where it says so
    if described != kind or said != n or (len(full) > 1 and n != len(full)):
        raise unusable(
            path,
            f"its {DESCRIBED.get(described, 'own')} description does not fit the {len(full)} page(s) in it: "
            "some are missing, lie in other files, or are too many",
            "save it as one stack in one file",
        )
    if len(series) > 1 and (kind == "ome" or len(series) != len(full)):
        raise unusable(
            path, f"it holds {len(series)} images", "save each as a file of its own", volumes=len(series)
        )
    for one in series:
        _refuse_axes(path, one)
    return series


def _pages(tif: "TiffFile") -> "list[TiffPage]":
    """The pages in their order; a damaged list of them can run in a circle, for ever."""
    pages: dict[int, TiffPage] = {}
    for page in tif.pages:
        if page.offset in pages:
            raise ValueError("its list of pages runs in a circle")
        pages[page.offset] = cast("TiffPage", page)
    return list(pages.values())


def _manner(page: "TiffPage") -> tuple[object, ...]:
    """What pages must have in common for the numbers of one to mean what those of another mean."""
    colours = np.asarray(page.colormap).tobytes() if page.photometric == PALETTE else b""
    return page.dtype, page.bitspersample, page.photometric, tuple(page.extrasamples), colours


def _refuse_axes(path: Path, series: "TiffPageSeries") -> None:
    """Raises PFS-207 unless a series is one picture or slices of it, with samples last."""
    letters, shape = series.axes, series.shape
    found = re.fullmatch("(.*)YXS?", letters)
    ahead = letters if found is None else found[1]
    several = {letter: n for letter, n in zip(letters, shape, strict=True) if n > 1 and letter in ahead}
    n_axes = sum(n > 1 for n in shape[: len(ahead)])
    if found and n_axes <= 1 and set(several) <= set(SLICES):
        return
    if not found and "S" not in letters:
        raise unusable(
            path,
            f"its {' x '.join(map(str, shape))} numbers are described as {letters}: rows (Y) and columns (X) "
            "do not come last",
            "save it with rows and columns last; with NumPy: array.squeeze() drops axes of length 1",
        )
    if set(several) == {"S"}:
        raise unusable(
            path,
            f"it holds {several['S']} separate planes, and does not say whether they are slices, channels or "
            "colours",
            "save slices as pages, and colours as RGB pixel by pixel (planar configuration 1)",
            volumes=several["S"],
        )
    n = math.prod(shape[: len(ahead)])
    raise unusable(
        path,
        f"its pages are {n} channels or time points, or of unknown meaning (axes {letters})",
        "save each as a stack of its own",
        volumes=n,
    )


def _n_samples(page: "TiffPage") -> int:
    """Numbers of one pixel that lie side by side."""
    return page.samplesperpixel if page.planarconfig == CHUNKY else 1


def _refuse_kind(path: Path, page: "TiffPage") -> None:
    """Raises where the numbers of a page have a meaning that is not read here."""
    kind = page.photometric
    if PHOTOMETRIC not in page.tags:
        raise unreadable(path, "it does not say whether low is black or white", AS_NUMBERS)
    if page.subfiletype & TRANSPARENCY:
        raise unusable(path, "one of its pages is a transparency mask", "save it without", volumes=2)
    by_jpeg = kind == YCBCR and page.compression == JPEG  # which the decoder makes RGB
    if kind not in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE) and not by_jpeg:
        raise unreadable(path, f"its colours are {COLOURS.get(kind, _name(kind))}", "save it as RGB or grey")
    if page.dtype is None or page.dtype.kind not in "biuf":
        raise unreadable(
            path,
            f"its numbers have {page.bitspersample} bits of {_name(page.sampleformat)} format",
            "save it with 8, 16 or 32 bits",
        )
    n = 3 if kind in (RGB, YCBCR) else 1
    has_alpha = page.samplesperpixel == n + 1 and tuple(page.extrasamples)[-1:] in ALPHA
    if page.planarconfig == CHUNKY and page.samplesperpixel > n and not has_alpha:
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


def _is_there(tif: "TiffFile", page: "TiffPage", n: int) -> bool:
    """Whether ``n`` planes of the size of one page are in the file, one after another."""
    return bool(page.is_contiguous) and page.dataoffsets[0] + n * page.nbytes <= tif.filehandle.size


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
