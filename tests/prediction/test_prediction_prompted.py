"""A prompted backbone answers as segment-anything's own predictor does, on the image's own grid."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from pfedsam_flower.data.fitting import InputRule, fit
from pfedsam_flower.errors import SettingsError
from pfedsam_flower.model.sam.backbones import BACKBONES, PlainViT
from pfedsam_flower.model.sam.modules import untrained
from pfedsam_flower.prediction.prompted import predict_prompted
from pfedsam_flower.prediction.prompts import Prompt

SIZE = 64
ENCODER = PlainViT(32, 2, 2, 16, SIZE, 3, (1,), relative_positions=True)
ROW = replace(BACKBONES["vit_b"], encoder=ENCODER, native_size=SIZE)
BOX = Prompt((9, 5, 31, 22))
ONE_POINT = Prompt(None, ((20, 13, True),))
PROMPTS = [
    BOX,
    ONE_POINT,
    Prompt(None, ((20, 13, True), (3, 30, False))),
    Prompt((9, 5, 31, 22), ((12, 7, False),)),
]


@pytest.fixture(scope="module")
def sam() -> torch.nn.Module:
    """Small, with noise on every parameter: the constructor leaves positions at zero."""
    model = untrained(ROW, SIZE, seed=3).eval()
    draw = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=draw)
    return model


def under(sam: torch.nn.Module, **changes: object) -> torch.nn.Module:
    """The same network as another row has it."""
    other = copy.copy(sam)
    other.backbone = replace(ROW, **changes)
    return other


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, shape).astype(np.float32)


def predictors_answer(
    sam: torch.nn.Module, image: np.ndarray, prompt: Prompt, three: bool
) -> tuple[np.ndarray, float]:
    from segment_anything.predictor import SamPredictor

    predictor = SamPredictor(sam)
    if image.shape == (SIZE, SIZE, 3):
        predictor.set_image(image.astype(np.uint8))
    else:  # resized as we do it: its own resizing rounds to whole numbers
        square, (h, w) = fit(image, InputRule(SIZE))
        content = np.broadcast_to(square, (3, SIZE, SIZE))[:, :h, :w].copy()
        predictor.set_torch_image(torch.from_numpy(content)[None], image.shape[:2])
    coordinates = np.array([[x, y] for x, y, _ in prompt.points]) if prompt.points else None
    labels = np.array([int(inside) for _, _, inside in prompt.points]) if prompt.points else None
    box = np.array(prompt.box) if prompt.box else None
    masks, qualities, _ = predictor.predict(
        coordinates, labels, box, multimask_output=three, return_logits=True
    )
    return masks[qualities.argmax()], float(qualities.max())


@pytest.mark.parametrize("shape", [(64, 64, 3), (40, 100, 3), (97, 50, 1), (32, 32, 3)])
def test_answers_are_those_of_segment_anything_s_own_predictor(sam, shape):
    image = pixels(*shape)
    for prompt, answer in zip(PROMPTS, predict_prompted(sam, image, PROMPTS), strict=True):
        logits, quality = predictors_answer(sam, image, prompt, three=prompt is ONE_POINT)
        assert answer.logits.shape == answer.mask.shape == shape[:2]
        assert (answer.logits.dtype, answer.mask.dtype) == (np.float32, bool)
        np.testing.assert_allclose(answer.logits, logits, rtol=1e-4, atol=1e-4)
        assert answer.quality == pytest.approx(quality, abs=1e-4)


def test_a_row_that_stretches_is_asked_on_the_stretched_image(sam):
    image = pixels(40, 100, 1)
    square, _ = fit(image, InputRule(SIZE, stretch=True))
    across, down = SIZE / 100, SIZE / 40
    x1, y1, x2, y2 = BOX.box
    on_square = Prompt((x1 * across, y1 * down, x2 * across, y2 * down))
    logits, quality = predictors_answer(sam, square.transpose(1, 2, 0), on_square, three=False)
    resized = torch.nn.functional.interpolate(
        torch.from_numpy(logits)[None, None], (40, 100), mode="bilinear"
    )
    stretched = under(sam, pixels=replace(ROW.pixels, stretch=True))
    [answer] = predict_prompted(stretched, image, [BOX])
    np.testing.assert_allclose(answer.logits, resized[0, 0].numpy(), rtol=1e-4, atol=1e-4)
    assert answer.quality == pytest.approx(quality, abs=1e-4)


def test_one_point_gets_the_single_mask_where_three_were_not_trained(sam):
    image = pixels(SIZE, SIZE, 3)
    [point, box] = predict_prompted(under(sam, prompt_masks=1), image, [ONE_POINT, BOX])
    logits, quality = predictors_answer(sam, image, ONE_POINT, three=False)
    np.testing.assert_allclose(point.logits, logits, rtol=1e-4, atol=1e-4)
    assert point.quality == pytest.approx(quality, abs=1e-4)
    assert np.array_equal(box.logits, predict_prompted(sam, image, [BOX])[0].logits)


def test_an_answer_does_not_depend_on_what_else_is_asked_and_changes_nothing(sam):
    before = {name: value.clone() for name, value in sam.state_dict().items()}
    image = pixels(40, 100, 1)
    together = predict_prompted(sam, image, PROMPTS)
    alone = [predict_prompted(sam, image, [prompt])[0] for prompt in PROMPTS]
    for one, other in zip(together, alone, strict=True):
        assert np.array_equal(one.logits, other.logits)
        assert one.quality == other.quality
    assert all(torch.equal(value, before[name]) for name, value in sam.state_dict().items())
    assert all(parameter.requires_grad for parameter in sam.parameters())


def test_a_prompt_outside_the_image_is_refused_before_the_network_runs(sam):
    with pytest.raises(SettingsError, match="reaches outside the image"):
        predict_prompted(sam, pixels(40, 100, 1), [BOX, Prompt((5, 5, 60, 60))])


def test_a_decoder_that_was_not_made_for_prompts_is_not_asked(sam):
    with pytest.raises(SettingsError, match="answers no prompt"):
        predict_prompted(under(sam, prompt_masks=0), pixels(SIZE, SIZE, 3), [BOX])
