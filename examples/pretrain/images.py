"""Generated images with their object masks: everything that ``vit_tiny`` is trained on.

No photograph and no patient is in them. A scene is painted object after object: radial contours filled
with textures, some nested, some overlapping, some transparent; then it goes through what an instrument
does: blur, bias field, noise, grey scale. Six kinds of scene stand for what hospitals segment: MR of a
head, CT of a trunk, ultrasound, fluorescence microscopy, stained tissue, and plain shapes.
"""

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from .painting import CLASSES, Scene, channels, contour, grey, inside, instrument, noise, paint, texture

__all__ = ["CLASSES", "SMALLEST", "generate"]

SMALLEST = 40
"""Pixels below which an object is painted but never asked for."""


def generate(seed: int, index: int, size: int = 224) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """One image; a pure function of its arguments.

    Returns:
        image uint8 [S, S, 3]; objects bool [N, S, S], each in one piece and of at least ``SMALLEST``
        pixels; their classes int64 [N]; and the class that an empty prompt means.
    """
    rng = np.random.default_rng([seed, index])
    kinds: list[Callable[[np.random.Generator, int], Scene]] = [
        mr,
        mr,
        ct,
        ultrasound,
        fluorescence,
        stain,
        shapes,
    ]
    scene = kinds[rng.integers(len(kinds))](rng, size)
    image = instrument(rng, scene.canvas)
    masks, classes = [], []
    for mask, number in scene.objects:
        pieces, _ = ndimage.label(mask)
        sizes = np.bincount(pieces.ravel())
        for piece in np.flatnonzero(sizes >= SMALLEST):
            if piece:
                masks.append(pieces == piece)
                classes.append(number)
    stacked = np.stack(masks) if masks else np.zeros((0, size, size), dtype=bool)
    return image, stacked, np.array(classes, dtype=np.int64), scene.salient


def mr(rng: np.random.Generator, size: int) -> Scene:
    """A head: skin, dark skull, brain with dark or bright structures, none to three lesions."""
    several = rng.random() < 0.4
    scene = Scene(np.full((size, size, 3), rng.uniform(0, 0.06), dtype=np.float32), salient=2)
    middle = (size * rng.uniform(0.42, 0.58), size * rng.uniform(0.42, 0.58))
    radius = size * rng.uniform(0.3, 0.5)
    head = contour(rng, size, middle, radius, 0.03)
    paint(scene.canvas, head, channels(rng, 0.3, 0.9, several), texture(rng, size, 0.05), 1.0, 1.0)
    scene.add(head, "body")
    width = rng.uniform(0.02, 0.06) * size
    skull = ndimage.binary_erosion(head, iterations=max(1, round(width)))
    paint(scene.canvas, skull, channels(rng, 0.0, 0.2, several), texture(rng, size, 0.02), 0.8, 1.0)
    brain = ndimage.binary_erosion(skull, iterations=max(1, round(width * rng.uniform(0.4, 1.2))))
    tissue = channels(rng, 0.25, 0.65, several)
    paint(scene.canvas, brain, tissue, texture(rng, size, rng.uniform(0.02, 0.1)), 0.8, 1.0)
    scene.add(brain, "organ")
    if rng.random() < 0.6:
        folds = np.abs(noise(rng, size, rng.uniform(8, 20))) < rng.uniform(0.06, 0.2)
        paint(
            scene.canvas,
            folds & brain,
            tissue * rng.uniform(0.4, 1.5),
            np.zeros((size, size), np.float32),
            1.0,
            0.6,
        )
    for _ in range(rng.integers(0, 4)):
        part = contour(rng, size, inside(rng, brain), radius * rng.uniform(0.06, 0.25), 0.3) & brain
        paint(
            scene.canvas,
            part,
            channels(rng, 0.0, 0.9, several),
            texture(rng, size, 0.03),
            rng.uniform(0.5, 2),
            1.0,
        )
        scene.add(part, "organ")
    for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
        _lesion(rng, scene, brain, radius, tissue, several)
    return scene


def _lesion(
    rng: np.random.Generator, scene: Scene, home: np.ndarray, radius: float, tissue: np.ndarray, several: bool
) -> None:
    size = len(home)
    lesion = (
        contour(rng, size, inside(rng, home), radius * rng.uniform(0.08, 0.45), rng.uniform(0.1, 0.35)) & home
    )
    away = rng.choice([-1, 1, 1]) * rng.uniform(0.1, 0.45, 3 if several else 1).astype(np.float32)
    shade = np.clip(tissue + away, 0, 1).astype(np.float32)
    edge = rng.uniform(0.5, 4)
    paint(scene.canvas, lesion, shade, texture(rng, size, rng.uniform(0.02, 0.12)), edge, rng.uniform(0.6, 1))
    scene.add(lesion, "lesion")
    if rng.random() < 0.35:
        core = contour(rng, size, inside(rng, lesion), radius * rng.uniform(0.04, 0.15), 0.25)
        core &= ndimage.binary_erosion(lesion, iterations=2)
        paint(scene.canvas, core, channels(rng, 0, 1, several), texture(rng, size, 0.05), 1.0, 1.0)
        scene.add(core, "organ")


def ct(rng: np.random.Generator, size: int) -> Scene:
    """A trunk: fat, organs side by side, bright bone, dark air, lesions of little contrast."""
    scene = Scene(np.full((size, size, 3), rng.uniform(0, 0.1), dtype=np.float32), salient=2)
    radius = size * rng.uniform(0.35, 0.55)
    body = contour(rng, size, (size * rng.uniform(0.45, 0.55), size / 2), radius, 0.05)
    paint(scene.canvas, body, grey(rng, 0.2, 0.45), texture(rng, size, 0.04), 0.7, 1.0)
    scene.add(body, "body")
    wall = ndimage.binary_erosion(body, iterations=max(2, round(size * rng.uniform(0.02, 0.07))))
    organs = []
    for _ in range(rng.integers(2, 7)):
        shade = grey(rng, 0.35, 0.75)
        organ = contour(rng, size, inside(rng, wall), radius * rng.uniform(0.12, 0.5), 0.2) & wall
        paint(
            scene.canvas,
            organ,
            shade,
            texture(rng, size, rng.uniform(0.01, 0.06)),
            rng.uniform(0.5, 1.5),
            1.0,
        )
        scene.add(organ, "organ", hides=True)
        organs.append((organ, shade))
    for _ in range(rng.integers(0, 6)):
        spot = contour(rng, size, inside(rng, body), radius * rng.uniform(0.03, 0.1), 0.3) & body
        paint(
            scene.canvas,
            spot,
            grey(rng, 0.9, 1.1) * rng.choice([0.05, 1.0, 1.0]),
            texture(rng, size, 0.04),
            0.6,
            1.0,
        )
        scene.add(spot, "organ", hides=True)
    for _ in range(rng.choice([0, 1, 1, 2])):
        organ, shade = organs[rng.integers(len(organs))]
        _lesion(rng, scene, organ, radius * 0.7, shade, several=False)
    return scene


def ultrasound(rng: np.random.Generator, size: int) -> Scene:
    """A fan of speckle with layers, a dark or bright mass and its shadow."""
    scene = Scene(np.zeros((size, size, 3), dtype=np.float32), salient=2)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    if rng.random() < 0.6:
        apex = rng.uniform(-0.4, -0.05)
        depth = np.hypot(x - 0.5, y - apex)
        fan = (np.abs(np.arctan2(x - 0.5, y - apex)) < rng.uniform(0.4, 0.8)) & (
            depth < rng.uniform(0.95, 1.3) - apex
        )
    else:
        fan = np.ones((size, size), dtype=bool)
    ground = grey(rng, 0.25, 0.55)
    layers = texture(rng, size, 0.08) + 0.08 * np.sin(
        2 * np.pi * (y * rng.uniform(2, 8) + noise(rng, size, 4) * 0.1)
    )
    paint(scene.canvas, fan, ground, layers.astype(np.float32), 0.0, 1.0)
    radius = size * rng.uniform(0.08, 0.3)
    for _ in range(rng.integers(0, 3)):
        organ = contour(rng, size, inside(rng, fan), radius * rng.uniform(0.6, 1.6), 0.2) & fan
        paint(
            scene.canvas,
            organ,
            ground * rng.uniform(0.6, 1.5),
            texture(rng, size, 0.04),
            rng.uniform(1, 3),
            0.9,
        )
        scene.add(organ, "organ", hides=True)
    for _ in range(rng.choice([0, 1, 1, 1, 2])):
        mass = contour(rng, size, inside(rng, fan), radius * rng.uniform(0.5, 1.2), 0.25) & fan
        if rng.random() < 0.4:
            shadow = ndimage.shift(mass.astype(np.float32), (radius, 0), order=0) > 0
            dim = scene.canvas.mean(-1) * (1 - rng.uniform(0.2, 0.6))
            paint(scene.canvas, shadow & fan, np.zeros(3, np.float32), dim, 4.0, 0.7)
        shade = ground * rng.choice([rng.uniform(0.05, 0.6), rng.uniform(1.4, 1.9)], p=[0.75, 0.25])
        paint(
            scene.canvas,
            mass,
            shade.astype(np.float32),
            texture(rng, size, 0.04),
            rng.uniform(0.7, 3),
            rng.uniform(0.8, 1),
        )
        scene.add(mass, "lesion", hides=True)
    grain = rng.rayleigh(0.8, (size, size)).astype(np.float32)
    speckle = ndimage.gaussian_filter(grain, (rng.uniform(0.4, 1.0), rng.uniform(0.6, 2.0)))
    scene.canvas *= (0.3 + 0.7 * speckle)[..., None]
    return scene


def _cells(
    rng: np.random.Generator, size: int, scene: Scene, colour: np.ndarray, spread: float, grain: float
) -> None:
    """Many small objects of one kind, some touching, some overlapping."""
    typical = size * np.exp(rng.uniform(np.log(0.02), np.log(0.13)))
    count = int(np.clip(rng.uniform(0.05, 0.4) * size**2 / (np.pi * typical**2), 1, 60))
    wobble, edge, apart = rng.uniform(0.02, 0.2), rng.uniform(0.4, 1.5), rng.random() < 0.7
    taken = np.zeros((size, size), dtype=bool)
    clusters = [inside(rng, np.ones((size, size), bool)) for _ in range(rng.integers(1, 8))]
    grained = texture(rng, size, grain)
    for _ in range(count):
        if rng.random() < 0.5:
            home = clusters[rng.integers(len(clusters))]
            centre = (rng.normal(home[0], 3 * typical), rng.normal(home[1], 3 * typical))
        else:
            centre = (rng.uniform(0, size), rng.uniform(0, size))
        cell = contour(rng, size, centre, typical * rng.lognormal(0, 0.25), wobble)
        if apart:
            cell &= ~ndimage.binary_dilation(taken)
        taken |= cell
        shade = colour * np.float32(rng.normal(1, spread))
        paint(scene.canvas, cell, shade.astype(np.float32), grained, edge, rng.uniform(0.7, 1.0))
        scene.add(cell, "cell", hides=True)


def fluorescence(rng: np.random.Generator, size: int) -> Scene:
    """Bright cells on dark ground with haze; now and then the opposite."""
    ground = grey(rng, 0.01, 0.2)
    scene = Scene(np.broadcast_to(ground, (size, size, 3)).copy(), salient=3)
    scene.canvas += texture(rng, size, 0.02)[..., None] + np.abs(noise(rng, size, 3))[
        ..., None
    ] * rng.uniform(0, 0.1)
    _cells(rng, size, scene, grey(rng, 0.3, 1.0), rng.uniform(0.05, 0.35), rng.uniform(0.01, 0.1))
    if rng.random() < 0.25:
        scene.canvas = 1 - scene.canvas
    return scene


def stain(rng: np.random.Generator, size: int) -> Scene:
    """Dark nuclei in coloured tissue, with fibres and pale gaps."""
    paper = rng.uniform(0.75, 1.0, 3)
    tissue = np.clip(
        paper * np.array([rng.uniform(0.75, 1), rng.uniform(0.45, 0.9), rng.uniform(0.65, 1)]), 0, 1
    )
    scene = Scene(np.broadcast_to(tissue, (size, size, 3)).astype(np.float32), salient=3)
    scene.canvas = scene.canvas + texture(rng, size, rng.uniform(0.02, 0.08))[..., None]
    for _ in range(rng.integers(0, 5)):
        gap = contour(
            rng, size, inside(rng, np.ones((size, size), bool)), size * rng.uniform(0.05, 0.25), 0.4
        )
        paint(scene.canvas, gap, paper.astype(np.float32), texture(rng, size, 0.02), 1.5, rng.uniform(0.5, 1))
    fibres = np.abs(noise(rng, size, rng.uniform(6, 30))) < 0.1
    paint(
        scene.canvas,
        fibres,
        (tissue * rng.uniform(0.7, 1.1)).astype(np.float32),
        np.zeros((size, size), np.float32),
        1.0,
        0.5,
    )
    nucleus = tissue * np.array([rng.uniform(0.3, 0.75), rng.uniform(0.2, 0.7), rng.uniform(0.5, 0.95)])
    _cells(rng, size, scene, nucleus.astype(np.float32), rng.uniform(0.05, 0.2), rng.uniform(0.02, 0.1))
    return scene


def shapes(rng: np.random.Generator, size: int) -> Scene:
    """Textured shapes over each other on textured ground, some transparent, some with a part inside."""
    coloured = rng.random() < 0.5
    scene = Scene(np.zeros((size, size, 3), dtype=np.float32), salient=4)
    scene.canvas[:] = channels(rng, 0.1, 0.9, coloured)
    scene.canvas += texture(rng, size, rng.uniform(0, 0.12))[..., None]
    for _ in range(rng.integers(1, 8)):
        centre = (rng.uniform(0.05, 0.95) * size, rng.uniform(0.05, 0.95) * size)
        radius = size * np.exp(rng.uniform(np.log(0.04), np.log(0.35)))
        one = contour(rng, size, centre, radius, rng.uniform(0, 0.4))
        opacity = rng.choice([1.0, rng.uniform(0.5, 1)])
        paint(
            scene.canvas,
            one,
            channels(rng, 0, 1, coloured),
            texture(rng, size, rng.uniform(0, 0.15)),
            rng.uniform(0, 2.5),
            opacity,
        )
        scene.add(one, "shape", hides=opacity == 1)
        if rng.random() < 0.3:
            part = contour(rng, size, inside(rng, one), radius * rng.uniform(0.2, 0.5), 0.3) & one
            paint(scene.canvas, part, channels(rng, 0, 1, coloured), texture(rng, size, 0.05), 1.0, 1.0)
            scene.add(part, "organ")
    return scene
