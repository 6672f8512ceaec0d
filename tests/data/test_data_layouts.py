"""Folders → cases, with all findings at once."""

import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
from dicom_files import write_series

from pfedsam_flower.data.layouts import find_cases, layout_of
from pfedsam_flower.data.readers import read_image
from pfedsam_flower.data.samples import check_site
from pfedsam_flower.errors import DataError, SettingsError
from pfedsam_flower.settings.run import RunSettings
from pfedsam_flower.settings.site import SiteSettings

RUN = RunSettings(classes=("lesion",))
SERIES = np.arange(2 * 6 * 7, dtype=np.uint16).reshape(2, 6, 7)


def test_cases_are_sorted_and_know_their_patient(make_site):
    cases = find_cases(make_site(patients=2, slices=2))
    assert [(c.id, c.patient) for c in cases] == [
        ("p0-s0", "p0"),
        ("p0-s1", "p0"),
        ("p1-s0", "p1"),
        ("p1-s1", "p1"),
    ]
    assert cases[0].image.parent.name == "images"
    assert cases[0].mask.parent.name == "masks"


def test_folder_names_and_default_patient(make_site):
    site = make_site(patients=2, slices=1)
    Path(site.data, "images").rename(Path(site.data, "scans"))
    cases = find_cases(site.model_copy(update={"images": "scans", "patient": r"^(.+)$"}))
    assert [c.patient for c in cases] == ["p0-s0", "p1-s0"]


def test_image_and_mask_may_have_different_formats_and_two_part_suffixes(make_site):
    site = make_site(patients=1, slices=1)
    for sub, suffix in (("images", ".nii.gz"), ("masks", ".nii")):
        Path(site.data, sub, f"p7-s1{suffix}").write_bytes(b"")
    assert [c.id for c in find_cases(site)] == ["p0-s0", "p7-s1"]


def test_every_finding_comes_at_once(make_site):
    site = make_site(patients=9, slices=1)
    images, masks = Path(site.data, "images"), Path(site.data, "masks")
    for i in range(7):
        (masks / f"p{i}-s0.png").unlink()
    (images / "p8-s0.png").unlink()
    (masks / "p7-s0.tif").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        find_cases(site)
    text = caught.value.local()
    assert caught.value.code == "PFS-202"
    assert caught.value.counts == {"double_names": 1, "images_without_mask": 7, "masks_without_image": 1}
    assert "p4-s0.png and 2 more" in text
    assert "p5-s0.png" not in text
    assert "p7-s0.png = p7-s0.tif" in text
    assert "p8-s0.png" in text
    assert "p8" not in caught.value.public()
    assert site.data not in caught.value.public()


@pytest.mark.parametrize("sub", ["", "images", "masks"])
@pytest.mark.parametrize("empty", [False, True])
def test_missing_and_empty_folders(make_site, sub, empty):
    site = make_site()
    folder = Path(site.data, sub)
    shutil.rmtree(folder)
    if empty:
        folder.mkdir()
    with pytest.raises(DataError) as caught:
        find_cases(site)
    assert caught.value.code == "PFS-201"
    assert str(folder) in caught.value.local()


def test_a_file_where_a_folder_should_be(make_site):
    site = make_site()
    shutil.rmtree(Path(site.data, "masks"))
    Path(site.data, "masks").write_text("no folder")
    with pytest.raises(DataError) as caught:
        find_cases(site)
    assert caught.value.code == "PFS-201"


@pytest.mark.parametrize(
    ("expression", "word"),
    [
        ("(", "regular expression"),
        ("p0", "no group"),
        ("^(x)$", "finds no patient"),
        ("^(x)?p", "finds no patient"),
    ],
)
def test_a_patient_expression_that_does_not_work_is_a_setting_at_fault(make_site, expression, word):
    with pytest.raises(SettingsError, match=word) as caught:
        find_cases(make_site(patient=expression))
    assert caught.value.code == "PFS-102"


@pytest.fixture
def dicom_site(tmp_path) -> SiteSettings:
    """Three patients, each a folder with one series; masks are NIfTI on the same grid."""
    for patient in ("p0", "p1.2", "p2"):
        write_series(tmp_path / "site/images" / patient, SERIES)
        mask = nibabel.Nifti1Image(np.ones((7, 6, 2), np.uint8), np.diag([-0.5, -0.5, 3, 1]))
        (tmp_path / "site/masks").mkdir(exist_ok=True)
        nibabel.save(mask, tmp_path / f"site/masks/{patient}.nii.gz")
    return SiteSettings(site="a", data=str(tmp_path / "site"), state=str(tmp_path / "state"))


def test_a_folder_with_a_dicom_series_is_a_case(dicom_site, tmp_path):
    Path(dicom_site.data, "images/empty").mkdir()
    cases = find_cases(dicom_site)
    assert [case.id for case in cases] == ["p0", "p1.2", "p2"]
    np.testing.assert_array_equal(read_image(cases[1].image).values[..., 0], SERIES)
    assert check_site(dicom_site, RUN, tmp_path / "split.json").train == 1


def test_several_series_are_listed_and_one_is_named_in_a_manifest(dicom_site, tmp_path):
    data = Path(dicom_site.data)
    other = write_series(data / "images/p0", SERIES + 100, "t2 late")
    with pytest.raises(DataError) as caught:
        check_site(dicom_site, RUN, tmp_path / "split.json")
    assert (caught.value.code, caught.value.counts) == ("PFS-207", {"unusable_cases": 1})
    assert f"{other} (MR t2 late, 2 files)" in caught.value.local()
    assert "p0#UID" in caught.value.local()
    rows = [f"images/p0#{other},masks/p0.nii.gz,p0"]
    rows += [f"images/{name},masks/{name}.nii.gz,{name}" for name in ("p1.2", "p2")]
    (data / "cases.csv").write_text("\n".join(["image,mask,patient", *rows]))
    site = dicom_site.model_copy(update={"data": str(data / "cases.csv")})
    assert layout_of(site) == "manifest"
    cases = find_cases(site)
    assert [case.id for case in cases] == ["p0", "p1.2", "p2"]
    np.testing.assert_array_equal(read_image(cases[0].image).values[..., 0], SERIES + 100)
    check_site(site, RUN, tmp_path / "split.json")
