"""The overlay of a prompted prediction: what was asked for and what came stand where they belong."""

import numpy as np
import pytest
from PIL import Image, ImageColor

from pfedsam_flower.errors import StoreError
from pfedsam_flower.prediction.prompts import Prompt
from pfedsam_flower.reports.prompted import COLOURS, SIDE, write_mask, write_overlay


def drawn(image, prompts, masks, tmp_path) -> np.ndarray:
    with Image.open(write_overlay(image, prompts, masks, tmp_path / "overlay.png")) as picture:
        return np.asarray(picture)


def coloured(picture: np.ndarray, number: int) -> np.ndarray:
    """The box (x1, y1, x2, y2) in picture pixels of everything in an object's own colour."""
    rows, columns = np.nonzero((picture == ImageColor.getrgb(COLOURS[number])).all(axis=2))
    return np.array([columns.min(), rows.min(), columns.max(), rows.max()])


def test_outlines_boxes_and_points_lie_where_they_belong(tmp_path):
    image = np.full((48, 96, 1), 90, np.float32)
    mask = np.zeros((48, 96), bool)
    mask[10:20, 30:50] = True
    empty = np.zeros_like(mask)
    prompts = [Prompt(None, ((40, 15, True),)), Prompt((60, 5, 90, 40)), Prompt(None, ((5, 40, False),))]
    picture = drawn(image, prompts, [mask, empty, empty], tmp_path)
    zoom = SIDE // 96
    assert picture.shape == (48 * zoom, 96 * zoom, 3)
    assert np.array_equal(coloured(picture, 0), [30 * zoom, 10 * zoom, 50 * zoom - 1, 20 * zoom - 1])
    assert np.abs(coloured(picture, 1) - [60 * zoom, 5 * zoom, 90 * zoom, 40 * zoom]).max() <= 3
    cross = coloured(picture, 2)
    assert np.abs((cross[:2] + cross[2:]) / 2 - [5.5 * zoom, 40.5 * zoom]).max() <= 1
    inside = picture[12 * zoom, 33 * zoom].astype(int)
    assert not (inside == 90).all(), "the area is tinted"
    assert (picture[30 * zoom, 20 * zoom] == 90).all(), "the rest is the image"


def test_a_box_that_ends_with_the_image_is_seen_whole(tmp_path):
    picture = drawn(
        np.zeros((40, 60, 3), np.float32), [Prompt((0, 0, 60, 40))], [np.zeros((40, 60), bool)], tmp_path
    )
    right, below = picture.shape[1] - 1, picture.shape[0] - 1
    assert np.array_equal(np.clip(coloured(picture, 0), 1, None), np.clip([0, 0, right, below], 1, None))


@pytest.mark.parametrize("shape", [(1, 300, 1), (900, 1100, 3), (20, 20, 1)])
def test_any_image_can_be_drawn(shape, tmp_path):
    masks = [np.ones(shape[:2], bool)] * 9
    picture = drawn(np.full(shape, 300, np.float32), [Prompt((0, 0, 1, 1))] * 9, masks, tmp_path)
    assert min(picture.shape[:2]) >= min(shape[:2])


def test_a_mask_file_is_0_and_255(tmp_path):
    mask = np.zeros((4, 7), bool)
    mask[1, 2:5] = True
    with Image.open(write_mask(mask, tmp_path / "mask.png")) as picture:
        assert np.array_equal(np.asarray(picture), mask * 255)
    assert [path.name for path in tmp_path.iterdir()] == ["mask.png"]


def test_a_folder_that_is_not_there_is_a_sentence(tmp_path):
    with pytest.raises(StoreError, match="PFS-604"):
        write_mask(np.zeros((2, 2), bool), tmp_path / "no" / "mask.png")
