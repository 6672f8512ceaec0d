"""One slice of a phantom patient: anatomy, then the scanner, then the outlines.

The body is an ellipse around the origin; x and y are in half body widths. A patient's anatomy is
drawn once; each of its slices moves and scales it a little.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from .phantom_styles import Style, rng_of

ORGAN, LESION = 128, 255
WAVES = np.arange(2, 7)
EMPTY_SHARE = 0.27  # of the slices that may be without lesion; one per patient may not


@dataclass(frozen=True)
class Blob:
    """A closed shape around (x, y): radius by angle, squeezed along one axis."""

    x: float
    y: float
    radius: float
    squeeze: float
    angle: float
    waves: np.ndarray
    phases: np.ndarray


def draw_slice(
    style: Style, seed: int, site: str, patient: int, index: int, n_slices: int, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """(image uint8 [size, size], mask uint8 with 0, 128 organ, 255 lesion).

    The same arguments give the same bits, whatever was drawn before.
    """
    anatomy = rng_of(seed, site, patient)
    rng = rng_of(seed, site, patient, "slice", index)
    pixels = style.zoom * size / 2  # per unit of length
    down, right = np.array(style.offset) + anatomy.uniform(-0.04, 0.04, 2)
    axis = (np.arange(size) + 0.5) * 2 / size - 1
    y, x = np.meshgrid((axis - down) / style.zoom, (axis - right) / style.zoom, indexing="ij")

    depth = (index + 0.5) / n_slices - 0.5  # -0.5 … 0.5 through the patient
    body = _blob(anatomy, 0, 0, 1.0, 0.02, squeeze=anatomy.uniform(0.72, 0.85), angle=0.0)
    organ = _blob(
        anatomy, -0.26, -0.03, anatomy.uniform(0.42, 0.48), 0.09, squeeze=anatomy.uniform(0.75, 0.92)
    )
    organ = _scaled(organ, 1.0 - 0.35 * depth**2 + rng.uniform(-0.03, 0.03), 0.05 * depth, 0.04 * depth)
    lesions, benign = _lesions(style, anatomy, organ), _lesions(style, anatomy, organ)[:1]
    sure = int(anatomy.integers(n_slices))
    if index != sure and rng.random() < EMPTY_SHARE:
        lesions = []
    has_benign = anatomy.random() < 0.35
    lesions = [_scaled(lesion, rng.uniform(0.8, 1.0), *rng.uniform(-0.015, 0.015, 2)) for lesion in lesions]

    inside_organ = _inside(organ, x, y)
    brightness = _tissue(style, anatomy, rng, x, y, _inside(body, x, y), inside_organ, pixels)
    if has_benign and not any(_touch(benign[0], lesion) for lesion in lesions):
        # a cyst where lesions are bright, a calcified spot where they are dark: not a lesion
        brightness -= style.lesion * 0.9 * _soft(_inside(_scaled(benign[0], 0.7), x, y), pixels)
    lesion_distance = np.full(x.shape, -np.inf)
    for lesion in lesions:
        distance = _inside(lesion, x, y)
        texture = 1 + 0.25 * _noise(rng, x.shape, 0.03 * pixels)
        brightness += style.lesion * _soft(distance, pixels) * texture
        lesion_distance = np.maximum(lesion_distance, distance)
    image = _scan(style, anatomy, rng, np.clip(brightness, 0.0, 1.0), x, y, size)

    outline = style.outline * size / 128 / pixels
    mask = np.where(inside_organ > -outline, ORGAN, 0)
    mask[lesion_distance > -outline] = LESION
    turn = slice(None, None, -1 if style.prone else 1)
    return np.round(image * 255).astype(np.uint8)[turn, turn], mask.astype(np.uint8)[turn, turn]


def _blob(
    rng: np.random.Generator, x: float, y: float, radius: float, waviness: float,
    squeeze: float = 1.0, angle: float | None = None,
) -> Blob:  # fmt: skip
    waves = rng.normal(size=WAVES.size) * waviness / np.sqrt(WAVES.size) * 2 / WAVES**0.5
    phases = rng.uniform(0, 2 * np.pi, WAVES.size)
    turn = float(rng.uniform(0, np.pi))
    return Blob(
        float(x), float(y), float(radius), float(squeeze), turn if angle is None else angle, waves, phases
    )


def _scaled(blob: Blob, factor: float, dx: float = 0.0, dy: float = 0.0) -> Blob:
    return Blob(
        blob.x + dx, blob.y + dy, blob.radius * factor, blob.squeeze, blob.angle, blob.waves, blob.phases
    )


def _inside(blob: Blob, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """About the distance to the contour, positive inside."""
    u, v = x - blob.x, y - blob.y
    cos, sin = np.cos(blob.angle), np.sin(blob.angle)
    u, v = cos * u + sin * v, (cos * v - sin * u) / blob.squeeze
    far = np.hypot(u, v)
    unit = (u + 1j * v) / np.maximum(far, 1e-9)
    # the sum of waves_k cos(k angle + phase_k) as a polynomial in e^(i angle): no trigonometry per pixel
    wave = np.zeros_like(unit)
    for coefficient in (blob.waves * np.exp(1j * blob.phases))[::-1]:
        wave = wave * unit + coefficient
    wave = (wave * unit ** int(WAVES[0])).real
    return (blob.radius * (1 + wave) - far) * blob.squeeze**0.5


def _touch(a: Blob, b: Blob) -> bool:
    return float(np.hypot(a.x - b.x, a.y - b.y)) < 1.4 * (a.radius + b.radius)


def _soft(distance: np.ndarray, pixels: float) -> np.ndarray:
    return np.clip(distance * pixels / 1.5 + 0.5, 0.0, 1.0)


def _noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> np.ndarray:
    """Smooth noise of mean 0 and standard deviation 1."""
    noise = gaussian_filter(rng.standard_normal(shape), sigma, mode="wrap")
    return (noise - noise.mean()) / noise.std()


def _lesions(style: Style, rng: np.random.Generator, organ: Blob) -> list[Blob]:
    """At least one blob inside the organ; they do not touch."""
    found: list[Blob] = []
    wanted = int(rng.integers(style.lesions[0], style.lesions[1] + 1))
    for _ in range(12):
        rho, theta = 0.62 * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
        x = organ.x + organ.radius * rho * np.cos(theta)
        y = organ.y + organ.radius * rho * np.sin(theta) * organ.squeeze
        room = float(_inside(organ, np.array([x]), np.array([y]))[0])
        radius = min(rng.uniform(*style.radius), 0.9 * room)
        blob = _blob(rng, x, y, radius, style.irregular, rng.uniform(0.75, 1.0))
        if (
            len(found) < wanted
            and radius >= 0.8 * style.radius[0]
            and not any(_touch(blob, b) for b in found)
        ):
            found.append(blob)
    return found or [_blob(rng, organ.x, organ.y, style.radius[0], style.irregular)]


def _tissue(
    style: Style, anatomy: np.random.Generator, rng: np.random.Generator,
    x: np.ndarray, y: np.ndarray, inside_body: np.ndarray, inside_organ: np.ndarray, pixels: float,
) -> np.ndarray:  # fmt: skip
    """Brightness 0..1 of everything but lesions."""
    rim = anatomy.uniform(0.06, 0.13)
    in_body, in_muscle, in_organ = (_soft(d, pixels) for d in (inside_body, inside_body - rim, inside_organ))
    value = 0.02 + (style.fat - 0.02) * in_body
    value += (style.muscle - style.fat) * in_muscle
    value += in_muscle * (
        0.035 * _noise(rng, x.shape, 0.05 * pixels) + 0.02 * _noise(rng, x.shape, 0.02 * pixels)
    )
    spine = _blob(anatomy, 0.05, 0.47, 0.15, 0.08)
    value += (0.85 - value) * _soft(_inside(spine, x, y), pixels)
    value += (0.25 - value) * _soft(_inside(_scaled(spine, 0.35, 0.0, 0.02), x, y), pixels)
    for side in (0.35, 0.62):  # neighbours of the organ, one filled, one with gas
        bowel = _blob(anatomy, side, anatomy.uniform(-0.3, 0.15), anatomy.uniform(0.12, 0.19), 0.12)
        level = style.muscle + anatomy.choice([-0.25, 0.12])
        value += (level - value) * 0.9 * in_muscle * _soft(_inside(bowel, x, y), pixels)
    for _ in range(4):  # as bright as lesions, but outside the organ
        spot = _blob(anatomy, anatomy.uniform(0.0, 0.7), anatomy.uniform(-0.5, 0.5), 1.0, style.irregular)
        spot = _scaled(spot, min(anatomy.uniform(*style.radius), 0.15) * rng.uniform(0.7, 1.0))
        alike = style.organ + style.lesion * anatomy.choice([1.0, 1.0, -0.8])
        value += (alike - value) * in_muscle * (1 - in_organ) * _soft(_inside(spot, x, y), pixels)
    texture = 0.02 * _noise(rng, x.shape, 0.03 * pixels) + 0.03 * _noise(rng, x.shape, 0.12 * pixels)
    value += (style.organ + texture - value) * in_organ
    for _ in range(3):  # vessels in the organ, as bright as its lesions
        value += 0.8 * style.lesion * in_organ * _vessel(anatomy, x, y, pixels)
    return value


def _vessel(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, pixels: float) -> np.ndarray:
    """A thin bent line through the organ's middle, 0..1."""
    angle, bend = rng.uniform(0, np.pi), rng.uniform(-1.2, 1.2)
    u, v = x + 0.26 + rng.uniform(-0.12, 0.12), y + 0.03 + rng.uniform(-0.12, 0.12)
    along, across = np.cos(angle) * u + np.sin(angle) * v, np.cos(angle) * v - np.sin(angle) * u
    width = rng.uniform(0.012, 0.022) * np.clip(1.0 - 1.8 * np.abs(along), 0.0, 1.0)  # thinner at both ends
    return _soft(width - np.abs(across - bend * along**2), pixels) * (width > 0)


def _scan(
    style: Style, anatomy: np.random.Generator, rng: np.random.Generator,
    value: np.ndarray, x: np.ndarray, y: np.ndarray, size: int,
) -> np.ndarray:  # fmt: skip
    """What the hospital's scanner makes of it, 0..1."""
    angle = anatomy.uniform(0, 2 * np.pi)
    slope = np.cos(angle) * x + np.sin(angle) * y
    value = gaussian_filter(value, style.blur * size / 128) * np.exp(style.bias * (slope - 0.4 * slope**2))
    value = value * anatomy.uniform(0.93, 1.07)
    level, grain = style.noise_level, rng.standard_normal((2, size, size))
    if style.noise == "gaussian":
        value = value + level * grain[0]
    elif style.noise == "rician":
        value = np.hypot(value + level * grain[0], level * grain[1])
    elif style.noise == "speckle":
        wide = gaussian_filter(grain, (0, 0.9, 0.5))
        value = value * (1 + level * (np.hypot(*wide) / np.hypot(*wide).mean() - 1) * 1.3)
    else:
        value = rng.poisson(np.clip(value, 0, None) / level**2 / 2) * level**2 * 2
    return style.black + (1 - style.black) * np.clip(value, 0.0, 1.0) ** style.gamma
