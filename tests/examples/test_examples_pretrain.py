"""The making of vit_tiny's weights: images, prompts, the batched decoder, training and going on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from examples.pretrain import losses, prompts
from examples.pretrain.images import CLASSES, SMALLEST, generate
from examples.pretrain.network import decode, sparse_tokens
from examples.pretrain.training import Preset, Training, learning_rate, train
from pfedsam_flower.model.sam.backbones import BACKBONES
from pfedsam_flower.model.sam.modules import untrained

numbers = st.integers(0, 10**6)


def fresh_sam() -> torch.nn.Module:
    return untrained(BACKBONES["vit_tiny"], 224, 0)


@settings(deadline=None, max_examples=8)
@given(numbers)
def test_an_image_depends_on_its_number_alone_and_its_objects_are_whole(number: int) -> None:
    image, masks, classes, salient = generate(3, number)
    again = generate(3, number)
    assert (image == again[0]).all()
    assert (masks == again[1]).all()
    assert image.shape == (224, 224, 3)
    assert image.dtype == np.uint8
    assert image.std() > 1
    assert len(masks) == len(classes)
    assert 0 <= salient < len(CLASSES)
    for mask in masks:
        assert mask.sum() >= SMALLEST
        assert ndimage.label(mask)[1] == 1


def test_other_seeds_and_numbers_give_other_images() -> None:
    images = [generate(seed, number)[0] for seed in (0, 1) for number in (0, 1)]
    assert len({image.tobytes() for image in images}) == 4


def test_every_class_is_generated() -> None:
    seen = {int(k) for number in range(60) for k in generate(0, number, 64)[2]}
    assert seen == set(range(len(CLASSES)))


@settings(deadline=None, max_examples=15)
@given(numbers)
def test_prompts_say_where_the_object_is(number: int) -> None:
    _, masks, classes, _ = generate(5, number, 112)
    if not len(masks):
        return
    rng = np.random.default_rng(number)
    for one in prompts.choose(rng, masks, classes, 3):
        x1, y1, x2, y2 = prompts.box(rng, masks[one])
        rows, columns = np.nonzero(masks[one])
        assert x1 <= columns.min() + 3
        assert y1 <= rows.min() + 3
        assert x2 >= columns.max() - 2
        assert y2 >= rows.max() - 2
        assert x1 >= columns.min() - 3
        assert x2 <= columns.max() + 4
        (x, y), meant = prompts.point(rng, masks, int(one))
        inside = [i for i, mask in enumerate(masks) if mask[int(y), int(x)]]
        assert one in inside
        assert meant == min(inside, key=lambda i: masks[i].sum())
        x, y = prompts.away(rng, masks[meant])
        assert masks[meant].all() or not masks[meant][int(y), int(x)]


@pytest.mark.parametrize("kind", ["box", "point", "two points", "empty"])
def test_the_batched_decoder_is_segment_anythings(kind: str) -> None:
    sam = fresh_sam()
    torch.manual_seed(0)
    embedding = torch.randn(2, 256, 16, 16)
    boxes = torch.tensor([[10.0, 20.0, 100.0, 90.0], [0.0, 0.0, 50.0, 60.0]])
    points = torch.tensor([[[10.0, 20.0], [5.0, 7.0]], [[100.0, 20.0], [50.0, 70.0]]])
    labels = torch.tensor([[1, 0], [1, 0]])
    if kind == "point":
        points, labels = points[:, :1], labels[:, :1]
    with torch.inference_mode():
        if kind == "empty":
            sparse = torch.zeros(2, 0, 256)
        elif kind == "box":
            sparse = sparse_tokens(sam.prompt_encoder, boxes, None, None)
        else:
            sparse = sparse_tokens(sam.prompt_encoder, None, points, labels)
        logits, quality, _ = decode(sam, embedding, sparse)
        for i in range(2):
            asked = {
                "boxes": boxes[i : i + 1] if kind == "box" else None,
                "points": (points[i : i + 1], labels[i : i + 1]) if "point" in kind else None,
            }
            one, dense = sam.prompt_encoder(**asked, masks=None)
            masks, qualities = sam.mask_decoder(
                embedding[i : i + 1], sam.prompt_encoder.get_dense_pe(), one, dense, multimask_output=False
            )
            torch.testing.assert_close(logits[i], masks[0, 0], atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(quality[i], qualities[0, 0], atol=1e-4, rtol=1e-4)


def test_losses_are_least_at_the_truth() -> None:
    target = torch.zeros(2, 8, 8)
    target[:, 2:5, 2:6] = 1
    right, wrong = (target * 2 - 1) * 20, (target * 2 - 1) * -20
    assert losses.prompted(right, target) < 1e-3 < 1 < losses.prompted(wrong, target)
    assert losses.salient(right[None], target[None]) < 1e-3 < 1 < losses.salient(wrong[None], target[None])
    nothing = torch.zeros(1, 2, 8, 8)
    assert losses.salient(nothing - 20, nothing) < 1e-3
    assert losses.estimate(torch.tensor([1.0, 0.0]), torch.stack([right[0], wrong[0]]), target) == 0
    tokens = torch.randn(2, 5, 4, 4)
    assert losses.kept(tokens - tokens.mean((2, 3), keepdim=True), tokens).abs() < 1e-6
    assert losses.kept(torch.roll(tokens, 1, 0), tokens) > 0.5


def test_area_is_the_covered_part() -> None:
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[0, 0, :3] = True
    assert losses.area(mask, 2).tolist() == [[[0.5, 0.25], [0.0, 0.0]]]


def test_training_leaves_the_trunk_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    preset = Preset(cycles=(2, 2), fresh=1, batch=2, memory=2, warmup=1)
    seen: list[dict[str, float]] = []
    whole = Training.start(fresh_sam(), preset, 0, "cpu")
    before = {k: v.clone() for k, v in whole.sam.state_dict().items()}
    train(whole, 0, lambda step, parts: seen.append(parts))
    assert len(seen) == 4
    changed = {k for k, v in whole.sam.state_dict().items() if not torch.equal(v, before[k])}
    assert not {k for k in changed if k.startswith("image_encoder.") and ".neck." not in k}
    assert {"image_encoder.neck.0.weight", "mask_decoder.iou_token.weight"} <= changed

    first = Training.start(fresh_sam(), preset, 0, "cpu")

    class Stop(Exception):
        pass

    def stop(step: int, parts: dict[str, float]) -> None:
        if step == 1:
            first.step = 2
            first.save(tmp_path / "resume.pth")
            raise Stop

    with pytest.raises(Stop):
        train(first, 0, stop)
    second = Training.start(fresh_sam(), preset, 0, "cpu")
    second.load(tmp_path / "resume.pth")
    with pytest.raises(SystemExit, match="choose another --output"):
        Training.start(fresh_sam(), replace(preset, fresh=2), 0, "cpu").load(tmp_path / "resume.pth")
    with pytest.raises(SystemExit, match="choose another --output"):
        Training.start(fresh_sam(), preset, 1, "cpu").load(tmp_path / "resume.pth")
    train(second, 0, lambda step, parts: None)
    for key, value in whole.sam.state_dict().items():
        assert torch.equal(second.sam.state_dict()[key], value), key


def test_the_learning_rate_rises_and_falls_in_each_cycle() -> None:
    preset = Preset(cycles=(1000, 500), fresh=1, batch=1, memory=1)
    assert preset.steps == 1500
    rates = [learning_rate(preset, step) for step in range(1500)]
    for cycle in (rates[:1000], rates[1000:]):
        assert cycle[0] < preset.rate / 50
        assert max(cycle) == pytest.approx(preset.rate)
        assert cycle[-1] < preset.rate / 1000
        assert np.argmax(cycle) in (preset.warmup - 1, preset.warmup)
