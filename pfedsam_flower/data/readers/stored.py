"""When the numbers that a picture file stores are the labels of a mask, and when they are not."""

from pathlib import Path

import numpy as np

from ...errors import DataError
from .refusals import unreadable

AS_NUMBERS = "save one whole number per pixel as 8-bit or 16-bit grey, without alpha or palette"


def lossy(path: Path, codec: str) -> DataError:
    """The refusal of a mask whose pixels are, or may be, compressed with loss."""
    return unreadable(
        path,
        f"{codec} can blur the values of a mask",
        "save masks from their source as PNG, NIfTI or TIFF with deflate, LZW or no compression",
    )


def refuse_alpha(path: Path, alpha: np.ndarray, opaque: float) -> None:
    """Raises PFS-204 unless ``alpha`` is ``opaque`` everywhere: else the drawing may be in it.

    Args:
        alpha: [...] as stored.
        opaque: the value of a pixel that hides what is behind it.
    """
    if (alpha != opaque).any():
        raise unreadable(
            path,
            "the mask has an alpha channel that is not opaque everywhere, so its labels may be there or "
            "in its colours",
            "save the channel that holds the labels as grey without alpha; with Pillow: "
            "Image.open(old).getchannel('A').save(new), or 'R' in place of 'A'",
        )


def refuse_falling_palette(path: Path, indices: np.ndarray, palette: np.ndarray) -> None:
    """Raises PFS-204 when the palette turns the order of ``indices`` around.

    Labels are the indices, whatever their colours. Only where all colours in use are greys and one
    with a higher index is darker, a viewer shows another mask than the indices say.

    Args:
        indices: whole numbers of any shape.
        palette: [n, 3]; n may be smaller than the largest index.
    """
    used = np.unique(indices)
    colours = palette[used[used < len(palette)]].astype(np.int64)
    if (colours == colours[:, :1]).all() and (np.diff(colours[:, 0]) < 0).any():
        raise unreadable(
            path,
            "the palette of the mask turns its numbers around: a higher number is a darker grey",
            "save what is meant as grey without a palette; the greys that are seen, with Pillow: "
            "Image.open(old).convert('L').save(new)",
        )
