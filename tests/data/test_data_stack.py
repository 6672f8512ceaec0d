"""The slices of a volume, compared by where their farthest corners lie, in voxels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfedsam_flower.data.readers.stack import Refusal, Stack, frame_of, stack

FLAT = np.array([1.0, 0, 0, 0, 1, 0])


def stacked(n=4, side=512, spacing=(1.0, 1.0), step=1.0, turn=0.0, stretch=0.0, drift=0.0, jitter=()):
    """A stack whose last slice is turned (radians), stretched (parts of 1), or shifted, by name."""
    positions = np.outer(np.arange(n) * step, [0.0, 0, 1])
    positions[:, 0] += drift * np.arange(n) / (n - 1)
    positions[: len(jitter), 2] += jitter
    orientations, spacings = np.tile(FLAT, (n, 1)), np.tile(spacing, (n, 1))
    orientations[-1] = [np.cos(turn), np.sin(turn), 0, -np.sin(turn), np.cos(turn), 0]
    spacings[-1] *= 1 + stretch
    return stack(positions, orientations, spacings, (side, side))


@pytest.mark.parametrize(("side", "fits"), [(512, False), (20, True)])
@pytest.mark.parametrize("fault", [{"turn": 9e-4}, {"stretch": 9e-4}])
def test_the_same_fault_matters_where_the_image_is_wide(side, fits, fault):
    """Half a voxel at the corner of 512, a fiftieth of one at that of 20."""
    assert isinstance(stacked(side=side, **fault), Stack) == fits


def test_rounded_headers_are_one_volume():
    """Cosines of 6 digits, spacings of 4 digits, places of a hundredth of a millimetre."""
    assert isinstance(stacked(turn=5e-7, stretch=5e-5 / 0.7421875, spacing=(0.7421875, 0.7421875)), Stack)
    assert isinstance(stacked(jitter=(0.005, -0.005), step=5.0, drift=0.01), Stack)


def test_small_faults_do_not_add_up_over_many_slices():
    """0.05 degrees, over 400 mm a third of a millimetre; distances of 1 % more, then of 1 % less."""
    assert isinstance(stacked(n=20, drift=0.017), Stack)
    assert isinstance(stacked(n=401, drift=0.35), Refusal)
    places = np.concatenate([[0], np.cumsum(np.repeat([1.009, 0.991], 100))])
    same = np.tile(FLAT, (201, 1)), np.ones((201, 2)), (9, 9)
    uneven = stack(np.outer(places, [0, 0, 1]), *same)
    assert isinstance(uneven, Refusal)
    assert "unevenly spaced" in uneven.reason


@pytest.mark.parametrize(("side", "fits"), [(512, False), (100, True)])
@pytest.mark.parametrize("cosines", [[1, 0, 0, 9e-4, 1, 0], [1.0009, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0.9991, 0]])
def test_cosines_may_be_rounded_as_far_as_the_corner_allows(side, fits, cosines):
    frame = frame_of(np.array(cosines), (0.7, 0.7), (side, side))
    assert isinstance(frame, np.ndarray) == fits
    if fits:
        np.testing.assert_allclose(frame, np.eye(3), atol=1e-3)
        np.testing.assert_allclose(frame.T @ frame, np.eye(3), atol=1e-12)


@pytest.mark.parametrize("cosines", [np.zeros(6), [1, 0, 0, 1, 0, 0], [1, 0, 0, 0.5, 1, 0]])
def test_directions_that_are_none(cosines):
    assert isinstance(frame_of(np.array(cosines), (1.0, 1.0), (9, 9)), Refusal)


@given(st.floats(1e-5, 3e-3), st.integers(2, 600), st.floats(0.2, 5), st.floats(0.2, 10))
def test_a_turn_counts_in_voxels(turn, side, pixel, step):
    apart = turn * (side - 1) * np.array([1, 1])  # of the farthest corner, along each axis, in pixels
    found = stacked(side=side, spacing=(pixel, pixel), step=step, turn=turn)
    if apart.max() < 0.045:
        assert isinstance(found, Stack)
    elif apart.max() > 0.055:
        assert found.reason == "mixes slices of 2 orientations"
        assert found.odd == (3,)
