"""nnU-Net data sets as cases: channels, names of values, both versions of dataset.json."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pfedsam_flower.data.labels import labels_of, site_labels
from pfedsam_flower.data.layouts import find_cases, layout_of, survey, value_names
from pfedsam_flower.data.layouts.nnunet import read_description
from pfedsam_flower.errors import DataError, SettingsError
from pfedsam_flower.settings.site import SiteSettings

V2 = {
    "channel_names": {"0": "T2", "1": "ADC"},
    "labels": {"background": 0, "PZ": 1, "TZ": 2},
    "numTraining": 2,
    "file_ending": ".nii.gz",
}


def make(
    folder: Path, description: object, channels: int = 1, cases: int = 2, **settings: str
) -> SiteSettings:
    """Empty files of the right names; a layout looks at nothing else."""
    ending = description.get("file_ending", ".nii.gz") if isinstance(description, dict) else ".nii.gz"
    for sub in ("imagesTr", "labelsTr", "imagesTs"):
        (folder / sub).mkdir(parents=True)
    for case in range(cases):
        for channel in range(channels):
            (folder / f"imagesTr/p{case}_{channel:04d}{ending}").write_bytes(b"")
        (folder / f"labelsTr/p{case}{ending}").write_bytes(b"")
    (folder / f"imagesTs/p9_0000{ending}").write_bytes(b"")
    (folder / "dataset.json").write_text(json.dumps(description))
    return SiteSettings(site="a", data=str(folder), state=str(folder / "state"), **settings)


def test_cases_are_those_of_the_training_folders(tmp_path):
    site = make(tmp_path, V2)
    assert layout_of(site) == "nnU-Net"
    cases = find_cases(site)
    assert [(c.id, c.patient) for c in cases] == [("p0", "p0"), ("p1", "p1")]
    assert cases[1].image == tmp_path / "imagesTr/p1_0000.nii.gz"
    assert cases[1].mask == tmp_path / "labelsTr/p1.nii.gz"


@pytest.mark.parametrize("channel", ["1", "ADC"])
def test_the_channel_of_several_is_chosen_by_name_or_number(tmp_path, channel):
    cases = find_cases(make(tmp_path, V2, channels=2, channel=channel))
    assert [c.image.name for c in cases] == ["p0_0001.nii.gz", "p1_0001.nii.gz"]


def test_several_channels_are_not_chosen_from_by_guess(tmp_path):
    with pytest.raises(SettingsError, match=r"T2, ADC.*site setting channel") as caught:
        find_cases(make(tmp_path, V2, channels=2))
    assert caught.value.counts == {"cases_of_several_channels": 2}


def test_a_channel_that_is_not_there_is_said_with_a_suggestion(tmp_path):
    _, findings, _ = survey(make(tmp_path, V2, channels=2, channel="ADV"))
    assert any("did you mean ADC?" in finding.text for finding in findings)
    other = make(tmp_path / "other", V2, channels=1, channel="ADC")
    _, findings, _ = survey(other)
    assert [f.code for f in findings if "no file of channel ADC" in f.text] == ["PFS-202"]


def test_a_channel_for_another_layout_is_refused(make_site):
    with pytest.raises(SettingsError, match="channel = 'T2'"):
        find_cases(make_site(channel="T2"))


def test_names_that_end_in_four_digits_belong_to_the_case_where_a_label_says_so(tmp_path):
    """The Medical Segmentation Decathlon has no channel numbers."""
    site = make(tmp_path, V2, cases=0)
    for sub in ("imagesTr", "labelsTr"):
        (tmp_path / sub / "scan_0007.nii.gz").write_bytes(b"")
    assert [c.id for c in find_cases(site)] == ["scan_0007"]


def test_version_1_and_regions_name_values_too(tmp_path):
    first = {"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "prostate"}}
    assert value_names(make(tmp_path / "1", first)) == {"prostate": {1}}
    regions = V2 | {"labels": {"background": 0, "whole": [1, 2], "core": [2]}, "regions_class_order": [1, 2]}
    assert value_names(make(tmp_path / "2", regions)) == {"whole": {1, 2}, "core": {2}}


def test_labels_by_name(tmp_path):
    site = make(tmp_path, V2, labels="prostate=PZ+TZ, zone = TZ")
    assert labels_of(site, ("prostate", "zone", "lesion")).classes == ({1, 2}, {2}, set())


def test_names_and_ranges_go_together_and_the_description_may_be_utf_16(tmp_path):
    site = make(tmp_path, V2, labels="prostate=PZ+7-9,background=TZ+10-12")
    path = tmp_path / "dataset.json"
    path.write_bytes(path.read_text().encode("utf-16"))
    labels = labels_of(site, ("prostate",))
    assert (labels.classes, labels.background) == (({1, 7, 8, 9},), {2, 10, 11, 12})


def test_names_that_are_the_classes_need_no_setting(tmp_path, caplog):
    site = make(tmp_path, V2)
    with caplog.at_level("INFO"):
        assert labels_of(site, ("TZ", "PZ")).classes == ({2}, {1})
    assert "TZ=2, PZ=1" in caplog.text


def test_names_that_are_not_the_classes_are_never_matched_by_order(tmp_path):
    with pytest.raises(SettingsError, match=r"names its values PZ, TZ.*prostate=PZ\+TZ"):
        labels_of(make(tmp_path, V2), ("prostate",))


def test_an_unknown_name_gets_a_suggestion(tmp_path):
    _, problems = site_labels(make(tmp_path, V2, labels="prostate=PZ+T2"), ("prostate",))
    assert problems == ["labels: prostate: 'T2' is no name of the data set; did you mean TZ?"]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"labels": {"background": 0, "x": 1, "ignore": 2}}, "'ignore'"),
        ({"labels": {"background": 0, "x": -1}}, "'x' has the value -1"),
        ({"labels": {"background": 0, "x": True}}, "'x' has the value True"),
        ({"labels": {}}, "labels is missing"),
        ({"channel_names": {}}, "channel_names"),
        ({"channel_names": {"1": "T2"}}, "numbered 1"),
        ({"file_ending": ".gif"}, "'.gif' cannot be read"),
        ({"file_ending": [".png"]}, "cannot be read"),
        ({"dataset": {}}, "write a manifest"),
    ],
)
def test_a_description_that_cannot_be_used_says_why(tmp_path, change, word):
    site = make(tmp_path, V2 | {"file_ending": ".nii.gz"})
    (tmp_path / "dataset.json").write_text(json.dumps(V2 | change))
    with pytest.raises(DataError) as caught:
        find_cases(site)
    assert caught.value.code == "PFS-208"
    assert word in caught.value.local()
    assert value_names(site) == {}


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff\xfe", b"[" * 100_000])
def test_any_other_file_of_that_name_is_refused(tmp_path, body):
    site = make(tmp_path, V2)
    (tmp_path / "dataset.json").write_bytes(body)
    with pytest.raises(DataError, match="PFS-208"):
        find_cases(site)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(st.fixed_dictionaries({}, optional=dict.fromkeys((*V2, "modality"), JSON)))
def test_any_description_is_used_or_refused_with_sentences(tmp_path_factory, raw):
    folder = tmp_path_factory.getbasetemp()
    (folder / "dataset.json").write_text(json.dumps(raw))
    description, faults = read_description(folder)
    assert (description is None) == bool(faults)
    if description:
        assert all(values and min(values) > 0 for values in description.names.values())


def test_missing_and_unmatched_files_are_findings(tmp_path):
    site = make(tmp_path, V2, cases=3)
    (tmp_path / "labelsTr/p1.nii.gz").unlink()
    (tmp_path / "imagesTr/p2_0000.nii.gz").unlink()
    with pytest.raises(DataError) as caught:
        find_cases(site)
    assert caught.value.counts == {"images_without_mask": 1, "masks_without_image": 1}


def test_cases_that_the_description_promises_are_missed(tmp_path):
    found = survey(make(tmp_path, V2 | {"numTraining": 5}, channel="T2"))
    (warning,) = found.findings
    assert (warning.code, warning.severity) == ("PFS-216", "warning")
    assert warning.text == "dataset.json promises 5 cases to train on, 2 are here"
    assert warning.hint.startswith("copy the data set again")


def test_more_cases_than_promised_are_used_and_told(tmp_path):
    found = survey(make(tmp_path, V2 | {"numTraining": 1}, channel="T2"))
    assert len(found.cases) == 2
    assert found.findings[0].hint.startswith("all are used; correct numTraining")


def test_cases_of_the_decathlons_list_are_missed_by_name(tmp_path):
    rows = [{"image": f"./imagesTr/p{k}.nii.gz", "label": f"./labelsTr/p{k}.nii.gz"} for k in range(3)]
    found = survey(make(tmp_path, V2 | {"training": rows, "numTraining": 3}, channel="T2"))
    assert found.findings[0].text.endswith("2 are here; lacking: p2.nii.gz")


def test_other_channels_and_test_images_are_passed_over_by_rule(tmp_path):
    found = survey(make(tmp_path, V2, channels=2, channel="ADC"))
    assert not found.findings
    assert found.account is not None
    assert {reason: len(paths) for reason, paths in found.account.passed_over.items()} == {
        "description": 1,
        "rule": 3,
    }
    assert len(found.account.used) == 4


def test_a_case_whose_mask_looks_alike_is_in_a_finding(tmp_path):
    site = make(tmp_path, V2, channel="T2")
    (tmp_path / "imagesTr/p1_0000.nii.gz").rename(tmp_path / "imagesTr/P1_0000.nii.gz")
    found = survey(site)
    assert any("'P1' and 'p1' (letter case)" in finding.text for finding in found.findings)
    assert found.account is not None
    assert tmp_path / "imagesTr/P1_0000.nii.gz" in found.account.faulty


def test_endings_in_capitals_are_the_same_ending(tmp_path):
    site = make(tmp_path, V2)
    for path in [*(tmp_path / "imagesTr").iterdir(), *(tmp_path / "labelsTr").iterdir()]:
        path.rename(str(path).replace(".nii.gz", ".NII.GZ"))
    found = survey(site)
    assert [case.id for case in found.cases] == ["p0", "p1"]
    assert not found.findings


@pytest.mark.parametrize("mask", ["c1.nii.gz", "c1/c1.nii.gz"])
def test_cases_in_folders_of_their_own(tmp_path, mask):
    site = make(tmp_path, V2 | {"numTraining": 1}, cases=0)
    for name in ("imagesTr/c1/c1_0000.nii.gz", f"labelsTr/{mask}"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = survey(site)
    assert [(case.id, case.image.name) for case in found.cases] == [("c1", "c1_0000.nii.gz")]
    assert not found.findings
