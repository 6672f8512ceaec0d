"""Each backbone's own pixel rule: what the network sees, and what counts for it."""

from pathlib import Path

import numpy as np
import published
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pfedsam_flower.data.fitting import InputRule, fit, fit_target
from pfedsam_flower.model.pfedsam import PFedSAM
from pfedsam_flower.model.sam.backbones import BACKBONES
from pfedsam_flower.model.sam.load import load_sam
from pfedsam_flower.prediction.predictor import predict_logits


@pytest.fixture(scope="module")
def model() -> PFedSAM:
    return PFedSAM(load_sam("vit_tiny", 28)[0], 1, 28)


def seen(model: PFedSAM, rule: str, image: torch.Tensor, valid: tuple[int, int]) -> torch.Tensor:
    model.pixels = BACKBONES[rule].pixels
    return model.normalise(image[None], torch.tensor([valid]))[0]


def test_sam_subtracts_its_mean_and_pads_with_zeros(model: PFedSAM) -> None:
    x = torch.full((3, 28, 28), 200.0)
    out = seen(model, "vit_b", x, (20, 28))
    torch.testing.assert_close(out[:, 0, 0], torch.tensor([1.3070, 1.4657, 1.6814]), rtol=0, atol=1e-4)
    assert not out[:, 20:].any()


@given(
    st.integers(1, 28),
    st.integers(1, 28),
    st.floats(0.05, 1.0),
    st.floats(0.0, 100.0),
    st.sampled_from(["medsam_vit_b", "lite_medsam"]),
)
def test_min_max_sees_the_content_alone_and_no_brightness_or_contrast(
    model: PFedSAM, height: int, width: int, contrast: float, brightness: float, rule: str
) -> None:
    image = torch.rand(3, 28, 28, generator=torch.Generator().manual_seed(2)) * 150
    out = seen(model, rule, image, (height, width))
    content = out[:, :height, :width]
    assert content.min() == 0
    assert abs(content.max() - 1) < 1e-6
    assert not out[:, height:].any()
    assert not out[:, :, width:].any()
    changed = image * contrast + brightness
    changed[:, height:], changed[:, :, width:] = 255.0, -3.0
    torch.testing.assert_close(seen(model, rule, changed, (height, width)), out, rtol=0, atol=1e-4)


def test_min_max_takes_all_channels_together(model: PFedSAM) -> None:
    image = torch.zeros(3, 28, 28)
    image[0], image[1], image[2, 0, 0] = 50.0, 100.0, 200.0
    out = seen(model, "lite_medsam", image, (28, 28))
    assert out[:, 5, 5].tolist() == [0.25, 0.5, 0.0]


@pytest.mark.parametrize("value", [0.0, 37.3, 255.0])
def test_a_constant_image_becomes_nearly_zero(model: PFedSAM, value: float) -> None:
    square, valid = fit(np.full((45, 31, 3), value, np.float32), InputRule(28))
    out = seen(model, "lite_medsam", torch.from_numpy(square), valid)
    assert out.isfinite().all()
    assert out.abs().max() < 0.05


def test_stretched_images_and_masks_fill_the_square_and_keep_their_places() -> None:
    image = np.zeros((20, 40, 1), np.float32)
    image[:, 20:] = 100.0
    mask = image[..., 0][None] > 0
    rule = InputRule(28, stretch=True)
    square, valid = fit(image, rule)
    target = fit_target(mask, rule)
    assert valid == (28, 28)
    assert (square[0, :, 15:] == 100).all()
    assert (square[0, :, :13] == 0).all()
    assert (target[0, :, 14:] == 1).all()
    assert (target[0, :, :14] == 0).all()


def test_the_predictor_stretches_for_a_backbone_that_does(tmp_path: Path) -> None:
    """A pattern in the last rows of a wide image: padded, they would reach the upper half of the square."""
    torch.save(published.efficient_sam(192), tmp_path / "e.pth")
    model = PFedSAM(load_sam("efficient_sam_ti", 32, str(tmp_path / "e.pth"))[0], 2, 32).eval()
    image = np.random.default_rng(0).uniform(0, 255, (1, 20, 44, 1)).astype(np.float32)
    shown = []
    normalise = model.normalise
    model.normalise = lambda x, valid: shown.append((x, valid)) or normalise(x, valid)
    logits = predict_logits(model, image, InputRule(32, stretch=True), None, personal=False)
    assert logits.shape == (2, 1, 20, 44)
    ((square, valid),) = shown
    assert valid.tolist() == [[32, 32]]
    assert square[0, :, 16:].any()


def test_rows_have_the_rules_of_their_papers() -> None:
    rules = {name: (row.pixels.min_max, row.pixels.stretch) for name, row in BACKBONES.items()}
    assert rules == {
        "vit_tiny": (False, False),
        "vit_b": (False, False),
        "vit_l": (False, False),
        "vit_h": (False, False),
        "mobile_sam": (False, False),
        "medsam_vit_b": (True, True),
        "lite_medsam": (True, False),
        "efficient_sam_ti": (False, True),
        "efficient_sam_s": (False, True),
    }
