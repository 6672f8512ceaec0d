"""Images and masks → the square that the network sees, and back."""

import numpy as np
from PIL import Image


def fit(image: np.ndarray, size: int, stretch: bool = False) -> tuple[np.ndarray, tuple[int, int]]:
    """The image with its longest side resized to ``size``, zeros added at the right and bottom.

    Args:
        image: float32 [H, W, C] in 0..255.
        size: side S of the square, pixels.
        stretch: both sides become ``size`` instead; the backbone's pixel rule says which.

    Returns:
        float32 [C, S, S] in 0..255, and (h, w), the part of it that is image.
    """
    h, w = fitted_shape(image.shape[0], image.shape[1], size, stretch)
    square = np.zeros((image.shape[2], size, size), np.float32)
    for channel in range(image.shape[2]):
        square[channel, :h, :w] = _resize(image[..., channel], (h, w))
    return np.clip(square, 0.0, 255.0, out=square), (h, w)


def fit_target(mask: np.ndarray, size: int, stretch: bool = False) -> np.ndarray:
    """The masks on the same square as soft targets: the share of each pixel that the class covers.

    Args:
        mask: bool [K, H, W].
        size, stretch: as for ``fit``.

    Returns:
        float32 [K, S, S] in 0..1.
    """
    h, w = fitted_shape(mask.shape[1], mask.shape[2], size, stretch)
    square = np.zeros((mask.shape[0], size, size), np.float32)
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


def fitted_shape(height: int, width: int, size: int, stretch: bool = False) -> tuple[int, int]:
    """(h, w) of an image on the square: all of it, or longest side ``size``, one pixel at least."""
    if stretch:
        return size, size
    longest = max(height, width)
    return max(1, round(height * size / longest)), max(1, round(width * size / longest))


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
