"""Logits come back on the case's own grid, whatever its shape."""

import numpy as np
import pytest

from pfedsam_flower.data.fitting import InputRule
from pfedsam_flower.model.build import Built, build
from pfedsam_flower.prediction.predictor import predict_logits
from pfedsam_flower.settings.run import ImageSettings, RunSettings

RULE = InputRule(56)


@pytest.fixture(scope="module")
def built() -> Built:
    return build(RunSettings(image=ImageSettings(size=56), classes=("a", "b")), "")


@pytest.mark.parametrize(
    "shape", [(1, 64, 64, 1), (3, 40, 90, 1), (2, 91, 37, 3), (9, 20, 20, 1), (1, 300, 1, 1)]
)
def test_own_grid(built: Built, shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
    logits = predict_logits(built.model, image, RULE, None, personal=True)
    assert logits.shape == (2, *shape[:3])
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()
    assert np.array_equal(logits, predict_logits(built.model, image, RULE, None, personal=False))


def test_what_is_on_one_side_stays_there(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a network that answers the picture's own brightness, the mask lies on the bright part."""
    import torch

    def brightness(images: torch.Tensor) -> torch.Tensor:
        grey = images.mean(1, keepdim=True) - 127
        return torch.nn.functional.adaptive_avg_pool2d(grey, 16).repeat(1, 2, 1, 1)

    monkeypatch.setattr(built.model, "trunk", lambda images, valid: images)
    monkeypatch.setattr(built.model, "tail", brightness)
    image = np.zeros((1, 60, 120, 1), np.float32)
    image[:, 15:45, 60:] = 255
    mask = predict_logits(built.model, image, RULE, None, personal=True)[0, 0] > 0
    assert (mask == (image[0, ..., 0] > 0)).mean() > 0.95
