"""Every file below a data folder is used, passed over with a reason, or in a finding."""

import itertools
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from dicom_files import write_series
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pfedsam_flower.data.account import account_of, findings_of, told
from pfedsam_flower.data.inputs import find_inputs
from pfedsam_flower.data.layouts import survey
from pfedsam_flower.data.listing import REASONS, listing_of
from pfedsam_flower.data.readers import READERS, read_image, suffix_of
from pfedsam_flower.errors import DataError
from pfedsam_flower.settings.site import SiteSettings

SUFFIXES = [*READERS, ".gif", ".raw", ".svg", "", ".txt"]
FOLDERS = ["", "p1", "p1/scan", "P2", ".hidden", "p2/p2", "notes"]
STEMS = ["p1", "P2", "scan", "._p1", ".p1", "Thumbs", "p1 "]
KEPT = [("images", "masks"), (".", "masks"), ("images", "images/p1"), ("images/p1", "images")]
folder_numbers = itertools.count()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("account")


@st.composite
def trees(draw):
    """Names below images and masks, and beside them, in both letter cases; where DICOM lies."""
    files = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["images", "masks", ""]),
                st.sampled_from(FOLDERS),
                st.sampled_from(STEMS),
                st.sampled_from(SUFFIXES),
                st.booleans(),
            ),
            max_size=14,
        )
    )
    names = {
        Path(place, folder, stem + (suffix.upper() if upper else suffix))
        for place, folder, stem, suffix, upper in files
    }
    series = draw(
        st.lists(st.tuples(st.sampled_from(["images", "masks"]), st.sampled_from(FOLDERS[1:])), max_size=2)
    )
    return names, {Path(place, folder) for place, folder in series}


def build(root, names, series):
    folder = root / str(next(folder_numbers))
    for sub in ("images", "masks"):
        (folder / sub).mkdir(parents=True)
    for name in sorted(names):
        with suppress(OSError):  # a name may be that of another's folder
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(b"")
    for place in series:
        with suppress(OSError):
            write_series(folder / place, np.zeros((2, 4, 4), np.uint16))
    return folder


def all_files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def parts_of(account):
    return sorted(
        [*account.used, *account.faulty, *(p for paths in account.passed_over.values() for p in paths)]
    )


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(tree=trees(), folders=st.sampled_from(KEPT), state=st.sampled_from(["state", "images/p1/scan"]))
def test_files_of_a_site_add_up(root, tree, folders, state):
    folder = build(root, *tree)
    images, masks = folders
    found = survey(
        SiteSettings(site="a", data=str(folder), images=images, masks=masks, state=str(folder / state))
    )
    assert parts_of(found.account) == all_files(folder)
    assert found.account.n_files == len(all_files(folder))
    used = {path for case in found.cases for path in (case.image, case.mask)}
    assert all(path in found.account.used or path.is_dir() for path in used)
    if found.account.faulty:
        assert any(finding.severity == "error" for finding in found.findings)
    warned = sum(f.counts["files_passed_over"] for f in found.findings if f.code == "PFS-216")
    assert warned == sum(len(paths) for paths in found.account.doubtful.values())


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(tree=trees())
def test_files_of_a_prediction_add_up(root, tree):
    folder = build(root, *tree)
    try:
        found = find_inputs(folder)
    except DataError:  # nothing to read, or two of one name
        return
    assert parts_of(found.account) == all_files(folder)
    assert not found.account.faulty
    assert len({one.name for one in found.inputs}) == len(found.inputs)


def test_a_case_that_is_added_renames_no_other(tmp_path):
    def names():
        return {entry.path: entry.name for entry in listing_of(tmp_path).entries}

    def add(name):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")

    before: dict[Path, str] = {}
    for name in (
        "p1.png",
        "p5/p5.png",
        "p5/scan1.png",
        "north/p1.png",
        "p6/p6.nii.gz",
        "p6/p5.png",
        "scan1.png",
    ):
        add(name)
        assert before.items() <= names().items()
        before = names()
    assert list(before.values()) == ["p1", "scan1", "north-p1", "p5", "p5-scan1", "p6-p5", "p6"]


@pytest.mark.parametrize(
    ("image", "mask", "case"),
    [
        ("p5/p5.png", "p5/p5.png", "p5"),
        ("p5/p5.png", "p5.png", "p5"),
        ("p5/scan1.png", "p5/scan1.png", "p5-scan1"),
        ("north/p7.PNG", "p7.nii.gz", "north-p7"),
        ("p8.tif", "drawn/second/p8.bmp", "p8"),
    ],
)
def test_partners_are_found_through_sub_folders(tmp_path, image, mask, case):
    for name in (Path("images", image), Path("masks", mask)):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"")
    found = survey(SiteSettings(site="a", data=str(tmp_path), state="s"))
    assert [(c.id, c.image, c.mask) for c in found.cases] == [
        (case, tmp_path / "images" / image, tmp_path / "masks" / mask)
    ]
    assert not found.findings


@pytest.mark.parametrize(
    ("images", "masks"), [(".", "masks"), ("scans", "scans/drawn"), ("drawn/scans", "drawn")]
)
def test_a_folder_of_masks_inside_that_of_images_holds_no_images(tmp_path, images, masks):
    for place, k in itertools.product((images, masks), range(2)):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / place / f"p{k}.png").write_bytes(b"")
    found = survey(SiteSettings(site="a", data=str(tmp_path), images=images, masks=masks, state="s"))
    assert [case.id for case in found.cases] == ["p0", "p1"]
    assert not found.findings
    assert len(found.account.used) == 4
    inputs = find_inputs(tmp_path / images, tmp_path / masks).inputs
    assert [(one.path.parent, one.reference.parent) for one in inputs] == [
        (tmp_path / images, tmp_path / masks)
    ] * 2


def test_a_missing_folder_says_what_looks_like_it(tmp_path):
    for name in ("Images", "masks"):
        (tmp_path / name).mkdir()
    found = survey(SiteSettings(site="a", data=str(tmp_path), state="s"))
    assert "is missing; there is 'Images' (what differs: letter case)" in found.findings[0].text


def test_a_folder_without_an_image_says_what_it_holds(tmp_path):
    (tmp_path / "a.gif").write_bytes(b"")
    with pytest.raises(DataError, match="no image; 1 of a format that is not read: a.gif"):
        find_inputs(tmp_path)


def test_a_stem_that_several_have_pairs_nothing_by_itself(tmp_path):
    for name in ("images/p1/scan.png", "images/p2/scan.png", "masks/scan.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = survey(SiteSettings(site="a", data=str(tmp_path), state="s"))
    assert not found.cases
    assert [f.code for f in found.findings] == ["PFS-202", "PFS-202"]


def test_a_series_is_found_at_any_depth_and_what_lies_beside_it_is_named(tmp_path):
    write_series(tmp_path / "images/p1/study/series", np.zeros((3, 4, 4), np.uint16))
    for k in range(90):
        (tmp_path / f"images/p1/study/series/a{k}.jpg").write_bytes(b"")
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks/p1-study-series.png").write_bytes(b"")
    found = survey(SiteSettings(site="a", data=str(tmp_path), state="s"))
    assert [c.id for c in found.cases] == ["p1-study-series"]
    assert len(found.account.used) == 4
    (warning,) = found.findings
    assert "90 beside a DICOM series: images/p1/study/series/a0.jpg" in warning.text
    assert warning.counts == {"files_passed_over": 90}


def test_voxels_in_a_file_of_their_own_are_used(tmp_path):
    (tmp_path / "a.mhd").write_text("NDims = 2\nElementDataFile = a.raw\n")
    (tmp_path / "b.nhdr").write_text("NRRD0004\ndata file: ./b.raw.gz\n\n")
    for name in ("a.raw", "b.raw.gz", "c.raw"):
        (tmp_path / name).write_bytes(b"")
    found = listing_of(tmp_path)
    assert [{path.name for path in one.files} for one in found.entries] == [
        {"a.mhd", "a.raw"},
        {"b.nhdr", "b.raw.gz"},
    ]
    assert found.passed_over == {tmp_path / "c.raw": "format"}


def test_what_cannot_be_looked_into_is_named(tmp_path):
    (tmp_path / "away.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "round").symlink_to(tmp_path, target_is_directory=True)
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / "a.png")
    found = listing_of(tmp_path)
    assert [one.name for one in found.entries] == ["a"]
    assert found.passed_over == {tmp_path / "away.png": "special", tmp_path / "round": "special"}


def test_pipes_and_devices_are_no_images(tmp_path):
    import os

    for name in ("p1.png", "IM0001"):
        os.mkfifo(tmp_path / name)
        assert suffix_of(tmp_path / name) in (".png", ""), "it is not opened"
    assert set(listing_of(tmp_path).passed_over.values()) == {"special"}


def test_the_sum_and_three_examples_are_told(tmp_path):
    paths = [tmp_path / f"{k}.gif" for k in range(4)]
    account = account_of(tmp_path, [tmp_path / "a.png"], [tmp_path / "a.png"], dict.fromkeys(paths, "format"))
    assert told(account) == [
        f"5 files below {tmp_path}: 1 used, 4 passed over",
        "  4 of a format that is not read: 0.gif, 1.gif, 2.gif and 1 more",
    ]
    assert [f.severity for f in findings_of(account)] == ["warning"]


def test_a_file_of_the_operating_system_is_no_warning(tmp_path):
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._a.png"):
        (tmp_path / name).write_bytes(b"")
    found = listing_of(tmp_path)
    assert set(found.passed_over.values()) == {"system"}
    assert not findings_of(account_of(tmp_path, [], [], found.passed_over))


@pytest.mark.parametrize("reason", REASONS)
def test_a_reason_is_a_phrase_and_a_remedy_or_nothing(reason):
    text, remedy = REASONS[reason]
    assert text[0].islower()
    assert not remedy.endswith(".")


def test_references_that_no_image_has_are_named(tmp_path):
    for name in ("scans/a.png", "drawn/a.png", "drawn/b.png", "drawn/c.doc"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = find_inputs(tmp_path / "scans", tmp_path / "drawn")
    assert found.references is not None
    assert found.references.used == (tmp_path / "drawn/a.png",)
    assert found.references.passed_over == {
        "format": (tmp_path / "drawn/c.doc",),
        "unasked": (tmp_path / "drawn/b.png",),
    }


def test_a_reference_whose_name_looks_alike_is_told(tmp_path):
    for name in ("scans/P1.png", "drawn/p1.nii.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError, match=r"'P1' and 'p1' \(letter case\)") as caught:
        find_inputs(tmp_path / "scans", tmp_path / "drawn")
    assert caught.value.hint == "rename one of the two"


def test_a_name_too_long_for_its_mask_is_told_before_work_starts(tmp_path):
    name = "a" * 249
    (tmp_path / f"{name}.png").write_bytes(b"")
    (tmp_path / "b.png").write_bytes(b"")
    with pytest.raises(DataError, match=rf"1 names are too long.*248 bytes.*{name} \(249\)"):
        find_inputs(tmp_path)


def test_folders_that_are_links_to_others_of_the_data_count_their_files_once(tmp_path):
    for part in ("images", "masks"):
        (tmp_path / "real" / part).mkdir(parents=True)
        (tmp_path / part).symlink_to(tmp_path / "real" / part)
        Image.new("L", (4, 4)).save(tmp_path / "real" / part / "a.png")
    (tmp_path / "real" / "b.png").write_bytes(b"")
    account = survey(SiteSettings(site="a", data=str(tmp_path), state=str(tmp_path / "state"))).account
    assert (len(account.used), account.n_files) == (2, 3)
    assert account.passed_over == {"outside": (tmp_path / "real" / "b.png",)}


def test_a_line_feed_in_a_name_is_no_fault_of_the_patients_expression(tmp_path):
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
        Image.new("L", (4, 4)).save(tmp_path / part / "a\nb.png")
    found = survey(SiteSettings(site="a", data=str(tmp_path), state=str(tmp_path / "state")))
    assert found.findings == []
    with pytest.raises(DataError, match="control characters"):
        read_image(found.cases[0].image)


@pytest.mark.parametrize(("images", "masks"), [(".", "masks"), ("images", "images/masks"), ("scans", ".")])
def test_masks_below_the_images_are_no_images(tmp_path, images, masks):
    for folder in (images, masks):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for name in ("p1.png", "p2.png"):
            (tmp_path / folder / name).write_bytes(b"")
    site = SiteSettings(
        site="a", data=str(tmp_path), state=str(tmp_path / "state"), images=images, masks=masks
    )
    found = survey(site)
    assert not found.findings
    assert [case.id for case in found.cases] == ["p1", "p2"]
    assert (len(found.account.used), found.account.n_files) == (4, 4)


def test_what_describes_an_image_is_no_stranger(tmp_path):
    for name in ("p1.nii.gz", "p1.json", "p1.bval", "p2.json", "read me.txt"):
        (tmp_path / name).write_bytes(b"")
    assert {path.name: reason for path, reason in listing_of(tmp_path).passed_over.items()} == {
        "p1.json": "sidecar",
        "p1.bval": "sidecar",
        "p2.json": "format",
        "read me.txt": "format",
    }
