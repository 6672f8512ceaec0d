"""A working spacing, neighbouring slices as channels, and windows: from a volume to the square and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfedsam_flower.data.cases import RawCase, prepare, prepare_image, samples_of
from pfedsam_flower.data.fitting import (
    InputRule,
    channel_places,
    fit,
    fit_target,
    fitted_shape,
    input_rule,
    is_shrunk,
    unfit,
)
from pfedsam_flower.data.labels import label_map
from pfedsam_flower.data.layouts import Case
from pfedsam_flower.data.pixels import Grid, Pixels
from pfedsam_flower.errors import DataError
from pfedsam_flower.model.build import problems
from pfedsam_flower.settings.run import BackboneSettings, ImageSettings, RunSettings

SIDES, STEPS = st.integers(1, 300), st.floats(0.2, 6.0)


@given(SIDES, SIDES, STEPS, STEPS, st.integers(28, 64), st.floats(0.3, 5.0))
def test_a_pixel_of_the_square_is_so_many_mm_unless_the_slice_would_not_fit(
    height, width, row, column, size, spacing
):
    rule = InputRule(size, spacing_mm=spacing)
    h, w = fitted_shape(height, width, rule, (9.0, row, column))
    high, wide = height * row / spacing, width * column / spacing
    assert 1 <= h <= size
    assert 1 <= w <= size
    if is_shrunk(height, width, rule, (9.0, row, column)):
        assert max(h, w) == size < max(high, wide)
        assert max(1, round(min(high, wide) * size / max(high, wide))) == min(h, w)
    else:
        assert max(high, wide) <= size + 0.5
        assert (h, w) == (max(1, round(high)), max(1, round(wide)))


def test_two_scanners_see_an_organ_at_one_size():
    """A disc of 20 mm, scanned at 0.5 x 0.5, at 1 x 2 and at 2 x 0.7 mm."""
    areas = []
    for row, column, shape in ((0.5, 0.5, (120, 100)), (1.0, 2.0, (70, 40)), (2.0, 0.7, (30, 80))):
        y, x = np.indices(shape)
        disc = np.hypot((y - shape[0] / 2) * row, (x - shape[1] / 2) * column) < 10
        rule, spacing = InputRule(80, spacing_mm=1.0), (1.0, row, column)
        areas.append(fit_target(disc[None], rule, spacing).sum(dtype=float))
        back = unfit(fit_target(disc[None], rule, spacing), fitted_shape(*shape, rule, spacing), disc.shape)
        assert ((back[0] > 0.5) == disc).mean() > 0.97
        image, _ = fit(disc[..., None].astype(np.float32) * 255, rule, spacing)
        assert np.abs(image[0] / 255 - fit_target(disc[None], rule, spacing)[0]).mean() < 0.01
    assert areas == pytest.approx([np.pi * 100] * 3, rel=0.08)  # as well as coarse pixels draw a disc


def test_a_working_spacing_needs_a_spacing():
    with pytest.raises(ValueError, match="spacing"):
        fitted_shape(10, 10, InputRule(28, spacing_mm=1.0), None)
    pixels = Pixels(np.zeros((1, 4, 4, 1), np.float32), Grid((1, 4, 4)))
    with pytest.raises(DataError, match=r"(?s)PFS-207.*1\.5 mm per pixel.*x\.png.*image\.spacing-mm = 0"):
        prepare_image(pixels, ImageSettings(spacing_mm=1.5), "x.png")


def test_neighbours_are_channels_and_the_ends_repeat():
    assert [channel_places(d, 3, 1) for d in range(3)] == [[0, 0, 1], [0, 1, 2], [1, 2, 2]]
    assert channel_places(0, 1, 1) == [0, 0, 0]
    assert channel_places(4, 9, 0) == [4]
    values = np.arange(4, dtype=np.float32)[:, None, None, None] * np.ones((4, 28, 28, 1), np.float32)
    mask = np.zeros((4, 28, 28), np.int32)
    mask[2, 5:9, 5:9] = 1
    raw = RawCase(Case("c", "p", "i", "m"), values, mask, np.array([True, False]), Grid((4, 28, 28)))
    settings = ImageSettings(size=28, neighbours=1, clip_low=0, clip_high=100)
    samples = list(
        samples_of(
            prepare(raw, label_map("organ=1", ("organ", "lesion")), settings), input_rule(settings, False)
        )
    )
    assert [s.image[:, 0, 0].tolist() for s in samples] == [
        [0, 0, 85],
        [0, 85, 170],
        [85, 170, 255],
        [170, 255, 255],
    ]
    assert [s.target[0].sum() for s in samples] == [0, 0, 16, 0]  # of the middle slice alone
    assert samples[2].annotated.tolist() == [True, False]


def test_colours_and_neighbours_do_not_go_together():
    pixels = Pixels(np.zeros((2, 4, 4, 3), np.float32), Grid((2, 4, 4)))
    with pytest.raises(DataError, match=r"(?s)PFS-207.*3 colour channels.*x\.png"):
        prepare_image(pixels, ImageSettings(neighbours=1), "x.png")


def test_a_window_means_the_same_in_every_case():
    values = np.array([-1000, -160, 40, 240, 3000], np.float32).reshape(1, 1, 5, 1)
    settings = ImageSettings(intensity="window", window_low=-160, window_high=240)
    for part, expected in ((values, [0, 0, 127.5, 255, 255]), (values[:, :, 1:3], [0, 127.5])):
        image = prepare_image(Pixels(part, Grid(part.shape[:3])), settings)[0]
        assert image.dtype == np.float32
        assert image.ravel().tolist() == expected


@pytest.mark.parametrize(
    ("image", "backbone", "sentence"),
    [
        ({"window_low": 240.0, "window_high": 240.0}, "vit_tiny", "image.window-low = 240: is not below"),
        ({"spacing_mm": 0.8}, "medsam_vit_b", "medsam_vit_b stretches every image"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(image, backbone, sentence):
    run = RunSettings(image=ImageSettings(**image), backbone=BackboneSettings(name=backbone))
    assert any(sentence in fault for fault in problems(run))
    assert not problems(RunSettings(image=ImageSettings(spacing_mm=0.8)))
