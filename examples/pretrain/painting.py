"""The painter's tools: textures, radial contours, soft borders, and what an instrument does to a scene."""

from dataclasses import dataclass, field

import numpy as np
from PIL import Image
from scipy import ndimage

CLASSES = ("body", "organ", "lesion", "cell", "shape")


@dataclass
class Scene:
    """What has been painted so far.

    Attributes:
        canvas: float32 [S, S, 3], about 0..1.
        objects: (mask bool [S, S], number in CLASSES), in the order of painting.
        salient: the number in CLASSES that an empty prompt means in this scene.
    """

    canvas: np.ndarray
    objects: list[tuple[np.ndarray, int]] = field(default_factory=list)
    salient: int = 0

    def add(self, mask: np.ndarray, name: str, *, hides: bool = False) -> None:
        """Note an object; one that ``hides`` takes its pixels away from those before it."""
        if hides:
            self.objects = [(m & ~mask, c) for m, c in self.objects]
        self.objects.append((mask, CLASSES.index(name)))


def noise(rng: np.random.Generator, size: int, cells: float) -> np.ndarray:
    """Smooth noise float32 [S, S] of unit variance or less, with about ``cells`` bumps a side."""
    grid = rng.standard_normal((max(2, round(cells)),) * 2).astype(np.float32)
    return np.asarray(Image.fromarray(grid).resize((size, size), Image.Resampling.BICUBIC))


def texture(rng: np.random.Generator, size: int, strength: float) -> np.ndarray:
    """Noise of several scales, float32 [S, S], standard deviation about ``strength``."""
    scales = rng.choice([4, 8, 16, 32, 64, 112], size=rng.integers(1, 4), replace=False)
    total = sum(noise(rng, size, s) * rng.uniform(0.3, 1.0) for s in scales)
    return strength * np.asarray(total, dtype=np.float32)


def contour(
    rng: np.random.Generator, size: int, centre: tuple[float, float], radius: float, wobble: float = 0.15
) -> np.ndarray:
    """Inside of a closed radial curve, bool [S, S].

    r(θ) = r0 (1 + Σ_k a_k cos(kθ + φ_k)), a_k falling with k, on an ellipse turned at random.
    """
    stretch, turn = rng.uniform(0.6, 1.0), rng.uniform(0, np.pi)
    reach = int(radius * (1 + 5 * wobble)) + 2
    top, left = max(0, int(centre[0]) - reach), max(0, int(centre[1]) - reach)
    bottom, right = min(size, int(centre[0]) + reach + 1), min(size, int(centre[1]) + reach + 1)
    mask = np.zeros((size, size), dtype=bool)
    if bottom <= top or right <= left:
        return mask
    y, x = np.mgrid[top:bottom, left:right].astype(np.float32)
    y, x = y - centre[0], x - centre[1]
    u, v = np.cos(turn) * x + np.sin(turn) * y, (np.cos(turn) * y - np.sin(turn) * x) / stretch
    angle = np.arctan2(v, u)
    limit = np.ones_like(angle)
    for k in range(2, 7):
        limit += wobble * rng.normal() / (k - 1) * np.cos(k * angle + rng.uniform(0, 2 * np.pi))
    mask[top:bottom, left:right] = np.hypot(u, v) < radius * np.clip(limit, 0.25, 2.0)
    return mask


def paint(
    canvas: np.ndarray, mask: np.ndarray, colour: np.ndarray, surface: np.ndarray, edge: float, opacity: float
) -> None:
    """Lay a surface over the canvas where the mask is, its border blurred by ``edge`` pixels."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return
    pad = int(3 * edge) + 1
    box = (
        slice(max(0, rows[0] - pad), rows[-1] + pad + 1),
        slice(max(0, columns[0] - pad), columns[-1] + pad + 1),
    )
    soft = ndimage.gaussian_filter(mask[box].astype(np.float32), edge) if edge > 0 else mask[box]
    alpha = (soft * np.float32(opacity))[..., None]
    canvas[box] = canvas[box] * (1 - alpha) + alpha * (colour + surface[box][..., None])


def inside(rng: np.random.Generator, mask: np.ndarray) -> tuple[float, float]:
    """A random pixel of the mask; the centre of the image when it is empty."""
    places = np.flatnonzero(mask)
    if not len(places):
        return mask.shape[0] / 2, mask.shape[1] / 2
    row, column = divmod(int(rng.choice(places)), mask.shape[1])
    return float(row), float(column)


def grey(rng: np.random.Generator, low: float, high: float) -> np.ndarray:
    """One intensity for all three channels."""
    return np.full(3, rng.uniform(low, high), dtype=np.float32)


def channels(rng: np.random.Generator, low: float, high: float, several: bool) -> np.ndarray:
    """An intensity per channel: equal ones, or those of three sequences shown as one picture."""
    return rng.uniform(low, high, 3).astype(np.float32) if several else grey(rng, low, high)


def instrument(rng: np.random.Generator, canvas: np.ndarray) -> np.ndarray:
    """Blur, shading, noise and grey scale, then uint8 as a clipped and stretched image has it."""
    size = len(canvas)
    if rng.random() < 0.5:
        canvas = ndimage.gaussian_filter(canvas, (*(rng.uniform(0.3, 1.5),) * 2, 0))
    if rng.random() < 0.6:
        canvas = canvas * (1 + rng.uniform(0.05, 0.35) * noise(rng, size, rng.integers(2, 5)))[..., None]
    strength, layers = rng.choice([0, rng.uniform(0, 0.03), rng.uniform(0, 0.1)]), rng.choice([1, 3])
    first = canvas + strength * rng.standard_normal((size, size, layers)).astype(np.float32)
    if rng.random() < 0.3:  # Rician: the magnitude of a signal with noise in both of its parts
        first = np.hypot(first, strength * rng.standard_normal((size, size, layers)).astype(np.float32))
    low, high = np.percentile(first, (0.5, 99.5))
    scaled = np.clip((first - low) / max(high - low, 1e-3), 0, 1) ** rng.uniform(0.7, 1.5)
    if rng.random() < 0.08:
        scaled = 1 - scaled
    if rng.random() < 0.3:  # a picture of little contrast
        scaled = scaled * rng.uniform(0.5, 1) + rng.uniform(0, 0.2)
    return np.clip(scaled * 255, 0, 255).astype(np.uint8)
