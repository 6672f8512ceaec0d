"""PNG, TIFF and JPEG through Pillow. The pages of a TIFF are slices."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence

from ..pixels import Grid, Pixels

GREY = ("1", "L", "I", "F")


def read(path: Path) -> Pixels:
    """Every page of the file; 8, 16 and 32 bits of grey keep their values, colour is 8 bits.

    Raises:
        ValueError, OSError and what else Pillow raises: the caller makes a DataError of it.
    """
    with Image.open(path) as image:
        image.verify()  # checks a PNG's checksums, which reading pixels does not; needs a second opening
    with Image.open(path) as image:
        pages = [_page(page) for page in ImageSequence.Iterator(image)]
    if len({page.shape for page in pages}) != 1:
        raise ValueError(f"its {len(pages)} pages do not have one size and one number of channels")
    values = np.stack(pages)
    return Pixels(values, Grid(values.shape[:3]))


def grid(path: Path) -> Grid:
    """The grid from the header alone; no pixel is decoded."""
    with Image.open(path) as image:
        return Grid((getattr(image, "n_frames", 1), image.height, image.width))


def _page(page: Image.Image) -> np.ndarray:
    """float32 [H, W, 1 or 3] of one page; alpha is dropped, a palette becomes its colours."""
    if page.mode.startswith("I;16") or page.mode in GREY:
        return np.asarray(page).astype(np.float32)[..., None]
    if any(";16" in str(tile[3]) for tile in getattr(page, "tile", ())):
        raise ValueError(
            "16-bit colour or alpha would be cut to 8 bits; store it as 16-bit grey or 8-bit colour"
        )
    if page.mode in ("LA", "La"):
        return np.asarray(page.convert("LA"))[..., :1].astype(np.float32)
    if page.mode in ("P", "PA"):
        page = page.convert("RGBA")  # a transparent palette entry would otherwise turn black
    return np.asarray(page.convert("RGB")).astype(np.float32)
