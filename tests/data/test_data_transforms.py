"""Augmentation."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfedsam_flower.data import transforms
from pfedsam_flower.data.samples import Sample
from pfedsam_flower.data.transforms import augment


def a_sample(channels: int = 1, h: int = 40, w: int = 28, size: int = 40) -> Sample:
    """A bright ellipse on grey; the target is the ellipse."""
    y, x = np.mgrid[:size, :size]
    inside = (((y - 15) / 9) ** 2 + ((x - 10) / 6) ** 2 < 1) & (y < h) & (x < w)
    image = np.where(inside, 200, 60) * ((y < h) & (x < w))
    target = np.stack([inside, np.zeros_like(inside)]).astype(np.float16)
    images = np.repeat(image[None].astype(np.float32), channels, 0)
    return Sample(images, (h, w), target, np.array([True, False]), "p")


@given(st.integers(0, 10_000), st.sampled_from([1, 3]))
def test_ranges_types_and_the_empty_margin(seed, channels):
    sample = a_sample(channels)
    changed = augment(sample, np.random.default_rng(seed))
    assert changed.image.shape == sample.image.shape
    assert changed.image.dtype == np.float32
    assert changed.target.shape == sample.target.shape
    assert changed.target.dtype == np.float16
    assert changed.image.min() >= 0
    assert changed.image.max() <= 255
    assert changed.target.min() >= 0
    assert changed.target.max() <= 1
    assert not changed.image[:, :, 28:].any()
    assert not changed.target[:, :, 28:].any()
    assert not changed.target[1].any()
    assert changed.valid == sample.valid
    assert changed.patient == "p"


@pytest.mark.parametrize("seed", range(40))
def test_the_target_follows_every_move_of_the_image(monkeypatch, seed):
    for name in ("CONTRAST", "GAMMA", "NOISE"):
        monkeypatch.setattr(transforms, name, 0.0)
    changed = augment(a_sample(), np.random.default_rng(seed))
    # the image is 60 + 140 * target; moves are linear, so what is left is the moved grey of 0..60
    grey = changed.image[0] - 140 * changed.target[0].astype(np.float32)
    assert grey.min() > -0.2
    assert grey.max() < 60.2


@given(st.integers(0, 10_000))
def test_area_changes_no_more_than_the_zoom_allows(seed):
    sample = a_sample()
    area = augment(sample, np.random.default_rng(seed)).target[0].sum(dtype=float) / sample.target[0].sum(
        dtype=float
    )
    assert 0.9**2 * 0.95 < area < 1.1**2 * 1.05


def test_equal_seeds_give_equal_bits_and_the_input_stays():
    sample = a_sample()
    before = replace(sample, image=sample.image.copy(), target=sample.target.copy())
    one, two = (augment(sample, np.random.default_rng(5)) for _ in range(2))
    assert (one.image == two.image).all()
    assert (one.target == two.target).all()
    assert (sample.image == before.image).all()
    assert (sample.target == before.target).all()
    assert any((augment(sample, np.random.default_rng(s)).image != one.image).any() for s in range(3))


def test_without_luck_nothing_changes(monkeypatch):
    for name in ("FLIP", "AFFINE", "CONTRAST", "GAMMA", "NOISE"):
        monkeypatch.setattr(transforms, name, 0.0)
    sample = a_sample()
    same = augment(sample, np.random.default_rng(0))
    assert (same.image == sample.image).all()
    assert (same.target == sample.target).all()


@pytest.mark.parametrize("angle", [0.0, 90.0])
def test_the_affine_move_turns_about_the_centre_of_the_image(monkeypatch, angle):
    for name, value in (("ROTATION_DEG", angle), ("SCALE", 0.0), ("SHIFT", 0.0)):
        monkeypatch.setattr(transforms, name, value)
    plane = np.zeros((1, 21, 31), np.float32)
    plane[0, 10, 15] = 1
    moved = transforms._move(plane, transforms._affine(21, 31, np.random.default_rng(0)))[0]
    y, x = np.indices(moved.shape)
    assert (moved * y).sum() / moved.sum() == pytest.approx(10, abs=1e-3)
    assert (moved * x).sum() / moved.sum() == pytest.approx(15, abs=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_moves_and_gamma_are_monais_on_three_channels(seed):
    import torch
    from monai.transforms import AdjustContrast, Affine

    planes = np.random.default_rng(seed).uniform(0, 255, (3, 30, 44)).astype(np.float32)
    cos, sin, left, _, _, top = transforms._affine(30, 44, np.random.default_rng(seed))
    matrix = np.eye(3)
    matrix[:2, :2] = [[cos, -sin], [sin, cos]]  # rows before columns, about the centre
    matrix[:2, 2] = top - 15 + cos * 15 - sin * 22, left - 22 + cos * 22 + sin * 15
    theirs = Affine(affine=matrix, padding_mode="zeros", image_only=True)(torch.from_numpy(planes)).numpy()
    moved = transforms._move(planes, (cos, sin, left, -sin, cos, top))
    # where the four pixels around a source lie in the image; at its edge Pillow and MONAI end it differently
    y, x = np.indices(planes.shape[1:]) + 0.5
    inner = (cos * x + sin * y + left > 1) & (cos * x + sin * y + left < 43)
    inner &= (cos * y - sin * x + top > 1) & (cos * y - sin * x + top < 29)
    assert inner.mean() > 0.6
    assert np.abs(moved - theirs)[:, inner].max() < 0.01

    class Chance:  # gamma alone, 1.3
        draws = iter([1.0, 0.0, 1.0])

        def random(self) -> float:
            return next(self.draws)

        def uniform(self, low: float, high: float) -> float:
            return np.log(1.3)

    changed = transforms._intensities(planes, Chance())
    planes[0, 0, 0], planes[0, 0, 1] = 0, 255  # MONAI's range is the image's own, ours is 0..255
    theirs = AdjustContrast(gamma=1.3)(torch.from_numpy(planes)).numpy()
    assert np.allclose(changed[:, 1:], theirs[:, 1:], atol=1e-2)
