"""Cases, the network's square, and a whole site."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pfedsam_flower.data.cases import to_255
from pfedsam_flower.data.fitting import InputRule, fitted_shape
from pfedsam_flower.data.layouts import Case
from pfedsam_flower.data.samples import (
    Counts,
    check_site,
    fit,
    fit_target,
    label_map,
    load_case,
    load_site,
    samples_of,
    unfit,
)
from pfedsam_flower.errors import DataError, SettingsError
from pfedsam_flower.settings.run import ImageSettings, RunSettings

RUN = RunSettings(image=ImageSettings(size=28))
RULE = InputRule(28)
SIDES = st.integers(1, 70)


def a_disc(height: int, width: int, seed: int) -> np.ndarray:
    centre = np.random.default_rng(seed).uniform(0.3, 0.7, 2) * (height, width)
    return np.hypot(*(np.indices((height, width)) - centre[:, None, None])) < 0.25 * min(height, width)


def save_png(path: Path, array: np.ndarray) -> None:
    Image.fromarray(array).save(path)


def write_case(folder: Path, image: np.ndarray, mask: np.ndarray) -> Case:
    save_png(folder / "i.png", image)
    save_png(folder / "m.png", mask)
    return Case("c", "p", folder / "i.png", folder / "m.png")


@given(SIDES, SIDES, st.sampled_from([1, 3]), st.integers(28, 64))
def test_fit_keeps_aspect_range_and_an_empty_margin(height, width, channels, size):
    image = np.random.default_rng(0).uniform(0, 255, (height, width, channels)).astype(np.float32)
    square, (h, w) = fit(image, InputRule(size))
    assert square.shape == (channels, size, size)
    assert square.dtype == np.float32
    assert max(h, w) == size
    exact = (height * size / max(height, width), width * size / max(height, width))
    assert all(abs(n - wanted) <= 0.5 or n == 1 for n, wanted in zip((h, w), exact, strict=True))
    assert square.min() >= 0
    assert square.max() <= 255
    assert not square[:, h:].any()
    assert not square[:, :, w:].any()


def test_fit_at_the_working_size_changes_nothing():
    image = np.random.default_rng(0).uniform(0, 255, (28, 20, 1)).astype(np.float32)
    square, valid = fit(image, RULE)
    assert valid == (28, 20)
    assert (square[0, :, :20] == image[..., 0]).all()


@given(st.integers(30, 90), st.integers(30, 90), st.integers(28, 80), st.integers(0, 5))
def test_there_and_back_keeps_the_geometry(height, width, size, seed):
    disc = a_disc(height, width, seed)
    target = fit_target(disc[None], InputRule(size))
    assert target.dtype == np.float32
    assert target.min() >= 0
    assert target.max() <= 1
    back = unfit(target, fitted_shape(height, width, InputRule(size)), (height, width))[0]
    for axis in (0, 1):
        places = np.indices(disc.shape)[axis]
        assert abs((back * places).sum() / back.sum() - places[disc].mean()) < 0.15
    mask = back > 0.5
    assert 2 * (mask & disc).sum() / (mask.sum() + disc.sum()) > 0.9


@given(st.integers(30, 90), st.integers(30, 90), st.integers(28, 80), st.integers(0, 5))
def test_image_and_target_stay_on_each_other_without_a_preferred_side(height, width, size, seed):
    disc = a_disc(height, width, seed)
    target, (h, w) = fit_target(disc[None], InputRule(size))[0], fitted_shape(height, width, InputRule(size))
    image = fit(disc[..., None].astype(np.float32), InputRule(size))[0][0]
    assert target.sum(dtype=float) * height * width / (h * w) == pytest.approx(disc.sum(), rel=1e-5)
    for axis in (0, 1):
        places = np.indices(target.shape)[axis]
        centres = [(plane * places).sum(dtype=float) / plane.sum(dtype=float) for plane in (image, target)]
        assert centres[0] == pytest.approx(centres[1], abs=0.1)
        turned = fit_target(np.flip(disc, axis)[None], InputRule(size))[0]
        assert np.allclose(turned[:h, :w], np.flip(target[:h, :w], axis), atol=1e-6)


def test_fit_target_is_the_area_average():
    mask = np.zeros((2, 56, 56), bool)
    mask[0, :1, :2] = True
    target = fit_target(mask, RULE)
    assert target[0, 0, 0] == 0.5
    assert target[0].sum() == 0.5
    assert not target[1].any()


def test_image_and_target_land_on_the_same_pixels():
    disc = np.hypot(*(np.mgrid[:61, :47] - np.array([40, 12])[:, None, None])) < 9
    image, _ = fit(np.where(disc, 255, 0).astype(np.float32)[..., None], RULE)
    assert np.abs(image[0] / 255 - fit_target(disc[None], RULE)[0]).mean() < 0.01


@given(st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=1, max_size=30))
def test_intensities_end_in_0_to_255(values):
    scaled = to_255(np.array(values, np.float32).reshape(1, 1, -1, 1), 0.5, 99.5)
    assert scaled.dtype == np.float32
    assert np.isfinite(scaled).all()
    assert scaled.min() >= 0
    assert scaled.max() <= 255


def test_percentiles_cut_outliers_of_the_whole_case_and_sparse_images_survive():
    values = np.arange(1000, dtype=np.float32).reshape(2, 10, 50, 1)
    scaled = to_255(values, 1, 99)
    assert (scaled.ravel()[:10] == 0).all()
    assert (scaled.ravel()[-10:] == 255).all()
    assert scaled[0].max() < 130 < scaled[1].max()
    assert not to_255(np.full((1, 4, 4, 1), 7, np.float32), 1, 99).any()
    sparse = np.zeros((1, 100, 100, 1), np.float32)
    sparse[0, 0, 0] = 3
    assert to_255(sparse, 1, 99)[0, 0, 0] == 255


def test_classes_may_overlap_and_may_be_left_out(tmp_path):
    mask = np.array([[0, 128], [255, 128]], np.uint8)
    case = write_case(tmp_path, np.array([[0, 50], [100, 200]], np.uint8), mask)
    data = load_case(
        case, label_map("organ=128+255,lesion=255", ("lesion", "vessel", "organ")), ImageSettings()
    )
    assert data.image.shape == (1, 2, 2, 1)
    assert data.spacing_mm is None
    assert data.annotated.tolist() == [True, False, True]
    assert (data.target[0, 0] == (mask == 255)).all()
    assert not data.target[1].any()
    assert (data.target[2, 0] == (mask > 0)).all()


def test_values_called_background_are_background(tmp_path):
    mask = np.array([[0, 1], [2, 3]], np.uint8)
    case = write_case(tmp_path, mask * 50, mask)
    data = load_case(case, label_map("organ=1,background=2+3", ("organ", "lesion")), ImageSettings())
    assert data.annotated.tolist() == [True, False]
    assert (data.target[0, 0] == (mask == 1)).all()
    assert not data.target[1].any()


@pytest.mark.parametrize("values", [(1,), (7, 9), tuple(range(1, 30))])
def test_values_without_a_name_are_refused(tmp_path, values):
    mask = np.zeros((8, 8), np.uint8)
    mask.ravel()[: len(values)] = values
    with pytest.raises(DataError) as caught:
        load_case(write_case(tmp_path, mask, mask), label_map("lesion=255", ("lesion",)), ImageSettings())
    assert caught.value.code == "PFS-205"
    assert caught.value.counts == {"unknown_values": len(values)}
    assert str(values[0]) in caught.value.message


def test_another_grid_is_refused(tmp_path):
    case = write_case(tmp_path, np.zeros((4, 5), np.uint8), np.zeros((5, 4), np.uint8))
    with pytest.raises(DataError, match="1 x 4 x 5 and 1 x 5 x 4") as caught:
        load_case(case, label_map("", ("lesion",)), ImageSettings())
    assert caught.value.code == "PFS-202"


def test_a_volume_gives_one_sample_per_slice(tmp_path):
    rng = np.random.default_rng(0)
    pages = [Image.fromarray(rng.integers(0, 65_536, (30, 40)).astype(np.uint16)) for _ in range(3)]
    marks = [Image.fromarray(np.eye(30, 40, i, dtype=np.uint8)) for i in range(3)]
    for name, stack in (("i.tif", pages), ("m.tif", marks)):
        stack[0].save(tmp_path / name, save_all=True, append_images=stack[1:])
    data = load_case(
        Case("c", "p", tmp_path / "i.tif", tmp_path / "m.tif"),
        label_map("organ=1", ("organ", "lesion")),
        ImageSettings(),
    )
    samples = list(samples_of(data, RULE))
    assert len(samples) == 3
    for d, sample in enumerate(samples):
        assert sample.image.shape == (1, 28, 28)
        assert sample.valid == (21, 28)
        assert sample.patient == "p"
        assert (sample.image == fit(data.image[d], RULE)[0]).all()
        assert np.allclose(sample.target, fit_target(data.target[:, d], RULE), atol=1e-3)
        assert sample.annotated.tolist() == [True, False]


def test_spacing_comes_from_nifti(tmp_path):
    sitk = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed")
    for name in ("i.nii.gz", "m.nii.gz"):
        image = sitk.GetImageFromArray(np.zeros((2, 3, 4), np.uint8))
        image.SetSpacing((0.5, 0.6, 2.0))
        sitk.WriteImage(image, str(tmp_path / name))
    data = load_case(
        Case("c", "p", tmp_path / "i.nii.gz", tmp_path / "m.nii.gz"),
        label_map("", ("organ",)),
        ImageSettings(),
    )
    assert data.spacing_mm == pytest.approx((2.0, 0.6, 0.5))
    assert data.target.shape == (1, 2, 3, 4)


def test_a_site_loads_by_patient_and_reads_only_what_is_asked(make_site, tmp_path):
    site, path = make_site(patients=5, slices=2), tmp_path / "state/split.json"
    data = load_site(site, RUN, path)
    assert {s.patient for s in data.train} == set(data.split.train)
    assert len(data.train) == 6
    assert {c.case.patient for c in data.validation} == set(data.split.validation)
    assert {c.case.patient for c in data.test} == set(data.split.test)
    for patient in data.split.train:
        for file in Path(site.data, "images").glob(f"{patient}-*"):
            file.write_bytes(b"damaged")
    part = load_site(site, RUN, path, parts=("test",))
    assert not part.train
    assert not part.validation
    assert len(part.test) == 2
    with pytest.raises(DataError):
        load_site(site, RUN, path)


def test_check_counts_patients_and_writes_nothing(make_site, tmp_path):
    site = make_site(patients=5, slices=2)
    before = sorted(tmp_path.rglob("*"))
    assert check_site(site, RUN, tmp_path / "state/split.json") == Counts(3, 1, 1)
    assert sorted(tmp_path.rglob("*")) == before


def test_check_says_everything_at_once(make_site, tmp_path):
    site = make_site(patients=5, slices=1, labels="leson=255")
    images, masks = Path(site.data, "images"), Path(site.data, "masks")
    (masks / "p0-s0.png").unlink()
    (images / "p1-s0.png").write_bytes(b"damaged")
    save_png(masks / "p2-s0.png", np.zeros((3, 3), np.uint8))
    (tmp_path / "split.json").write_text("{")
    with pytest.raises(DataError) as caught:
        check_site(site, RUN, tmp_path / "split.json")
    text = caught.value.local()
    for part in (
        "PFS-102",
        "did you mean lesion?",
        "PFS-202",
        "PFS-204",
        "PFS-206",
        "p0-s0",
        "p1-s0",
        "p2-s0",
    ):
        assert part in text
    assert caught.value.code == "PFS-202"
    assert "p0" not in caught.value.public()
    assert str(tmp_path) not in caught.value.public()
    assert len(caught.value.public()) <= 300


def test_check_opens_the_first_pair_and_names_unknown_values(make_site, tmp_path):
    with pytest.raises(DataError) as caught:
        check_site(make_site(labels="lesion=1"), RUN, tmp_path / "split.json")
    assert caught.value.code == "PFS-205"
    assert "255" in caught.value.message


def test_check_of_a_hospital_with_one_patient(make_site, tmp_path):
    with pytest.raises(DataError) as caught:
        check_site(make_site(patients=1), RUN, tmp_path / "split.json")
    assert caught.value.code == "PFS-203"
    assert caught.value.counts == {"patients": 1}


def test_check_with_wrong_settings_alone_blames_the_settings(make_site, tmp_path):
    with pytest.raises(SettingsError):
        check_site(make_site(labels="x=1"), RUN, tmp_path / "split.json")
