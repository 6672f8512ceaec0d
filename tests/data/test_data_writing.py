"""Volumes that are written lie where they were told, whole or not at all."""

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pfedsam_flower.data.pixels import Grid
from pfedsam_flower.data.readers import read_grid, read_image, read_mask, writing
from pfedsam_flower.data.readers.writing import write_volume
from pfedsam_flower.errors import StoreError

SUFFIXES = (".nii.gz", ".nrrd", ".mha")
GRID = Grid((3, 4, 5), (2.5, 0.75, 0.5), (1.0, -2.0, 3.5, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    """Any rotation, either hand, spacings from 0.1 to 10 mm."""
    seed = draw(st.integers(0, 2**32 - 1))
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    shape = tuple(draw(st.integers(1, 5)) for _ in range(3))
    spacing = tuple(draw(st.floats(0.1, 10)) for _ in range(3))
    origin = [draw(st.floats(-1000, 1000)) for _ in range(3)]
    return Grid(shape, spacing, (*origin, *turn.ravel().tolist()))


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(grid=grids(), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_what_is_read_again_is_what_was_written(tmp_path_factory, suffix, grid, seed):
    path = tmp_path_factory.mktemp("w") / f"a.b{suffix}"
    labels = np.random.default_rng(seed).integers(0, 4, grid.shape)
    write_volume(path, labels, grid)
    mask, again = read_mask(path)
    np.testing.assert_array_equal(mask, labels)
    assert again.shape == grid.shape
    exact = suffix != ".nii.gz"  # which has single precision
    assert again.spacing_mm == pytest.approx(grid.spacing_mm, rel=1e-12 if exact else 1e-6)
    np.testing.assert_allclose(again.frame, grid.frame, rtol=0, atol=1e-9 if exact else 1e-4)
    np.testing.assert_allclose(again.frame[3:], grid.frame[3:], rtol=0, atol=1e-9 if exact else 1e-6)
    assert grid.difference(again) == ""
    write_volume(path, mask, again)
    np.testing.assert_allclose(read_grid(path).frame, again.frame, rtol=0, atol=1e-6)
    assert read_grid(path).spacing_mm == pytest.approx(again.spacing_mm, rel=1e-12)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("values", "stored"),
    [
        (np.zeros((3, 4, 5), bool), np.uint8),
        (np.full((3, 4, 5), 255), np.uint8),
        (np.full((3, 4, 5), 256), np.uint16),
        (np.full((3, 4, 5), 70_000), np.uint32),
        (np.full((3, 4, 5), -1), np.int8),
        (np.full((3, 4, 5), -1024), np.int16),
        (np.full((3, 4, 5), 0.25), np.float32),
    ],
)
def test_the_smallest_type_that_holds_them(tmp_path, values, stored):
    write_volume(tmp_path / "a.nii.gz", values, GRID)
    image = nibabel.load(tmp_path / "a.nii.gz")
    assert image.get_data_dtype() == stored
    np.testing.assert_array_equal(image.get_fdata().T, values)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_several_numbers_per_voxel(tmp_path, suffix):
    values = np.random.default_rng(0).random((3, 4, 5, 3)).astype(np.float32)
    write_volume(tmp_path / f"a{suffix}", values, GRID)
    np.testing.assert_array_equal(read_image(tmp_path / f"a{suffix}").values, values)


def test_a_nifti_without_frame_has_no_orientation_either(tmp_path):
    grid = Grid(GRID.shape, GRID.spacing_mm)
    write_volume(tmp_path / "a.nii.gz", np.ones(grid.shape, int), grid)
    assert read_grid(tmp_path / "a.nii.gz") == grid
    assert [p.name for p in tmp_path.iterdir()] == ["a.nii.gz"]


def test_an_existing_file_is_replaced_whole(tmp_path):
    path = tmp_path / "a.nrrd"
    path.write_bytes(b"old" * 10_000)
    write_volume(path, np.ones(GRID.shape, int), GRID)
    assert (read_mask(path)[0] == 1).all()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, suffix, monkeypatch):
    path = tmp_path / f"a{suffix}"
    write_volume(path, np.ones(GRID.shape, int), GRID)
    before = path.read_bytes()

    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing.os, "fsync", full)
    with pytest.raises(StoreError, match="No space left") as caught:
        write_volume(path, np.zeros(GRID.shape, int), GRID)
    assert caught.value.code == "PFS-604"
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_file_that_came_out_short_is_not_put_in_place(tmp_path, monkeypatch):
    whole = writing._write

    def short(path, *rest):
        whole(path, *rest)
        path.write_bytes(path.read_bytes()[:-20])

    monkeypatch.setattr(writing, "_write", short)
    with pytest.raises(StoreError, match="cannot be written"):
        write_volume(tmp_path / "a.nii.gz", np.ones(GRID.shape, int), GRID)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(StoreError):
        write_volume(tmp_path / "absent" / "a.mha", np.ones(GRID.shape, int), GRID)


def test_wrong_shapes_and_suffixes_are_the_callers_fault(tmp_path):
    for name, shape in (("a.nii.gz", (3, 4, 6)), ("a.png", (3, 4, 5)), ("a.nii", (3, 4, 5))):
        with pytest.raises(ValueError, match=name):
            write_volume(tmp_path / name, np.ones(shape, int), GRID)
