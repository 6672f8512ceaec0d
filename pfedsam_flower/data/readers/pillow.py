"""PNG, TIFF and JPEG through Pillow. The pages of a TIFF are slices."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from math import prod
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence

from ..pixels import Grid, Pixels
from .refusals import unusable

# what is inside must be what the suffix says: a JPEG called .png would pass as a mask
KINDS = {".png": ["PNG"], ".tif": ["TIFF"], ".tiff": ["TIFF"], ".jpg": ["JPEG"], ".jpeg": ["JPEG"]}
GREY = ("1", "L", "I", "F")
PHOTOMETRIC, DESCRIPTION, ORIENTATION, SAMPLE_FORMAT = 262, 270, 274, 339  # TIFF 6.0
WHITE_IS_LOW, SIGNED, TURNING = 0, 2, range(2, 9)
# ImageJ and OME say in the first page's description what its pages are
SEVERAL = re.compile(r"^(?:channels|frames)=(\d+)$|\bSize[CT]=\"(\d+)\"", re.MULTILINE)


def read(path: Path) -> Pixels:
    """Every page of the file; 8, 16 and 32 bits of grey keep their values, colour is 8 bits.

    Raises:
        ValueError, OSError and what else Pillow raises: the caller makes a DataError of it.
    """
    with _opened(path) as image:
        image.verify()  # checks a PNG's checksums, which reading pixels does not; needs a second opening
    with _opened(path) as image:
        _check_pages(path, image)
        pages = [_page(page) for page in islice(ImageSequence.Iterator(image), _n_pages(path, image))]
    if len({page.shape for page in pages}) != 1:
        raise ValueError(f"its {len(pages)} pages do not have one size and one number of channels")
    values = np.stack(pages)
    return Pixels(values, Grid(values.shape[:3]))


def read_stored(path: Path) -> Pixels:
    """The numbers of a mask as they are stored."""
    return read(path)


def grid(path: Path) -> Grid:
    """The grid from the header alone; no pixel is decoded."""
    with _opened(path) as image:
        _check_pages(path, image)
        return Grid((_n_pages(path, image), image.height, image.width))


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow tells the screen about odd EXIF data
        with Image.open(path, formats=KINDS[path.suffix.lower()]) as image:
            yield image


def _n_pages(path: Path, image: Image.Image) -> int:
    """Slices of the file. A JPEG has one: what else some cameras put behind it is a preview."""
    return 1 if _is_jpeg(path) else getattr(image, "n_frames", 1)


def _is_jpeg(path: Path) -> bool:
    return KINDS[path.suffix.lower()] == ["JPEG"]


def _check_pages(path: Path, image: Image.Image) -> None:
    # a PNG would be decoded for its EXIF data
    turned = (image.getexif() if _is_jpeg(path) else getattr(image, "tag_v2", {})).get(ORIENTATION)
    if turned in TURNING:
        raise unusable(
            path,
            f"viewers turn it as its EXIF orientation says ({turned}), so a mask may be turned against it",
            "save it turned, without that mark, and check its mask",
        )
    text = str(getattr(image, "tag_v2", {}).get(DESCRIPTION, ""))
    if not text.startswith(("ImageJ=", "<?xml", "<OME")):
        return
    n = prod(int(a or b) for a, b in SEVERAL.findall(text))
    if getattr(image, "n_frames", 1) > 1 and n > 1:
        raise unusable(
            path, f"its pages are {n} channels or time points", "save each as a stack of its own", volumes=n
        )


def _page(page: Image.Image) -> np.ndarray:
    """float32 [H, W, 1 or 3] of one page; alpha is dropped, a palette becomes its colours."""
    if page.mode.startswith("I;16") or page.mode in GREY:
        return _grey(page).astype(np.float32)[..., None]
    if any(";16" in str(tile[3]) for tile in getattr(page, "tile", ())):
        raise ValueError(
            "16-bit colour or alpha would be cut to 8 bits; store it as 16-bit grey or 8-bit colour"
        )
    if page.mode in ("LA", "La"):
        return np.asarray(page.convert("LA"))[..., :1].astype(np.float32)
    if page.mode in ("P", "PA"):
        page = page.convert("RGBA")  # a transparent palette entry would otherwise turn black
    return np.asarray(page.convert("RGB")).astype(np.float32)


def _grey(page: Image.Image) -> np.ndarray:
    """[H, W] as stored; Pillow takes the sign and the sense of some TIFFs for others."""
    values = np.asarray(page)
    tags = getattr(page, "tag_v2", {})
    signed = SIGNED in np.atleast_1d(tags.get(SAMPLE_FORMAT, 1))
    if tags and page.mode == "L" and signed:
        values = values.view(np.int8)
    if tags and page.mode == "I" and not signed:
        values = values.view(np.uint32)
    if tags.get(PHOTOMETRIC) == WHITE_IS_LOW and page.mode not in ("1", "L"):  # which Pillow has turned
        if not page.mode.startswith("I;16") or signed:
            raise ValueError("low is white in it; save it with low as black")
        values = np.uint16(65535) - values
    return values
