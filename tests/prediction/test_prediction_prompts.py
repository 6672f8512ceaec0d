"""Prompts in an image's own pixels: where they land on the network's square, and which are refused."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfedsam_flower.data.fitting import InputRule, fit
from pfedsam_flower.errors import SettingsError
from pfedsam_flower.prediction.prompts import Prompt, check_prompts, scaled

SIDES = st.integers(1, 400)
SHAPES = st.tuples(SIDES, SIDES)
UNIT = st.floats(0, 1, exclude_max=True)


@given(SHAPES, st.integers(16, 300), st.lists(st.tuples(UNIT, UNIT), min_size=1, max_size=4))
def test_prompts_land_inside_the_content_and_come_back(shape, size, places):
    xy = np.array(places) * shape[::-1]
    _, valid = fit(np.zeros((*shape, 1), np.float32), InputRule(size))
    on_square = scaled(xy, shape, valid)
    assert (on_square >= 0).all()
    assert (on_square <= valid[::-1]).all()
    np.testing.assert_allclose(scaled(on_square, valid, shape), xy, rtol=1e-12, atol=1e-9)


@given(st.data(), st.tuples(st.integers(30, 200), st.integers(30, 200)), st.integers(48, 256))
def test_a_prompt_lands_on_what_it_points_at(data, shape, size):
    """The middle of a bright area, as a position, is where the area's middle lies on the square."""
    x1, y1 = data.draw(st.integers(0, shape[1] - 12)), data.draw(st.integers(0, shape[0] - 12))
    image = np.zeros((*shape, 1), np.float32)
    image[y1 : y1 + 11, x1 : x1 + 11] = 255
    square, valid = fit(image, InputRule(size))
    weight = square[0].astype(np.float64)
    rows, columns = np.indices(weight.shape)
    found = np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()
    [expected] = scaled(np.array([[x1 + 5, y1 + 5]]), shape, valid)
    zoom = max(valid) / max(shape)
    assert np.abs(found - expected).max() <= 1 + zoom  # a pixel here and a pixel there


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        (Prompt(), "nothing: says only where the object is not"),
        (Prompt((30, 5, 20, 9)), "box 30,5,20,9: x2 = 20 is not to the right of x1 = 30"),
        (Prompt((5, 8, 5, 9)), "box 5,8,5,9: x2 = 5 is not to the right of x1 = 5"),
        (Prompt((5, 9, 6, 9)), "box 5,9,6,9: y2 = 9 is not below y1 = 9"),
        (Prompt((5, 5, 101, 9)), "box 5,5,101,9: reaches outside the image"),
        (Prompt((5, 5, 9, 41)), "box 5,5,9,41: reaches outside the image"),
        (Prompt((-1, 5, 9, 9)), "box -1,5,9,9: reaches outside the image"),
        (Prompt((5, 5, math.nan, 9)), "box 5,5,nan,9: reaches outside the image"),
        (Prompt(None, ((100, 3, True),)), "point 100,3: lies outside the image"),
        (Prompt(None, ((3, 40, True),)), "point 3,40: lies outside the image"),
        (Prompt((1, 1, 9, 9), ((math.inf, 3, False),)), "point inf,3: lies outside the image"),
        (Prompt(None, ((3, 3, False),)), "negative point 3,3: says only where the object is not"),
    ],
)
def test_a_prompt_that_does_not_fit_is_refused_with_its_numbers(prompt, said):
    with pytest.raises(SettingsError) as caught:
        check_prompts([prompt], 40, 100)
    assert caught.value.code == "PFS-103"
    assert f"  - {said}\n" in caught.value.local() + "\n"
    assert "100 x 40" in caught.value.local()


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt((0, 0, 100, 40)),
        Prompt(None, ((99, 39, True),)),
        Prompt((2.5, 0, 3, 1), ((0, 0, False),)),
        Prompt(None, ((0, 0, False), (1, 1, True))),
    ],
)
def test_what_lies_on_the_edge_is_inside(prompt):
    check_prompts([prompt], 40, 100)


def test_all_faults_are_told_at_once():
    prompts = [Prompt((9, 9, 3, 3)), Prompt((1, 1, 5, 5)), Prompt(None, ((200, 0, True), (0, 50, True)))]
    with pytest.raises(SettingsError) as caught:
        check_prompts(prompts, 40, 100)
    assert caught.value.counts == {"faults": 4}


def test_no_prompt_at_all_is_refused():
    with pytest.raises(SettingsError, match="no box and no point is given"):
        check_prompts([], 40, 100)
