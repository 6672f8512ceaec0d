"""How far two grids lie apart: by the farthest corner, counted in voxels."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfedsam_flower.data.pixels import TOLERANCE, Grid, affine, corners, farthest, place

IDENTITY = (1.0, 0, 0, 0, 1, 0, 0, 0, 1)
GRID = Grid((40, 512, 512), (3.0, 0.7421875, 0.7421875), (-190.0, -187.5, 12.0, *IDENTITY))
angles = st.floats(-np.pi, np.pi)


def turned(alpha: float, beta: float) -> tuple[float, ...]:
    """Direction cosines after a turn about z and then one about x."""
    c, s, d, t = np.cos(alpha), np.sin(alpha), np.cos(beta), np.sin(beta)
    about_z, about_x = (
        np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]),
        np.array([[1, 0, 0], [0, d, -t], [0, t, d]]),
    )
    return (*(about_x @ about_z).ravel().tolist(),)


def test_a_wrong_spacing_counts_at_the_far_corner():
    wide = replace(GRID, shape=(3, 256, 256), spacing_mm=(3.0, 0.8, 0.8))
    wider = replace(wide, spacing_mm=(3.0, 0.8072, 0.8072))  # 0.9 percent, and more than two voxels
    apart = wide.apart(wider)
    assert apart.voxels == pytest.approx(255 * 0.0072 / 0.8)
    assert apart.mm == pytest.approx(255 * 0.0072 * np.sqrt(2))
    assert apart.index[:2] == (255, 255)
    text = wide.difference(wider)
    assert text.startswith(
        "they lie up to 2.3 voxels (2.6 mm) apart, farthest at voxel 0 x 255 x 255: spacing"
    )


def test_a_tenth_of_a_millimetre_is_much_where_voxels_are_small():
    small = Grid((4, 40, 36), (0.00038,) * 3, (0.0, 0, 0, *IDENTITY))
    moved = replace(small, frame=(0.09, 0, 0, *IDENTITY))
    assert "237 voxels (0.09 mm) apart" in small.difference(moved)
    assert "first voxels lie at 0 x 0 x 0 and 0.09 x 0 x 0 mm" in small.difference(moved)


def test_what_tools_round_is_one_place():
    rounded = replace(GRID, spacing_mm=(3.0, 0.742, 0.742))
    assert GRID.difference(rounded) == ""
    single = replace(GRID, frame=tuple(float(np.float32(n)) for n in GRID.frame))
    assert GRID.apart(single).voxels < 1e-4
    half = replace(GRID, frame=(GRID.frame[0] + 0.7421875 / 2, *GRID.frame[1:]))
    assert "0.5 voxels" in GRID.difference(half)  # the corner of a voxel taken for its centre


def test_an_axis_of_one_voxel_has_no_length():
    thin, thick = Grid((1, 20, 30), (1.0, 0.5, 0.5)), Grid((1, 20, 30), (5.0, 0.5, 0.5))
    assert thin.difference(thick) == ""
    back = replace(thin, frame=(0.0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, -1))
    assert replace(thin, frame=(0.0, 0, 0, *IDENTITY)).difference(back) == ""


def test_what_a_file_does_not_say_is_not_compared():
    assert GRID.difference(replace(GRID, frame=None)) == ""
    assert GRID.difference(replace(GRID, spacing_mm=None, frame=None)) == ""
    assert GRID.difference(replace(GRID, frame=GRID.frame[:3])) == ""
    assert "first voxels" in GRID.difference(replace(GRID, frame=(0.0, 0, 0)))
    back = replace(GRID, frame=(*GRID.frame[:3], 1, 0, 0, 0, -1, 0, 0, 0, 1))
    assert "directions" in back.difference(replace(GRID, frame=GRID.frame[:3])), "others take it for identity"
    assert "spacing" in GRID.difference(replace(GRID, spacing_mm=(3.0, 1.0, 1.0), frame=None))


@given(angles, angles, st.integers(0, 2), st.floats(1e-4, 10), st.booleans())
def test_a_shift_of_more_than_the_tolerance_is_seen_whatever_the_size(alpha, beta, axis, scale, back):
    directions = turned(alpha, beta)
    spacing = (3 * scale, 0.8 * scale, 0.7 * scale)
    grid = Grid((5, 60, 70), spacing, (10 * scale, 0.0, -7.0 * scale, *directions))
    along = np.reshape(directions, (3, 3))[:, axis] * spacing[2 - axis] * (-1 if back else 1)

    def moved(voxels: float) -> Grid:
        origin = np.array(grid.frame[:3]) + voxels * along
        return replace(grid, frame=(*origin.tolist(), *directions))

    assert grid.difference(moved(TOLERANCE * 1.02))
    assert grid.difference(moved(TOLERANCE * 0.98)) == ""
    assert grid.apart(moved(3.0)).voxels == pytest.approx(3.0, rel=1e-6)


def test_slices_of_a_series_are_compared_by_the_same_rule():
    """Every slice's corners, as its own header says, against their places in the regular grid."""
    grid = Grid((3, 10, 20), (2.0, 0.5, 0.5), (0.0, 0, 0, *IDENTITY))
    index, matrix = corners(grid.shape), affine(grid)
    there = place(matrix, index)
    there[index[:, 2] == 2] += (0.0, 0.4, 0.0)
    apart = farthest(index, place(matrix, index), there, matrix[:, :3])
    assert (apart.voxels, apart.mm, apart.index[2]) == (pytest.approx(0.8), pytest.approx(0.4), 2)
