"""Augmentation of one sample, before it joins a batch. Pillow moves pixels, about 3 ms per 224 px."""

from dataclasses import replace

import numpy as np
from PIL import Image

from .cases import Sample

FLIP = 0.5
AFFINE, ROTATION_DEG, SCALE, SHIFT = 0.5, 15.0, 0.1, 0.05
CONTRAST, CONTRAST_FACTOR, BRIGHTNESS = 0.5, 0.2, 20.0
GAMMA, LOG_GAMMA = 0.3, 0.35
NOISE, NOISE_SD = 0.2, 8.0


def augment(sample: Sample, rng: np.random.Generator) -> Sample:
    """A changed copy: flips, small affine move, contrast and brightness, gamma, noise, each by chance.

    The target follows every move. The image stays in 0..255 and zero outside ``valid``; what an
    affine move brings in from beyond the image is zero.

    Args:
        rng: the only source of chance; equal generators give equal bits.
    """
    h, w = sample.valid
    image = sample.image[:, :h, :w]
    target = sample.target[:, :h, :w].astype(np.float32)
    image, target = _flip(image, target, rng)
    if rng.random() < AFFINE:
        coefficients = _affine(h, w, rng)
        image, target = _move(image, coefficients), _move(target, coefficients)
    image = np.clip(_intensities(image, rng), 0.0, 255.0)
    return replace(
        sample,
        image=_pad(image, sample.image.shape[-1], np.dtype(np.float32)),
        target=_pad(target, sample.image.shape[-1], sample.target.dtype),
    )


def _flip(image: np.ndarray, target: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    for axis in (1, 2):
        if rng.random() < FLIP:
            image, target = np.flip(image, axis), np.flip(target, axis)
    return image, target


def _affine(h: int, w: int, rng: np.random.Generator) -> tuple[float, ...]:
    """Pillow's six numbers, output → input, of a turn and zoom about the centre and a shift."""
    angle = np.deg2rad(rng.uniform(-ROTATION_DEG, ROTATION_DEG))
    zoom = rng.uniform(1 - SCALE, 1 + SCALE)
    shift = rng.uniform(-SHIFT, SHIFT, 2) * (w, h)
    cos, sin = float(np.cos(angle) / zoom), float(np.sin(angle) / zoom)
    x, y = w / 2 + shift[0], h / 2 + shift[1]
    return cos, sin, w / 2 - cos * x - sin * y, -sin, cos, h / 2 + sin * x - cos * y


def _move(planes: np.ndarray, coefficients: tuple[float, ...]) -> np.ndarray:
    moved = np.zeros(planes.shape, np.float32)
    for out, plane in zip(moved, planes, strict=True):
        if plane.any():
            picture = Image.fromarray(np.ascontiguousarray(plane))
            out[...] = picture.transform(
                picture.size, Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR
            )
    return moved


def _intensities(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Contrast about the mean and brightness, gamma, Gaussian noise; may leave 0..255."""
    if rng.random() < CONTRAST:
        factor = np.float32(rng.uniform(1 - CONTRAST_FACTOR, 1 + CONTRAST_FACTOR))
        offset = np.float32(rng.uniform(-BRIGHTNESS, BRIGHTNESS))
        mean = image.mean(dtype=np.float64).astype(np.float32)
        image = (image - mean) * factor + mean + offset
    if rng.random() < GAMMA:
        gamma = np.float32(np.exp(rng.uniform(-LOG_GAMMA, LOG_GAMMA)))
        image = np.float32(255) * np.power(np.clip(image, 0.0, 255.0) / np.float32(255), gamma)
    if rng.random() < NOISE:
        sd = np.float32(rng.uniform(0, NOISE_SD))
        image = image + sd * rng.standard_normal(image.shape[1:], np.float32)  # one grain for all channels
    return image


def _pad(planes: np.ndarray, size: int, dtype: np.dtype) -> np.ndarray:
    square = np.zeros((len(planes), size, size), dtype)
    square[:, : planes.shape[1], : planes.shape[2]] = planes
    return square
