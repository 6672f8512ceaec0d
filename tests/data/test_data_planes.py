"""However a volume is stored, its slices are the same."""

from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfedsam_flower.data.cases import prepare_image
from pfedsam_flower.data.pixels import TOLERANCE, Grid, Pixels, affine
from pfedsam_flower.data.planes import (
    AS_STORED,
    WAYS,
    Slicing,
    from_slices,
    onto,
    slice_spacing,
    slicing_of,
    to_slices,
    turned,
)
from pfedsam_flower.data.readers import read_grid, read_image
from pfedsam_flower.settings.run import ImageSettings

PLANES = ("acquisition", "axial", "coronal", "sagittal")
TURN = np.array([[0.96, -0.28, 0], [0.28, 0.96, 0], [0, 0, 1.0]])
ORDERS = [(axes, signs) for axes in permutations(range(3)) for signs in product((1, -1), repeat=3)]


def stored(
    volume: np.ndarray,
    spacing: tuple[float, float, float],
    axes: tuple[int, ...],
    signs: tuple[int, ...],
    turn: np.ndarray | None = None,
) -> Pixels:
    """``volume`` [head, back, left] on disk: array axis i is its axis ``axes[i]``, or that reversed."""
    array = volume.transpose(*axes, 3)[tuple(slice(None, None, sign) for sign in signs)]
    directions = np.zeros((3, 3))
    for i, (axis, sign) in enumerate(zip(axes, signs, strict=True)):
        directions[2 - axis, 2 - i] = sign  # patient axes are x, y, z; index axes too
    if turn is not None:
        directions = turn @ directions
    frame = (0.0, 0.0, 0.0, *directions.ravel().tolist())
    a, b, c = (spacing[axis] for axis in axes)
    return Pixels(np.ascontiguousarray(array), Grid(array.shape[:3], (a, b, c), frame))


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("turn", [None, TURN])
def test_all_48_orders_on_disk_give_the_same_slices(plane: str, turn: np.ndarray | None) -> None:
    assert len(ORDERS) == 48
    volume = np.random.default_rng(0).uniform(-900, 900, (4, 5, 6, 1)).astype(np.float32)
    spacing, settings = (1.0, 3.0, 0.9), ImageSettings(plane=plane)
    first = None
    for axes, signs in ORDERS:
        pixels = stored(volume, spacing, axes, signs, turn)
        image, slicing, between = prepare_image(pixels, settings)
        first = first or (image, between)
        assert np.array_equal(image, first[0]), (axes, signs)
        assert between == first[1]
        assert np.array_equal(from_slices(to_slices(pixels.values, slicing), slicing), pixels.values)


@pytest.mark.parametrize(
    ("plane", "shape", "place"),
    [
        ("axial", (4, 5, 6), (3, 4, 5)),  # slices to the head, rows to the back, columns to the left
        ("coronal", (5, 4, 6), (4, 0, 5)),  # slices to the back, rows to the feet, columns to the left
        ("sagittal", (6, 4, 5), (5, 0, 4)),  # slices to the left, rows to the feet, columns to the back
    ],
)
def test_the_voxel_at_the_left_back_top_of_the_patient_lies_where_a_radiologist_looks(plane, shape, place):
    volume = np.zeros((4, 5, 6, 1), np.float32)
    volume[-1, -1, -1] = 1
    pixels = stored(volume, (1, 1, 1), (1, 2, 0), (-1, 1, -1))
    slices = to_slices(pixels.values, slicing_of(pixels.grid, plane))
    assert slices.shape == (*shape, 1)
    assert slices[place] == 1


@pytest.mark.parametrize(
    ("spacing", "plane"),
    [
        ((3.0, 1.0, 1.0), "axial"),
        ((1.0, 3.0, 1.0), "coronal"),
        ((1.0, 1.0, 3.0), "sagittal"),
        ((1.0, 1.1, 1.0), "axial"),  # not clearly larger
        ((1.0, 3.0, 2.9), "axial"),  # the largest, but not clearly
    ],
)
def test_acquisition_cuts_across_the_thick_axis(spacing, plane):
    volume = np.random.default_rng(0).uniform(size=(4, 5, 6, 1)).astype(np.float32)
    grid = stored(volume, spacing, (2, 0, 1), (1, -1, 1)).grid
    assert slicing_of(grid, "acquisition") == slicing_of(grid, plane)
    assert (
        slice_spacing(grid, slicing_of(grid, plane))[0] == dict(zip(PLANES[1:], spacing, strict=True))[plane]
    )


def test_a_single_slice_is_one_slice_whatever_its_thickness():
    volume = np.zeros((1, 5, 6, 1), np.float32)
    grid = stored(volume, (0.5, 1, 1), (2, 0, 1), (1, 1, 1)).grid
    assert to_slices(np.zeros(grid.shape), slicing_of(grid, "acquisition")).shape == (1, 5, 6)


def test_without_a_frame_or_when_asked_nothing_is_turned(tmp_path):
    volume = np.zeros((4, 5, 6, 1), np.float32)
    assert slicing_of(Grid((4, 5, 6)), "axial") == AS_STORED
    assert slicing_of(stored(volume, (1, 1, 1), (2, 1, 0), (-1, 1, 1)).grid, "stored") == AS_STORED


@given(
    st.lists(st.floats(-1, 1), min_size=9, max_size=9).filter(
        lambda m: abs(np.linalg.det(np.reshape(m, (3, 3)))) > 0.01
    ),
    st.sampled_from(PLANES),
    st.sampled_from([(), (3,)]),
)
def test_any_frame_is_cut_without_loss(numbers, plane, rest):
    directions = np.linalg.qr(np.reshape(numbers, (3, 3)))[0]  # orthonormal whatever the numbers are
    grid = Grid((3, 4, 5), (1.0, 2.0, 3.0), (0.0, 0.0, 0.0, *directions.ravel().tolist()))
    slicing = slicing_of(grid, plane)
    assert sorted(slicing.axes) == [0, 1, 2]
    array = np.arange(60 * (rest or (1,))[0]).reshape(3, 4, 5, *rest)
    assert np.array_equal(from_slices(to_slices(array, slicing), slicing), array)


def test_nifti_files_of_two_hospitals_look_alike(tmp_path):
    """nibabel turns the volume and its affine; the readers and the slicing lead both back to one picture."""
    import nibabel as nib

    values = np.random.default_rng(0).integers(-900, 900, (6, 5, 4)).astype(np.int16)
    original = nib.Nifti1Image(values, np.diag([0.9, 1.0, 3.0, 1.0]))
    pictures = []
    for name, codes in (("a", "RAS"), ("b", "PIL"), ("c", "SAL")):
        axes = nib.orientations.axcodes2ornt(tuple(codes))
        path = tmp_path / f"{name}.nii.gz"
        nib.save(original.as_reoriented(axes), path)
        pixels = read_image(path)
        pictures.append(prepare_image(pixels, ImageSettings()))
        assert read_grid(path).shape == pixels.grid.shape
    for image, _, spacing in pictures:
        assert np.array_equal(image, pictures[0][0])
        assert spacing == pytest.approx((3.0, 1.0, 0.9))
    # nibabel's own axes: the first row is the front, the first column the right
    radiologist = np.flip(values, (0, 1)).transpose(2, 1, 0)
    order = np.argsort(radiologist, axis=None, kind="stable")
    assert (np.diff(pictures[0][0][..., 0].ravel()[order]) >= 0).all()


oblique = st.integers(0, 2**32 - 1)


def somewhere(seed: int) -> Grid:
    """A grid of unequal sides, turned and moved at random, voxels from a thousandth of a millimetre up."""
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    spacing = tuple(rng.uniform(0.5, 3, 3) * 10.0 ** rng.integers(-3, 2))
    frame = (*(rng.uniform(-300, 300, 3) * spacing[0]).tolist(), *turn.ravel().tolist())
    return Grid(tuple(rng.integers(2, 40, 3).tolist()), spacing, frame)


@given(oblique, st.sampled_from(WAYS))
def test_an_array_stored_otherwise_is_turned_onto_the_grid(seed: int, way: Slicing) -> None:
    grid = somewhere(seed)
    values = np.random.default_rng(seed).integers(0, 9, grid.shape)
    other, stored_there = turned(grid, way), to_slices(values, way)
    assert other.shape == stored_there.shape
    back, difference = onto(grid, other)
    assert difference == ""
    assert np.array_equal(to_slices(stored_there, back), values)
    assert turned(other, back).apart(grid).voxels < 1e-6


@given(oblique, st.sampled_from(WAYS), st.integers(0, 2), st.sampled_from((-1, 1)))
def test_what_is_moved_by_more_than_the_tolerance_is_never_turned(seed, way, axis, sense) -> None:
    grid = somewhere(seed)
    along = affine(grid)[:, axis] * sense * TOLERANCE

    def moved(times: float) -> Grid:
        frame = (*(np.array(grid.frame[:3]) + times * along).tolist(), *grid.frame[3:])
        return turned(replace(grid, frame=frame), way)

    assert "they lie up to 0.26" in onto(grid, moved(1.05))[1]
    assert onto(grid, moved(0.95))[1] == ""


def test_a_grid_that_does_not_say_how_it_lies_is_never_turned() -> None:
    grid = Grid((3, 4, 5), (2.0, 1.0, 1.0))
    assert onto(grid, Grid((3, 4, 5), (2.0, 1.0, 1.0), (0.0, 0, 0, *np.eye(3).ravel()))) == (AS_STORED, "")
    assert onto(grid, Grid((5, 4, 3), (1.0, 1.0, 2.0), (0.0, 0, 0, *np.eye(3)[::-1].ravel())))[1]
    assert "3 x 4 x 5 and 5 x 4 x 3" in onto(Grid((3, 4, 5)), Grid((5, 4, 3)))[1]
