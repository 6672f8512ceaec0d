"""A site looked through as a whole: what is said of it, and what is found."""

import gc
import json
import weakref
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pfedsam_flower.data.checks import Examination, _unlike, examine
from pfedsam_flower.data.facts import CaseFacts, axis_letters
from pfedsam_flower.data.pixels import Grid
from pfedsam_flower.settings.run import ImageSettings, RunSettings
from pfedsam_flower.settings.site import SiteSettings

RUN = RunSettings(classes=("lesion",), image=ImageSettings(size=28))


def look(site: SiteSettings, run: RunSettings = RUN) -> Examination:
    return examine(site, run, Path(site.state) / "split.json")


def said(found: Examination) -> list[tuple[str, str]]:
    return [(finding.severity, finding.code) for finding in found.findings]


def save(path: Path, array: np.ndarray) -> None:
    Image.fromarray(array).save(path)


def test_a_good_site_has_facts_and_no_findings(make_site, tmp_path):
    site = make_site(patients=5, slices=2)
    before = sorted(tmp_path.rglob("*"))
    found = look(site)
    assert not found.findings
    assert (found.n_cases, len(found.facts)) == (10, 10)
    assert found.patients == {"train": 3, "validation": 1, "test": 1}
    one = found.facts[3]  # p1-s1: rows 5..9, columns 6..12 are marked
    assert (one.id, one.patient, one.shape, one.channels) == ("p1-s1", "p1", (1, 20, 30), 1)
    assert one.voxels == (5 * 7,)
    assert one.spacing_mm is None
    assert sorted(tmp_path.rglob("*")) == before


def test_every_fault_is_found_in_one_pass(make_site):
    site = make_site(patients=9, slices=1, labels="leson=255,lesion=255")
    images, masks = Path(site.data, "images"), Path(site.data, "masks")
    (masks / "p0-s0.png").unlink()
    (images / "p1-s0.png").write_bytes(b"damaged")
    save(masks / "p2-s0.png", np.zeros((3, 3), np.uint8))
    save(masks / "p3-s0.png", np.full((20, 30), 7, np.uint8))
    found = look(site)
    assert {code for _, code in said(found)} == {"PFS-102", "PFS-202", "PFS-204"}
    found = look(site.model_copy(update={"labels": "lesion=255"}))
    assert sorted(code for _, code in said(found)) == ["PFS-202", "PFS-202", "PFS-204", "PFS-205"]
    by_file = {
        Path(finding.where.split(" and ")[0]).name: finding for finding in found.findings if finding.where
    }
    assert set(by_file) >= {"p1-s0.png", "p2-s0.png", "p3-s0.png"}
    assert by_file["p3-s0.png"].hint
    assert len(found.facts) == 5


def test_two_patients_say_so_and_are_still_read(make_site):
    found = look(make_site(patients=2))
    assert ("error", "PFS-203") in said(found)
    assert len(found.facts) == 4
    assert found.patients == {}


def test_the_same_image_twice_is_an_error_only_across_the_parts_of_the_split(make_site):
    site = make_site(patients=6, slices=2)
    images = Path(site.data, "images")
    found = look(site)
    assert not found.findings
    (images / "p0-s1.png").write_bytes((images / "p0-s0.png").read_bytes())
    assert said(look(site)) == [("warning", "PFS-210")]
    for patient in range(1, 6):
        (images / f"p{patient}-s0.png").write_bytes((images / "p0-s0.png").read_bytes())
    found = look(site)
    assert {code for _, code in said(found)} == {"PFS-210"}
    assert found.errors
    assert found.warnings
    assert "of another patient" in found.errors[0].text


def test_a_copy_that_nobody_trains_or_tests_on_is_no_error(make_site):
    site = make_site(patients=6, slices=1)
    parts = {"train": ["p0", "p1", "p2", "p3"], "validation": ["p4"], "test": ["p5"]}
    recorded = Path(site.state) / "split.json"
    recorded.parent.mkdir(parents=True, exist_ok=True)
    recorded.write_text(json.dumps({"version": 1, "seed": 0} | parts))
    for folder in (Path(site.data, name) for name in ("images", "masks")):
        (folder / "a-s0.png").write_bytes((folder / "p0-s0.png").read_bytes())
    found = look(site)
    assert ("warning", "PFS-210") in said(found)
    assert not found.errors
    (Path(site.data) / "images" / "p5-s0.png").write_bytes(
        (Path(site.data) / "images" / "p0-s0.png").read_bytes()
    )
    (error,) = look(site).errors
    assert "of another patient: this is in test, that in train" in error.text, "whoever else has a copy"


def test_blank_slices_are_no_duplicates_but_are_named(make_site):
    site = make_site(patients=4, slices=2)
    for patient in range(4):
        save(Path(site.data, "images", f"p{patient}-s0.png"), np.full((20, 30), 9, np.uint8))
    assert said(look(site)) == [("warning", "PFS-215")] * 4


def test_empty_masks_specks_and_classes_that_never_occur(make_site):
    site = make_site(patients=4, slices=1, labels="lesion=255,organ=128")
    empty = np.zeros((20, 30), np.uint8)
    save(Path(site.data, "masks/p0-s0.png"), empty)
    speck = empty.copy()
    speck[3, 4] = 255
    save(Path(site.data, "masks/p1-s0.png"), speck)
    run = RUN.model_copy(update={"classes": ("lesion", "organ", "vessel")})
    found = look(site, run)
    assert found.annotated == (True, True, False)
    assert said(found) == [("warning", "PFS-211")] * 2 + [("warning", "PFS-212")]
    assert "organ occurs in no case" in found.warnings[-1].text
    for path in Path(site.data, "masks").iterdir():
        save(path, empty)
    assert ("error", "PFS-212") in said(look(site, run))


def nifti(folder: Path, name: str, values: np.ndarray, spacing: tuple[float, ...], affine=None) -> None:
    for kind, array in (("images", values), ("masks", (values > np.percentile(values, 80)).astype(np.uint8))):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        image = nibabel.Nifti1Image(array, np.diag([*spacing, 1.0]) if affine is None else affine)
        nibabel.save(image, folder / kind / f"{name}.nii.gz")


@pytest.fixture
def volumes(tmp_path):
    """A site of six small volumes."""
    rng = np.random.default_rng(0)
    for n in range(6):
        nifti(tmp_path / "site", f"v{n}", rng.normal(50, 10, (9, 8, 4)).astype(np.float32), (0.7, 0.7, 3.0))
    return SiteSettings(site="a", data=str(tmp_path / "site"), state=str(tmp_path / "state"))


def test_a_volume_unlike_the_others_is_named_with_its_number(volumes):
    assert not look(volumes).findings
    odd = np.random.default_rng(1).normal(50, 10, (9, 8, 4)).astype(np.float32)
    nifti(Path(volumes.data), "v9", odd, (0.7, 0.7, 9.0))
    (finding,) = look(volumes).findings
    assert (finding.code, finding.severity, Path(finding.where).name) == ("PFS-213", "warning", "v9.nii.gz")
    assert finding.text == "spacing between slices 9 mm, the others' median is 3 mm"


def test_the_same_volume_stored_another_way_is_the_same_image(volumes):
    path = Path(volumes.data, "images/v0.nii.gz")
    turned = nibabel.load(path)
    turned = nibabel.as_closest_canonical(turned).slicer[::-1]
    nibabel.save(turned, path.with_name("w.nii.gz"))
    mask = nibabel.load(Path(volumes.data, "masks/v0.nii.gz")).slicer[::-1]
    nibabel.save(mask, Path(volumes.data, "masks/w.nii.gz"))
    assert {code for _, code in said(look(volumes))} == {"PFS-210"}


def test_values_outside_the_window_and_cut_values_are_named(volumes):
    window = ImageSettings(size=28, intensity="window", window_low=1000.0, window_high=2000.0)
    found = look(volumes, RUN.model_copy(update={"image": window}))
    assert said(found) == [("warning", "PFS-215")] * 6
    cut = np.clip(np.random.default_rng(2).normal(50, 10, (9, 8, 4)), 30, 65).astype(np.float32)
    nifti(Path(volumes.data), "v9", cut, (0.7, 0.7, 3.0))
    (finding,) = look(volumes).findings
    assert "as if cut at a window" in finding.text


def test_a_lost_spacing_is_named_where_others_know_theirs(volumes):
    stack = [Image.fromarray(np.eye(9, 8, k, dtype=np.uint8) * 50) for k in range(4)]
    for kind, pages in (("images", stack), ("masks", [page.point(lambda v: v // 50) for page in stack])):
        pages[0].save(Path(volumes.data, kind, "t.tif"), save_all=True, append_images=pages[1:])
    assert ("warning", "PFS-214") in said(look(volumes))


def test_one_case_is_in_memory_at_a_time(make_site):
    alive: list[int] = []
    seen: list[weakref.ref] = []

    def watch(number, n, data):
        gc.collect()
        alive.append(sum(one() is not None for one in seen))
        seen.append(weakref.ref(data))

    examine(site := make_site(), RUN, Path(site.state) / "split.json", watch)
    assert alive == [0] * 10


@given(st.permutations([0, 1, 2]), st.tuples(*[st.sampled_from([-1, 1])] * 3))
def test_axis_letters_agree_with_nibabel(order, signs):
    lps = np.zeros((3, 3))
    for stored, patient in enumerate(order):
        lps[patient, stored] = signs[stored]
    affine = np.eye(4)
    affine[:3, :3] = np.diag([-1, -1, 1]) @ lps  # nibabel's world is RAS
    grid = Grid((2, 2, 2), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0, *lps.ravel()))
    assert axis_letters(grid) == "".join(nibabel.aff2axcodes(affine))


PLAIN = CaseFacts(
    "c", "p", "i", "m", (20, 100, 100), (3.0, 1.0, 1.0), "LPS", 1, (0, 1, 50, 99, 100), 0, (5,), "d"
)


@given(st.lists(st.floats(0.9, 1.1), min_size=5, max_size=12), st.floats(6, 20), st.integers(0, 2))
def test_one_far_value_is_found_and_usual_spread_is_not(spread, factor, axis):
    def spaced(i, value):
        spacing = [3.0, 1.0, 1.0]
        spacing[axis] *= value
        return replace(PLAIN, image=str(i), spacing_mm=tuple(spacing))

    usual = [spaced(i, value) for i, value in enumerate(spread)]
    assert not _unlike(usual)
    far = [finding.where for finding in _unlike([*usual, spaced("odd", factor)])]
    assert far == ["odd"]


def test_fewer_than_five_cases_are_not_compared():
    cases = [replace(PLAIN, image=str(i), shape=(20, 100 * 3**i, 100)) for i in range(4)]
    assert not _unlike(cases)


def test_slices_without_the_setting_patient_are_asked_about(make_site):
    site = make_site(patients=5, slices=2)
    (finding,) = look(site.model_copy(update={"patient": "^(.+)$"})).findings
    assert (finding.severity, finding.code) == ("warning", "PFS-217")
    assert "10 names are 10 patients, and would be 5" in finding.text
    assert r"set patient = '^(.+)-s\d+$'" in finding.hint
    assert not look(site.model_copy(update={"patient": r"^(.+)-s\d+$"})).findings


def test_a_class_that_covers_nearly_everything_is_a_warning(make_site):
    site = make_site(patients=10, slices=1, labels="lesion=255")
    masks = sorted(Path(site.data, "masks").iterdir())
    for mask in masks[1:]:
        turned = np.full((20, 30), 255, np.uint8)
        turned[0, :29] = 0  # 571 of 600 are marked
        save(mask, turned)
    (finding,) = look(site).findings
    assert (finding.severity, finding.code) == ("warning", "PFS-218")
    assert finding.text == "lesion covers more than 95 % of the voxels in 9 of 10 cases"
    save(masks[1], np.full((20, 30), 255, np.uint8) * (np.arange(30) < 15).astype(np.uint8))
    assert not look(site).findings
