"""Prompts for objects of a generated image: what a person would draw or click."""

import numpy as np
from scipy import ndimage

BOXES, POINTS = 2, 1
"""Prompts of each kind per image and step; the empty prompt comes beside them, once."""


def choose(rng: np.random.Generator, masks: np.ndarray, classes: np.ndarray, count: int) -> np.ndarray:
    """Numbers of ``count`` objects: a class first, so that sixty cells do not hide one organ; then one of it.

    Repeated when there are fewer objects. ``masks`` [N, S, S] has at least one.
    """
    wanted = rng.choice(np.unique(classes), size=count)
    return np.array([rng.choice(np.flatnonzero(classes == one)) for one in wanted])


def box(rng: np.random.Generator, mask: np.ndarray) -> np.ndarray:
    """(x1, y1, x2, y2) around an object, each side off by up to 3 pixels or a tenth, as hands draw it."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    tight = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.float32)
    slack = min(3.0, 0.1 * float(min(tight[2] - tight[0], tight[3] - tight[1])))
    return np.clip(tight + rng.uniform(-slack, slack, 4), 0, mask.shape[0]).astype(np.float32)


def point(rng: np.random.Generator, masks: np.ndarray, number: int) -> tuple[np.ndarray, int]:
    """A point (x, y) in an object, rather deep inside, and the smallest object that holds it.

    A click says less than a box: where objects are nested it means the innermost.
    """
    depth = ndimage.distance_transform_edt(masks[number])
    weights = np.square(depth).ravel()
    row, column = divmod(int(rng.choice(weights.size, p=weights / weights.sum())), masks.shape[1])
    holding = np.flatnonzero(masks[:, row, column])
    innermost = holding[np.argmin(masks[holding].sum((1, 2)))]
    return np.array([column + 0.5, row + 0.5], dtype=np.float32), int(innermost)


def away(rng: np.random.Generator, mask: np.ndarray) -> np.ndarray:
    """A negative point (x, y): outside the object, mostly in its neighbourhood."""
    near = ndimage.binary_dilation(mask, iterations=12) & ~ndimage.binary_dilation(mask, iterations=2)
    places = np.flatnonzero(near if near.any() else ~mask)
    row, column = divmod(int(rng.choice(places)), mask.shape[1]) if len(places) else (0, 0)
    return np.array([column + 0.5, row + 0.5], dtype=np.float32)
