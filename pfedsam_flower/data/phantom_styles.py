"""How the phantom hospitals differ: scanner, patients, and the hand that draws the outlines."""

import hashlib
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

Noise = Literal["gaussian", "rician", "speckle", "poisson"]


@dataclass(frozen=True)
class Style:
    """One hospital. Lengths are shares of half the body's width unless they say pixels.

    Attributes:
        zoom: half the body's width as a share of half the picture's side; above 1 the body is cut.
        offset: (down, right), where the body's centre lies, shares of half the picture's side.
        fat, muscle, organ: brightness of tissues, 0..1.
        lesion: brightness of lesions minus that of the organ; negative means dark lesions.
        blur: standard deviation of the scanner's blur in pixels of a 128-pixel picture.
        noise: kind and strength.
        bias: strength of the slow shading across the picture.
        gamma, black: the picture is black + (1 - black) * brightness ** gamma.
        lesions: smallest and largest number per patient.
        radius: smallest and largest radius of a lesion.
        irregular: waviness of a lesion's contour, share of its radius.
        outline: pixels by which masks are drawn too wide (negative: too tight), at 128 pixels.
        prone: patients lie face down, which turns the picture by 180 degrees.
    """

    zoom: float
    offset: tuple[float, float]
    fat: float
    muscle: float
    organ: float
    lesion: float
    blur: float
    noise: Noise
    noise_level: float
    bias: float
    gamma: float
    black: float
    lesions: tuple[int, int]
    radius: tuple[float, float]
    irregular: float
    outline: float
    prone: bool = False


STYLES = {
    # a modern scanner: sharp, clean, round lesions of middle size
    "north": Style(0.88, (0.0, 0.0), 0.25, 0.42, 0.50, 0.17, 0.5, "gaussian", 0.025, 0.05, 1.0, 0.0,
                   (1, 2), (0.11, 0.17), 0.08, 0.0),
    # bright fat, shading, a close view; many small lesions, outlines drawn generously
    "harbour": Style(1.18, (0.05, 0.10), 0.85, 0.33, 0.46, 0.22, 0.8, "rician", 0.045, 0.45, 0.85, 0.0,
                     (2, 4), (0.055, 0.08), 0.12, 2.0),
    # an old scanner: blurred, washed out, grainy; few large ragged lesions, and they are dark
    "valley": Style(0.80, (-0.08, -0.06), 0.30, 0.50, 0.60, -0.20, 1.3, "poisson", 0.055, 0.12, 1.35, 0.16,
                    (1, 1), (0.20, 0.30), 0.18, 0.0),
    # speckle, patients face down; lesions of all sizes, outlines drawn tightly
    "island": Style(1.02, (0.16, -0.12), 0.50, 0.30, 0.38, 0.24, 0.7, "speckle", 0.30, 0.30, 0.75, 0.03,
                    (1, 2), (0.10, 0.20), 0.13, -1.5, prone=True),
}  # fmt: skip


def rng_of(*parts: object) -> np.random.Generator:
    """A generator that depends on the parts alone."""
    text = "/".join(str(part) for part in ("phantom", *parts))
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big"))


def site_names(n_sites: int) -> list[str]:
    """north, harbour, valley, island, then site-5, site-6, …"""
    return [*STYLES, *(f"site-{i + 1}" for i in range(len(STYLES), n_sites))][:n_sites]


def style_of(site: str) -> Style:
    """The row of ``STYLES``; for any other name a style of its own, drawn from the name."""
    if site in STYLES:
        return STYLES[site]
    rng = rng_of("style", site)
    noise: Noise = get_args(Noise)[int(rng.integers(4))]
    smallest = float(rng.uniform(0.07, 0.14))
    organ = float(rng.uniform(0.42, 0.58))
    count = int(rng.integers(1, 4))
    return Style(
        zoom=float(rng.uniform(0.72, 1.15)),
        offset=(float(rng.uniform(-0.12, 0.12)), float(rng.uniform(-0.12, 0.12))),
        fat=float(rng.uniform(0.2, 0.85)),
        muscle=organ - float(rng.uniform(0.06, 0.14)),
        organ=organ,
        lesion=float(rng.uniform(0.16, 0.24)),
        blur=float(rng.uniform(0.4, 1.3)),
        noise=noise,
        noise_level=float(rng.uniform(0.02, 0.05)) * (4 if noise == "speckle" else 1),
        bias=float(rng.uniform(0.05, 0.4)),
        gamma=float(rng.uniform(0.75, 1.3)),
        black=float(rng.uniform(0.0, 0.15)),
        lesions=(max(1, count - 1), count),
        radius=(smallest, smallest + float(rng.uniform(0.02, 0.08))),
        irregular=float(rng.uniform(0.05, 0.25)),
        outline=float(rng.choice([-1.5, 0.0, 2.0])),
    )
