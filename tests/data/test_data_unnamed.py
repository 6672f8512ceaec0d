"""What is said of mask values that no class names."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from pfedsam_flower.data.labels import label_map
from pfedsam_flower.data.unnamed import unnamed

ONE, TWO = ("lesion",), ("organ", "lesion")


def drawn(fill=255, size=64, resample=Image.Resampling.BICUBIC):
    large = Image.new("L", (640, 640))
    ImageDraw.Draw(large).ellipse((150, 120, 350, 300), fill=fill)
    return np.asarray(large.resize((size, size), resample)).astype(np.int32)


def told(mask, labels, classes):
    error = unnamed(mask, label_map(labels, classes), "mask.png")
    assert error.code == "PFS-205"
    return error.message, error.hint


@pytest.mark.parametrize("labels", ["lesion=255", "", "lesion=1+2+3"])
def test_soft_edges_are_told_and_the_threshold_given_can_be_used(labels):
    mask = drawn()
    message, hint = told(mask, labels, ONE)
    assert "its edges are soft" in message
    assert "lesion=128-255,background=1-127" in hint
    usable = label_map("lesion=128-255,background=1-127", ONE)
    assert unnamed(mask, usable, "") is None
    assert np.array_equal(usable.classes[0].holds(mask), mask >= 128)


def test_jpeg_and_sixteen_bits(tmp_path):
    Image.fromarray(drawn(resample=Image.Resampling.NEAREST).astype(np.uint8)).save(
        tmp_path / "m.jpg", quality=80
    )
    jpeg = np.asarray(Image.open(tmp_path / "m.jpg")).astype(np.int32)
    assert "soft" in told(jpeg, "lesion=255", ONE)[0]
    deep = (drawn() / 255 * 65535).astype(np.int32)
    assert "lesion=32768-65535,background=1-32767" in told(deep, "lesion=65535", ONE)[1]


def test_soft_edges_of_several_classes_cannot_be_cut_at_one_threshold():
    mask = drawn()
    mask[40:60, 40:60] = 128
    message, hint = told(mask, "organ=128,lesion=255", TWO)
    assert "soft" in message
    assert "nearest neighbour" in hint
    assert "threshold" not in hint


@pytest.mark.parametrize("number", [40, 200, 300, 3000])
def test_numbered_objects_are_told_as_instances(number):
    rng = np.random.default_rng(0)
    mask = np.zeros((400, 400), np.int32)
    for one in range(1, number + 1):
        y, x = rng.integers(0, 394, 2)
        mask[y : y + 6, x : x + 6] = one
    message, hint = told(mask, "lesion=1", ONE)
    assert "as where single objects are numbered" in message
    assert "nucleus=1-65535" in hint
    assert unnamed(mask, label_map("lesion=1-65535", ONE), "") is None


@pytest.mark.parametrize("ids", [range(1001, 1031), range(7, 3000, 100), range(70_001, 70_031)])
def test_numbers_with_gaps_are_instances_too(ids):
    mask = np.zeros((300, 60), np.int32)
    for place, one in enumerate(ids):
        mask[place * 10 : place * 10 + 7, 5:12] = one
    message, hint = told(mask, "", ONE)
    assert "as where single objects are numbered" in message
    assert ("nucleus=1-65535;" in hint) == (max(ids) < 65536)
    assert ("nucleus=1-16777216;" in hint) == (max(ids) > 65535)


def test_a_picture_is_not_called_a_mask():
    mask = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.int32)
    message, hint = told(mask, "lesion=255", ONE)
    assert "as a picture or a map of probabilities has" in message
    assert "lesion=128-255,background=1-127" in hint


def test_some_values_more_are_to_be_named():
    mask = np.zeros((9, 9), np.int32)
    mask[2], mask[3], mask[4] = 1, 2, 4
    message, hint = told(mask, "lesion=1", ONE)
    assert message == "the mask holds 2, 4, which no class names"
    assert "background=2+4" in hint
    assert unnamed(mask, label_map("lesion=1,background=2-4", ONE), "") is None
