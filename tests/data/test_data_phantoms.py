"""Phantom hospitals."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pfedsam_flower.data.phantom_slices import draw_slice
from pfedsam_flower.data.phantom_styles import STYLES, site_names, style_of
from pfedsam_flower.data.phantoms import write_phantoms
from pfedsam_flower.data.samples import Counts, check_site, load_site
from pfedsam_flower.errors import SettingsError, StoreError
from pfedsam_flower.settings.run import ImageSettings, RunSettings
from pfedsam_flower.settings.sources import sites_from_file

RUN = RunSettings(classes=("organ", "lesion"), image=ImageSettings(size=28))


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def draw(site: str, patient: int, index: int, seed: int = 0, size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    return draw_slice(style_of(site), seed, site, patient, index, 4, size)


def test_they_are_ordinary_sites(tmp_path):
    sites = write_phantoms(tmp_path / "new", n_sites=2, patients=3, slices=2, size=48)
    assert [site.site for site in sites] == ["north", "harbour"]
    assert sites == sites_from_file(tmp_path / "new/sites.toml")
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["harbour", "north", "sites.toml"]
    for site in sites:
        assert (Path(site.data) / "images" / f"{site.site}-p03-s2.png").is_file()
        assert check_site(site, RUN, tmp_path / "split.json") == Counts(1, 1, 1)
        data = load_site(site, RUN, tmp_path / site.site / "split.json")
        assert data.annotated.all()
        assert len(data.train) == 2
        assert len(data.test) == 2
    assert str(tmp_path) not in (tmp_path / "new/sites.toml").read_text()


def test_same_seed_same_bits_whatever_else_is_made(tmp_path):
    write_phantoms(tmp_path / "a", n_sites=2, patients=2, slices=2, size=32)
    write_phantoms(tmp_path / "b", n_sites=1, patients=3, slices=2, size=32)
    write_phantoms(tmp_path / "c", n_sites=1, patients=2, slices=2, size=32, seed=1)
    a, b, c = (digests(tmp_path / name / "north") for name in "abc")
    assert a.items() < b.items()
    assert not set(a.values()) & {c[name] for name in c if "images" in name}


def test_order_of_drawing_changes_no_bit():
    first = draw("valley", 1, 0)
    draw("island", 2, 3)
    again = draw("valley", 1, 0)
    assert all((one == two).all() for one, two in zip(first, again, strict=True))


@pytest.mark.parametrize("site", site_names(6))
def test_every_patient_has_a_lesion_inside_the_organ(site):
    for patient in range(1, 5):
        masks = [draw(site, patient, index)[1] for index in range(4)]
        assert any((mask == 255).any() for mask in masks)
        for mask in masks:
            assert set(np.unique(mask)) <= {0, 128, 255}
            assert (mask == 128).sum() > 100
            rows, columns = np.nonzero(mask == 255)
            around = [mask[rows + dy, columns + dx] for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
            assert np.mean([(values > 0).mean() for values in around]) > 0.95 if len(rows) else True


def test_a_patient_with_one_slice_has_its_lesion_there():
    masks = [draw_slice(style_of(s), 0, s, p, 0, 1, 32)[1] for s in ("north", "valley") for p in range(1, 11)]
    assert all((mask == 255).any() for mask in masks)


def test_about_a_fifth_of_the_slices_has_no_lesion():
    masks = [draw(site, p, i, size=32)[1] for site in STYLES for p in range(1, 11) for i in range(4)]
    assert 0.1 < np.mean([not (mask == 255).any() for mask in masks]) < 0.3


def contrast(site: str) -> float:
    """Mean brightness of lesions minus that of the organ, grey levels."""
    found = []
    for patient in range(1, 6):
        for index in range(4):
            image, mask = draw(site, patient, index)
            if (mask == 255).any():
                found.append(image[mask == 255].mean() - image[mask == 128].mean())
    return float(np.mean(found))


def test_hospitals_differ_in_sign_of_contrast():
    assert all(contrast(site) > 8 for site in ("north", "harbour", "island"))
    assert contrast("valley") < -8


def test_a_threshold_does_not_find_the_lesions():
    best = []
    for site, sign in (("north", 1), ("valley", -1)):
        image, mask = draw(site, 2, 1, size=128)
        image, lesion = sign * image.astype(float), mask == 255
        cuts = np.percentile(image, np.arange(1, 100))
        best.append(max(2 * ((image > c) & lesion).sum() / ((image > c).sum() + lesion.sum()) for c in cuts))
    assert max(best) < 0.6


def test_a_folder_in_use_is_left_alone(tmp_path):
    write_phantoms(tmp_path, n_sites=1, patients=1, slices=1, size=32)
    before = digests(tmp_path)
    with pytest.raises(StoreError, match="exists already") as caught:
        write_phantoms(tmp_path, n_sites=2, patients=1, slices=1, size=32)
    assert caught.value.code == "PFS-604"
    assert digests(tmp_path) == before
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        write_phantoms(tmp_path / "file", n_sites=1)


def test_numbers_that_make_no_hospital(tmp_path):
    with pytest.raises(SettingsError) as caught:
        write_phantoms(tmp_path / "x", n_sites=0, patients=0, slices=0, size=8)
    assert caught.value.counts == {"faults": 4}
    assert not list(tmp_path.iterdir())


def test_pictures_use_the_grey_range(tmp_path):
    site = write_phantoms(tmp_path, n_sites=1, patients=1, slices=1)[0]
    with Image.open(Path(site.data) / "images/north-p01-s1.png") as image:
        assert image.mode == "L"
        assert image.size == (128, 128)
        assert np.ptp(np.asarray(image)) > 150
