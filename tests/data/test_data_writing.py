"""Volumes that are written lie where they were told, whole or not at all."""

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from pfedsam_flower.data.pixels import UNITS_MM, Grid
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


UNITS = {".nii.gz": ("m", "mm", "um"), ".nrrd": ("m", "cm", "mm", "um", "nm"), ".mha": ("cm", "mm", "um")}


@st.composite
def partial_grids(draw: st.DrawFn, suffix: str) -> Grid:
    """What headers leave open: directions, origin, and in NRRD and MetaImage voxel sizes; in any unit."""
    whole, unit = draw(grids()), draw(st.sampled_from(UNITS[suffix]))
    scale = UNITS_MM[unit]
    spacing = tuple(d * scale for d in whole.spacing_mm)
    frame = tuple(x * scale for x in whole.frame[:3]) + whole.frame[3:]
    known = draw(
        st.sampled_from(["all", "spacing"] if suffix == ".nii.gz" else ["all", "spacing", "origin", "both"])
    )
    if known == "all":
        return Grid(whole.shape, spacing, frame, unit)
    return Grid(
        whole.shape, None if known == "origin" else spacing, None if known == "spacing" else frame[:3], unit
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_what_a_header_says_and_leaves_open_comes_back(tmp_path_factory, suffix, data):
    grid = data.draw(partial_grids(suffix))
    path = tmp_path_factory.mktemp("w") / f"a{suffix}"
    write_volume(path, np.ones(grid.shape, int), grid)
    again = read_mask(path)[1]
    assert read_grid(path) == again
    assert (again.shape, again.unit) == (grid.shape, grid.unit)
    single = suffix == ".nii.gz"
    if grid.spacing_mm is None:
        assert again.spacing_mm is None
    else:
        assert again.spacing_mm == pytest.approx(grid.spacing_mm, rel=1e-6 if single else 1e-12)
    if grid.frame is None:
        assert again.frame is None
    else:
        scale = UNITS_MM[grid.unit]
        np.testing.assert_allclose(
            again.frame[:3], grid.frame[:3], rtol=0, atol=scale * (1e-4 if single else 1e-9)
        )
        np.testing.assert_allclose(again.frame[3:], grid.frame[3:], rtol=0, atol=1e-6 if single else 1e-9)


@pytest.mark.parametrize(
    ("suffix", "said"),
    [(".nii.gz", b"\x0b"), (".nrrd", b'space units: "um" "um" "um"'), (".mha", b"DistanceUnits = um")],
)
def test_another_reader_finds_the_unit_and_the_numbers_in_it(tmp_path, suffix, said):
    frame = (0.001, -0.002, 0.0035, *GRID.frame[3:])
    path = tmp_path / f"a{suffix}"
    write_volume(path, np.ones(GRID.shape, int), Grid(GRID.shape, (0.0025, 0.00075, 0.0005), frame, "um"))
    body = path.read_bytes()
    if suffix == ".nii.gz":
        image = nibabel.load(path)
        assert image.header.get_xyzt_units()[0] == "micron"
        assert image.header.get_zooms() == pytest.approx((0.5, 0.75, 2.5))
        assert image.affine[:3, 3] == pytest.approx((-1, 2, 3.5))
        return
    assert said in body
    image = sitk.ReadImage(path)  # which does not look at units
    assert image.GetSpacing() == pytest.approx((0.5, 0.75, 2.5))
    assert image.GetOrigin() == pytest.approx((1, -2, 3.5))


def test_a_unit_that_a_format_has_not_becomes_mm(tmp_path):
    grid = Grid(GRID.shape, (2.5e-6, 1e-6, 1e-6), unit="nm")
    write_volume(tmp_path / "a.nii.gz", np.ones(grid.shape, int), grid)
    again = read_grid(tmp_path / "a.nii.gz")
    assert (again.spacing_mm, again.unit) == (pytest.approx(grid.spacing_mm, rel=1e-6), "mm")


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@pytest.mark.parametrize("frame", [None, (1.0, -2.0, 3.5)])
def test_colours_on_a_grid_without_directions(tmp_path, suffix, frame):
    values = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3)).astype(np.uint8)
    grid = Grid(GRID.shape, GRID.spacing_mm, frame)
    write_volume(tmp_path / f"a{suffix}", values, grid)
    pixels = read_image(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(pixels.values, values)
    assert pixels.grid == grid


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_volume_gives_the_same_bytes(tmp_path, suffix):
    for name in ("a", "b"):
        write_volume(tmp_path / f"{name}{suffix}", np.ones(GRID.shape, int), GRID)
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


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
