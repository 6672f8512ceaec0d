"""Images and masks → the square that the network sees, and back."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..settings.run import ImageSettings


@dataclass(frozen=True)
class InputRule:
    """How a slice becomes the square that the network sees.

    Attributes:
        size: side S of the square, pixels.
        stretch: both sides of a slice become ``size``; the backbone's pixel rule says which.
        spacing_mm: mm per pixel of the square; 0: the longest side of a slice becomes ``size``.
        neighbours: slices before and after that become channels 1 and 3; 0: the slice alone.
    """

    size: int
    stretch: bool = False
    spacing_mm: float = 0.0
    neighbours: int = 0


Spacing = tuple[float, float, float] | None
"""mm between slices, rows and columns, where they are known."""


def input_rule(image: ImageSettings, stretch: bool) -> InputRule:
    """The federation's rule; ``stretch`` as the backbone wants it (``PFedSAM.pixels.stretch``)."""
    return InputRule(image.size, stretch, image.spacing_mm, image.neighbours)


def fit(image: np.ndarray, rule: InputRule, spacing_mm: Spacing = None) -> tuple[np.ndarray, tuple[int, int]]:
    """The image at the size that the rule gives it, zeros added at the right and bottom.

    Args:
        image: float32 [H, W, C] in 0..255.

    Returns:
        float32 [C, S, S] in 0..255, and (h, w), the part of it that is image.

    Raises:
        ValueError: the rule wants a spacing and there is none.
    """
    h, w = fitted_shape(image.shape[0], image.shape[1], rule, spacing_mm)
    square = np.zeros((image.shape[2], rule.size, rule.size), np.float32)
    for channel in range(image.shape[2]):
        square[channel, :h, :w] = _resize(image[..., channel], (h, w))
    return np.clip(square, 0.0, 255.0, out=square), (h, w)


def fit_target(mask: np.ndarray, rule: InputRule, spacing_mm: Spacing = None) -> np.ndarray:
    """The masks on the same square as soft targets: the share of each pixel that the class covers.

    Args:
        mask: bool [K, H, W].

    Returns:
        float32 [K, S, S] in 0..1.
    """
    h, w = fitted_shape(mask.shape[1], mask.shape[2], rule, spacing_mm)
    square = np.zeros((mask.shape[0], rule.size, rule.size), np.float32)
    for k, one in enumerate(mask):
        if one.any():
            square[k, :h, :w] = _area(_area(one, h).T, w).T
    return np.clip(square, 0.0, 1.0, out=square)


def unfit(square: np.ndarray, valid: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
    """Values on the square brought back to the image's own grid (bilinear): float32 [K, *shape].

    Args:
        square: float [K, S, S].
        valid: (h, w) as ``fit`` gave it.
    """
    h, w = valid
    planes = [_resize(np.asarray(plane[:h, :w], np.float32), shape) for plane in square]
    return np.stack(planes)


def fitted_shape(height: int, width: int, rule: InputRule, spacing_mm: Spacing = None) -> tuple[int, int]:
    """(h, w) of a slice on the square, one pixel at least; see ``InputRule``.

    With a working spacing, a slice that would not fit is shrunk until it does, both sides alike.

    Raises:
        ValueError: the rule wants a spacing and there is none.
    """
    if rule.stretch:
        return rule.size, rule.size
    high, wide = _extent(height, width, rule, spacing_mm)
    if not rule.spacing_mm or is_shrunk(height, width, rule, spacing_mm):
        longest = max(high, wide)
        high, wide = high * rule.size / longest, wide * rule.size / longest
    return max(1, round(high)), max(1, round(wide))


def is_shrunk(height: int, width: int, rule: InputRule, spacing_mm: Spacing) -> bool:
    """Whether a slice does not fit the square at the working spacing (False where none is set)."""
    return bool(rule.spacing_mm) and round(max(_extent(height, width, rule, spacing_mm))) > rule.size


def channel_places(place: int, n_slices: int, neighbours: int) -> list[int]:
    """The slices that are the channels of slice ``place``: itself, or with the neighbours on both sides.

    Beyond the ends of a volume its first or last slice stands in.
    """
    around = range(place - neighbours, place + neighbours + 1)
    return [min(max(one, 0), n_slices - 1) for one in around]


def _extent(height: int, width: int, rule: InputRule, spacing_mm: Spacing) -> tuple[float, float]:
    """Height and width at the working spacing, in pixels; as they are where none is set."""
    if not rule.spacing_mm:
        return height, width
    if spacing_mm is None:
        raise ValueError("a working spacing is set, and the slices have none")
    return height * spacing_mm[1] / rule.spacing_mm, width * spacing_mm[2] / rule.spacing_mm


def _resize(plane: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    if plane.shape == shape:
        return plane
    image = Image.fromarray(np.ascontiguousarray(plane, np.float32))
    return np.asarray(image.resize(shape[::-1], Image.Resampling.BILINEAR))


def _area(plane: np.ndarray, n: int) -> np.ndarray:
    """The plane with ``n`` rows, each the average of the rows it covers, parts of rows by their share.

    Pillow's box filter takes or leaves whole rows: at fractional scales that is no average, and it moves
    masks by up to half a pixel against their images.
    """
    edges = np.arange(n + 1) * len(plane) / n
    below = np.minimum(edges.astype(int), len(plane) - 1)
    sums = np.concatenate([np.zeros((1, plane.shape[1])), np.cumsum(plane, axis=0, dtype=np.float64)])
    upto = sums[below] + (edges - below)[:, None] * (sums[below + 1] - sums[below])
    return np.diff(upto, axis=0) * (n / len(plane))
