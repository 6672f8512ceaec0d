"""BIDS data sets: masks among the derivatives, images where the same entities say."""

from pathlib import Path

import pytest

from pfedsam_flower.data.labels import labels_of
from pfedsam_flower.data.layouts import find_cases, layout_of, survey, value_names
from pfedsam_flower.errors import DataError, SettingsError
from pfedsam_flower.settings.site import SiteSettings

MASK = "derivatives/manual/sub-{}/ses-1/anat/sub-{}_ses-1_space-orig_seg-prostate_dseg.nii.gz"


@pytest.fixture
def site(tmp_path) -> SiteSettings:
    touch(tmp_path, "dataset_description.json")
    for subject in ("01", "02"):
        touch(tmp_path, f"sub-{subject}/ses-1/anat/sub-{subject}_ses-1_T2w.nii.gz")
        touch(tmp_path, f"sub-{subject}/ses-1/anat/sub-{subject}_ses-1_T2w.json")
        touch(tmp_path, f"sub-{subject}/ses-1/anat/sub-{subject}_ses-1_run-2_T2w.nii.gz")
        touch(tmp_path, MASK.format(subject, subject))
    return SiteSettings(site="a", data=str(tmp_path), state=str(tmp_path / "state"))


def touch(root: Path, name: str, body: str = "") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(body)
    return path


def test_a_mask_finds_the_image_of_its_entities_and_the_patient_is_the_subject(site, tmp_path):
    assert layout_of(site) == "BIDS"
    cases = find_cases(site)
    assert [(c.id, c.patient) for c in cases] == [
        ("sub-01_ses-1_T2w", "sub-01"),
        ("sub-02_ses-1_T2w", "sub-02"),
    ]
    assert cases[1].image == tmp_path / "sub-02/ses-1/anat/sub-02_ses-1_T2w.nii.gz"
    assert cases[1].mask == tmp_path / MASK.format("02", "02")


def test_of_several_contrasts_the_site_says_which(site, tmp_path):
    other = touch(tmp_path, "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz")
    with pytest.raises(SettingsError, match="site setting channel") as caught:
        find_cases(site)
    assert caught.value.counts == {"masks_of_several_images": 1}
    cases, findings, _ = survey(site.model_copy(update={"channel": "T1w"}))
    assert [case.image for case in cases] == [other]
    assert findings[0].counts == {"masks_without_image": 1}


def test_two_masks_of_one_image_are_not_chosen_from(site, tmp_path):
    touch(tmp_path, MASK.format("01", "01").replace("manual", "second-reader"))
    with pytest.raises(DataError, match="write a manifest") as caught:
        find_cases(site)
    assert caught.value.counts == {"images_of_several_masks": 1}


def test_names_come_from_the_table_of_a_pipeline(site, tmp_path):
    assert value_names(site) == {}
    table = touch(tmp_path, "derivatives/manual/dseg.tsv", "index\tname\n0\tbackground\n1\tPZ\n2\tTZ\n")
    assert value_names(site) == {"PZ": {1}, "TZ": {2}}
    assert labels_of(site, ("TZ", "PZ")).classes == ({2}, {1})
    table.write_bytes(table.read_text().replace("\n", "\r\n").encode("utf-16"))
    assert value_names(site) == {"PZ": {1}, "TZ": {2}}
    table.write_text("number\tname\n1\tPZ\n")
    assert value_names(site) == {}


def test_no_mask_at_all(site, tmp_path):
    for path in tmp_path.glob("derivatives/manual/**/*.nii.gz"):
        path.unlink()
    with pytest.raises(DataError, match="PFS-201"):
        find_cases(site)


def test_a_mask_without_image_is_in_a_finding_and_what_lacks_a_mask_is_named(site, tmp_path):
    alone = touch(tmp_path, MASK.format("03", "03"))
    touch(tmp_path, "sub-04/anat/sub-04_T2w.nii.gz")
    touch(tmp_path, "participants.tsv", "participant_id\nsub-01\nsub-05\n")
    found = survey(site)
    assert found.account is not None
    assert found.account.faulty == (alone,)
    assert len(found.account.used) == 4
    (warning,) = (finding for finding in found.findings if finding.code == "PFS-216")
    assert warning.text.endswith("subjects have no segmentation: sub-04, sub-05")
