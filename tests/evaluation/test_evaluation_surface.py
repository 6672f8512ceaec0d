"""HD95 and NSD through MONAI, held against every pair of surface voxels counted by hand."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pfedsam_flower.evaluation.case_scores import mean_scores, score_case
from pfedsam_flower.evaluation.surface import surface_scores


def surface_voxels(mask: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Positions of voxels with a neighbour across a face that is not in the mask, or beyond the border."""
    found = []
    for place in zip(*np.nonzero(mask), strict=True):
        for axis, step in product(range(mask.ndim), (-1, 1)):
            other = list(place)
            other[axis] += step
            if not 0 <= other[axis] < mask.shape[axis] or not mask[tuple(other)]:
                found.append(place)
                break
    return np.array(found) * spacing


def by_hand(
    one: np.ndarray, other: np.ndarray, spacing: tuple[float, ...], tolerance: float
) -> tuple[float, float]:
    a, b = surface_voxels(one, spacing), surface_voxels(other, spacing)
    apart = np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))
    there, back = apart.min(1), apart.min(0)
    hd95 = max(np.percentile(there, 95), np.percentile(back, 95))
    near = (there <= tolerance).sum() + (back <= tolerance).sum()
    return hd95, near / (len(there) + len(back))


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(*[st.integers(2, 6)] * 3),
    spacing=st.tuples(*[st.sampled_from((0.5, 0.7, 1.0, 3.0, 5.5))] * 3),
    # between the distances that these spacings give, where rounding decides nothing
    tolerance=st.sampled_from((0.05, 0.93, 2.03, 4.01)),
    filled=st.sampled_from((0.02, 0.3, 0.9)),
)
def test_as_counted_by_hand(seed, shape, spacing, tolerance, filled) -> None:
    rng = np.random.default_rng(seed)
    one, other = rng.random(shape) < filled, rng.random(shape) < filled
    one[tuple(rng.integers(0, shape))] = other[tuple(rng.integers(0, shape))] = True
    got = surface_scores(one, other, spacing, tolerance)
    assert (got.hd95, got.nsd) == pytest.approx(by_hand(one, other, spacing, tolerance), rel=1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slice_is_scored_in_its_plane_whatever_axis_it_lies_across(axis) -> None:
    flat_one, flat_other = np.zeros((9, 8), bool), np.zeros((9, 8), bool)
    flat_one[1:6, 1:6] = flat_other[3:8, 2:6] = True
    spacing = np.insert([0.5, 2.0], axis, 99.0)
    got = surface_scores(np.expand_dims(flat_one, axis), np.expand_dims(flat_other, axis), spacing, 1.1)
    assert (got.hd95, got.nsd) == pytest.approx(by_hand(flat_one, flat_other, (0.5, 2.0), 1.1), rel=1e-5)
    assert got.nsd < 1, "in 3D every voxel of a slice is surface"


def test_a_shift_by_hand() -> None:
    one, other = np.zeros((20, 20, 20), bool), np.zeros((20, 20, 20), bool)
    one[5:10, 5:10, 5:10] = other[7:12, 5:10, 5:10] = True
    got = surface_scores(one, other, (1.5, 1.0, 1.0), 3.0)
    assert got.hd95 == pytest.approx(3.0)
    assert got.nsd == 1, "a distance of exactly the tolerance is within it"
    assert surface_scores(one, other, (1.5, 1.0, 1.0), 2.99).nsd < 1
    assert surface_scores(one, one, (1.5, 1.0, 1.0), 0.0).nsd == 1


def test_an_empty_mask_has_no_distance() -> None:
    some = np.ones((2, 2, 2), bool)
    with pytest.raises(ValueError, match="empty"):
        surface_scores(some, np.zeros_like(some), (1, 1, 1), 1)


def masks() -> tuple[np.ndarray, np.ndarray]:
    """Classes a to e: in both, in the prediction, in the reference, in none, in both but not annotated."""
    prediction, reference = np.zeros((5, 3, 8, 8), bool), np.zeros((5, 3, 8, 8), bool)
    prediction[0, :, 2:6, 2:6] = reference[0, :, 3:7, 2:6] = True
    prediction[1, 0, 0, 0] = reference[2, 0, 0, :2] = True
    prediction[4] = reference[4] = True
    return prediction, reference


def test_policy_for_empty_masks_and_classes_that_are_not_annotated() -> None:
    annotated = np.array([True, True, True, True, False])
    rows = score_case("x", "abcde", *masks(), annotated, (3.0, 0.5, 0.5), 1.0)
    assert [row.name for row in rows] == list("abcd")
    both, predicted, missed, neither = rows
    assert (both.dice, both.empty) == (0.75, "")
    assert both.hd95 == pytest.approx(0.5)
    assert (predicted.dice, predicted.empty) == (0, "reference")
    assert (missed.dice, missed.empty, missed.reference) == (0, "prediction", 2)
    assert (neither.dice, neither.empty) == (None, "both")
    assert {(row.hd95, row.nsd) for row in rows[1:]} == {(None, None)}
    assert all(row.unit == "mm" and row.voxel_ml == pytest.approx(0.00075) for row in rows)
    means = {mean.name: mean for mean in mean_scores(rows)}
    assert (means["a"].dice, means["a"].n_dice, means["a"].n_surface) == (0.75, 1, 1)
    assert (means["b"].dice, means["b"].hd95, means["b"].n_surface) == (0, None, 0)
    assert (means["d"].dice, means["d"].n_dice) == (None, 0)


def test_without_spacing_the_unit_is_the_pixel_and_units_are_not_averaged() -> None:
    prediction, reference = (mask[:1] for mask in masks())
    annotated = np.array([True])
    pixels = score_case("x", "a", prediction, reference, annotated, None, 1.0)
    assert (pixels[0].unit, pixels[0].voxel_ml) == ("pixel", None)
    assert pixels[0].hd95 == pytest.approx(1.0)
    mm = score_case("y", "a", prediction, reference, annotated, (3.0, 0.5, 0.5), 1.0)
    [mean] = mean_scores(pixels + mm)
    assert (mean.unit, mean.hd95, mean.nsd, mean.dice) == ("mixed", None, None, 0.75)
