"""An image and its mask are one place, however each is stored, or they are refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pfedsam_flower.data.cases import load_case, read_case
from pfedsam_flower.data.labels import label_map
from pfedsam_flower.data.layouts import Case
from pfedsam_flower.data.pixels import TOLERANCE, Grid, affine
from pfedsam_flower.data.planes import AS_STORED, WAYS, Slicing, to_slices, turned
from pfedsam_flower.data.readers.writing import write_volume
from pfedsam_flower.data.samples import check_site
from pfedsam_flower.errors import DataError
from pfedsam_flower.settings.run import ImageSettings, RunSettings
from pfedsam_flower.settings.site import SiteSettings

SUFFIXES = (".nii.gz", ".nrrd", ".mha")
LABELS = label_map("organ=1+2,lesion=2", ("organ", "lesion"))
IDENTITY = (1.0, 0, 0, 0, 1, 0, 0, 0, 1)


def pair(
    folder: Path, grid: Grid, suffixes: tuple[str, str], way: Slicing = AS_STORED, of_mask: Grid | None = None
) -> Case:
    """An image on ``grid``, and its mask stored another way, as drawn on ``of_mask``."""
    rng = np.random.default_rng(0)
    image, mask = rng.integers(-90, 900, grid.shape), rng.integers(0, 3, grid.shape)
    paths = folder / f"i{suffixes[0]}", folder / f"m{suffixes[1]}"
    write_volume(paths[0], image, grid)
    write_volume(paths[1], to_slices(mask, way), turned(of_mask or grid, way))
    return Case("c", "p", *paths)


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    unit, scale = draw(st.sampled_from([("mm", 1.0), ("um", 1e-3)]))
    spacing, origin = rng.uniform(0.3, 3, 3) * scale, rng.uniform(-300, 300, 3) * scale
    return Grid(
        tuple(rng.integers(2, 9, 3).tolist()),
        tuple(spacing.tolist()),
        (*origin.tolist(), *turn.ravel().tolist()),
        unit,
    )


@given(grids(), st.sampled_from(WAYS), st.sampled_from(SUFFIXES), st.sampled_from(SUFFIXES))
@settings(max_examples=25, deadline=None)
def test_a_mask_stored_any_way_gives_the_same_target(tmp_path_factory, grid, way, one, other):
    folder = tmp_path_factory.mktemp("c")
    plain = load_case(pair(folder, grid, (one, one)), LABELS, ImageSettings())
    again = load_case(pair(folder, grid, (one, other), way), LABELS, ImageSettings())
    assert np.array_equal(plain.image, again.image)
    assert np.array_equal(plain.target, again.target)
    assert again.target.any()


@given(grids(), st.sampled_from(WAYS), st.sampled_from(SUFFIXES), st.integers(0, 2), st.sampled_from((-1, 1)))
@settings(max_examples=25, deadline=None)
def test_a_mask_that_was_moved_is_refused_however_it_is_stored(
    tmp_path_factory, grid, way, suffix, axis, sense
):
    step = affine(grid)[:, axis] * sense * TOLERANCE * 1.05
    moved = replace(grid, frame=(*(np.array(grid.frame[:3]) + step).tolist(), *grid.frame[3:]))
    case = pair(tmp_path_factory.mktemp("c"), grid, (suffix, suffix), way, moved)
    with pytest.raises(
        DataError, match=r"image and mask differ: they lie up to .* voxels \(.* mm\) apart"
    ) as caught:
        read_case(case, LABELS)
    assert caught.value.code == "PFS-202"
    assert "nearest neighbour" in caught.value.hint


def test_the_look_at_headers_agrees_with_the_reading(tmp_path):
    """As dcm2niix writes the image and a viewer the mask: the same voxels, rows from the other side."""
    grid = Grid((5, 36, 40), (3.0, 0.8, 0.8), (-20.0, -15.0, 7.0, *IDENTITY))
    for folder in ("images", "masks"):
        (tmp_path / "site" / folder).mkdir(parents=True)

    def write(mask_on: Grid) -> SiteSettings:
        for name in "abc":
            mask = np.zeros(grid.shape, int)
            mask[1:3, 5:9, 10:20] = 1
            write_volume(tmp_path / f"site/images/{name}.nii.gz", np.ones(grid.shape, int), grid)
            on = turned(mask_on, WAYS[2])
            write_volume(tmp_path / f"site/masks/{name}.nrrd", to_slices(mask, WAYS[2]), on)
        return SiteSettings(
            site="a", data=str(tmp_path / "site"), state=str(tmp_path), labels="lesion=1", patient="^(.)$"
        )

    run, split = RunSettings(classes=("lesion",)), tmp_path / "split.json"
    assert check_site(write(grid), run, split).train == 1
    with pytest.raises(DataError, match="3 images have another grid than their masks") as caught:
        check_site(write(replace(grid, frame=(-19.0, -15.0, 7.0, *IDENTITY))), run, split)
    assert "resample the mask onto the image's grid" in caught.value.message
    assert caught.value.code == "PFS-202"


def test_axes_of_other_lengths_are_turned_too(tmp_path):
    grid = Grid((4, 6, 8), (3.0, 0.8, 0.8), (0.0, 0, 0, *IDENTITY))
    way = Slicing((2, 0, 1), (True, False, True))
    raw = read_case(pair(tmp_path, grid, (".mha", ".nii.gz"), way), LABELS)
    assert raw.mask.shape == grid.shape
    assert np.array_equal(raw.mask, read_case(pair(tmp_path, grid, (".mha", ".mha")), LABELS).mask)


def test_a_mask_is_turned_onto_an_image_that_gives_an_origin_alone(tmp_path):
    """Whoever drew the mask saw the image with its axes along the patient's."""
    grid = Grid((4, 6, 8), (3.0, 0.8, 0.8), (10.0, 20, 30, *IDENTITY))
    case = pair(tmp_path, grid, (".mha", ".nrrd"), WAYS[5])
    expected = read_case(case, LABELS).mask
    write_volume(case.image, np.ones(grid.shape, int), replace(grid, frame=grid.frame[:3]))
    assert np.array_equal(read_case(case, LABELS).mask, expected)
