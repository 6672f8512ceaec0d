"""Public collections, on small files of their layouts: what comes out is a federation's data, or nothing."""

import csv
import hashlib
import pickle
import shutil
from pathlib import Path

import nibabel
import numpy as np
import published_trees as trees
import pytest

from pfedsam_flower.data.cases import load_case
from pfedsam_flower.data.collections import COLLECTIONS, fundus, nuclei, pannuke, prepare, prostate
from pfedsam_flower.data.labels import labels_of
from pfedsam_flower.data.layouts import find_cases
from pfedsam_flower.data.readers import read_image, read_mask
from pfedsam_flower.errors import DataError, StoreError
from pfedsam_flower.settings.run import ImageSettings
from pfedsam_flower.settings.sources import sites_from_file

SIX = dict.fromkeys(prostate.CASES, 2)
FOUR = dict.fromkeys(fundus.DOMAINS, 3)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """The published numbers of cases, made small."""
    monkeypatch.setattr(prostate, "CASES", SIX)
    monkeypatch.setattr(fundus, "DOMAINS", {d: (name, 3) for d, (name, _) in fundus.DOMAINS.items()})
    monkeypatch.setattr(fundus, "FEDFMS", {"REFUGE": 6, "ORIGA": 2, "G1020": 2, "Drishti-GS1": 4})
    monkeypatch.setattr(nuclei, "MONUSEG", {"train": (2,), "test": (1,)})
    monkeypatch.setattr(nuclei, "TNBC_CASES", 4)
    monkeypatch.setattr(nuclei, "DSB_CASES", 3)
    monkeypatch.setattr(pannuke, "PATCHES", {1: 4, 2: 2, 3: 2})


@pytest.fixture
def src(tmp_path: Path) -> Path:
    folder = tmp_path / "download"
    folder.mkdir()
    return folder


def fingerprint(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def through(name: str, src: Path) -> dict[str, list]:
    """Prepares, checks what holds for every collection, and gives each site's cases as they train."""
    before = fingerprint(src)
    dst = src.parent / "sites"
    done = prepare(name, src, dst)
    assert fingerprint(src) == before
    assert not [path for path in dst.rglob("*") if path.is_symlink()]
    assert sorted(path.name for path in src.parent.iterdir()) == ["download", "sites"]
    sites = sites_from_file(dst / "sites.toml")
    assert {site.site for site in sites} == set(done.cases)
    loaded = {}
    for site in sites:
        cases, labels = find_cases(site), labels_of(site, done.classes)
        assert len(cases) == done.cases[site.site]
        loaded[site.site] = [load_case(case, labels, ImageSettings()) for case in cases]
    _check_list(dst, src, loaded)
    return loaded


def _check_list(dst: Path, src: Path, loaded: dict[str, list]) -> None:
    rows = list(csv.DictReader((dst / "cases.csv").open(encoding="utf-8")))
    for row in rows:
        assert (dst / row["file"]).is_file()
        assert hashlib.sha256((src / row["source"]).read_bytes()).hexdigest() == row["sha256"]
    listed = {(row["site"], row["id"], row["role"]) for row in rows}
    cases = {(site, data.case.id) for site, all_of_it in loaded.items() for data in all_of_it}
    assert listed == {(*case, role) for case in cases for role in ("image", "mask")}


def test_prostate(src, caplog):
    trees.prostate(src, SIX)
    loaded = through("prostate", src)
    assert {site: len(cases) for site, cases in loaded.items()} == SIX
    for cases in loaded.values():
        assert [data.case.patient for data in cases] == ["Case00", "Case01"]
        assert [data.target.sum() for data in cases] == [32, 32]  # both zones of RUNMC too
    image = loaded["UCL"][0].case.image
    original = nibabel.load(src / "Prostate/UCL/Case00.nii.gz")
    assert image.read_bytes() == (src / "Prostate/UCL/Case00.nii.gz").read_bytes()
    mask = nibabel.load(loaded["UCL"][0].case.mask)
    np.testing.assert_allclose(mask.affine, original.affine, atol=1e-5)
    assert (mask.get_data_dtype(), np.asarray(mask.dataobj).sum()) == (np.uint8, 32)
    assert "UCL: 1 masks have another header" in caplog.text


def test_fundus_of_feddg(src):
    trees.feddg(src, FOUR)
    loaded = through("fundus", src)
    assert list(loaded) == ["Drishti-GS", "RIM-ONE-r3", "REFUGE-train", "REFUGE-val"]
    _disc_and_cup(loaded)


def test_fundus_of_fedfms(src):
    trees.fedfms(src)
    loaded = through("fundus", src)
    assert {site: len(cases) for site, cases in loaded.items()} == fundus.FEDFMS
    _disc_and_cup(loaded)


def _disc_and_cup(loaded):
    for cases in loaded.values():
        for data in cases:
            disc, cup = data.target[:, 0]
            assert disc[trees.DISC].all()
            assert cup[trees.CUP].all()
            assert (disc.sum(), cup.sum()) == (120, 20)


def test_fundus_refuses_the_same_eyes_twice(src):
    trees.feddg(src, FOUR)
    trees.fedfms(src)
    with pytest.raises(DataError, match="share images") as caught:
        prepare("fundus", src, src.parent / "sites")
    assert caught.value.code == "PFS-209"


def test_fundus_masks_of_another_coding_are_refused(src):
    trees.feddg(src, FOUR)
    trees.picture(next(src.rglob("Domain2/train/ROIs/mask/*.png")), trees.rim_and_cup(0, 128, 255))
    with pytest.raises(DataError, match="RIM-ONE-r3/g0001: its corners are not background"):
        prepare("fundus", src, src.parent / "sites")


def test_nuclei_of_all_four(src):
    trees.pannuke(src, pannuke.PATCHES)
    trees.monuseg(src, 2, 1)
    trees.tnbc(src, slides=2, each=2)
    trees.dsb(src)
    loaded = through("nuclei", src)
    assert {site: len(cases) for site, cases in loaded.items()} == {
        "PanNuke-Adrenal_gland": 4,
        "PanNuke-Head-Neck": 4,
        "MoNuSeg": 3,
        "TNBC": 4,
        "DSB2018-brightfield": 1,
        "DSB2018-fluorescence": 1,
        "DSB2018-tissue": 1,
    }
    assert [data.case.patient for data in loaded["TNBC"]] == ["Slide_01", "Slide_01", "Slide_02", "Slide_02"]
    assert {int(data.target.sum()) for data in loaded["TNBC"]} == {120}
    assert {int(data.target.sum()) for data in loaded["DSB2018-tissue"]} == {4 + 15}
    assert {int(data.target.sum()) for data in loaded["PanNuke-Head-Neck"]} == {4 * 6 + 9}
    polygon = loaded["MoNuSeg"][0].target[0, 0]
    assert polygon[2:7, 3:10].all()
    assert polygon.sum() == 35
    fold = loaded["PanNuke-Adrenal_gland"][0].case
    assert fold.id == "fold1-0001"
    pixels = np.load(src / "Fold 1/images/fold1/images.npy")[1]
    np.testing.assert_array_equal(read_image(fold.image).values[0], pixels)


@pytest.mark.parametrize("name", COLLECTIONS)
def test_nothing_there_is_said_by_name(src, name):
    with pytest.raises(DataError) as caught:
        prepare(name, src, src.parent / "sites")
    assert caught.value.code == "PFS-209"
    assert {"prostate": "UCL", "fundus": "Domain3", "nuclei": "TNBC"}[name] in caught.value.local()
    assert not (src.parent / "sites").exists()


def test_every_deviation_comes_at_once_and_nothing_is_written(src):
    trees.prostate(src, SIX)
    root = src / "Prostate"
    shutil.rmtree(root / "HK")
    (root / "BMC/Case01.nii.gz").unlink()
    (root / "UCL/Case00_segmentation.nii.gz").write_bytes(b"cut")
    shutil.copy(root / "I2CVB/Case00.nii.gz", root / "I2CVB/Case07.nii.gz")
    shutil.copy(root / "I2CVB/Case00_segmentation.nii.gz", root / "I2CVB/Case07_segmentation.nii.gz")
    nibabel.save(
        nibabel.Nifti1Image(np.zeros((9, 9, 4)), np.eye(4)), root / "RUNMC/Case01_segmentation.nii.gz"
    )
    with pytest.raises(DataError) as caught:
        prepare("prostate", src, src.parent / "sites")
    for said in (
        "the folder HK is missing",
        "BMC: 1 names have an image or a mask alone: Case01",
        "BMC: 1 cases, but 2 were published",
        "UCL: Case00_segmentation.nii.gz: ",
        "I2CVB: 3 cases, but 2 were published",
        "RUNMC: Case01: image and mask differ",
    ):
        assert said in caught.value.local()
    assert caught.value.counts == {"faults": 6}
    assert [path.name for path in src.parent.iterdir()] == ["download"]


def test_a_file_that_is_cut_inside_leaves_nothing_behind(src):
    trees.tnbc(src, slides=2, each=2)
    path = src / "TNBC_NucleiSegmentation/Slide_02/02_1.png"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match="TNBC/Slide_02-02_1: ") as caught:
        prepare("nuclei", src, src.parent / "sites")
    assert caught.value.code == "PFS-209"
    assert [p.name for p in src.parent.iterdir()] == ["download"]


def test_an_interruption_leaves_nothing_behind(src):
    trees.tnbc(src, slides=2, each=2)

    def stop(done, total, site):
        assert (total, site) == (4, "TNBC")
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare("nuclei", src, src.parent / "sites", stop)
    assert [p.name for p in src.parent.iterdir()] == ["download"]


def test_pickled_arrays_are_never_opened(src):
    trees.pannuke(src, pannuke.PATCHES)
    ran = src.parent / "ran"

    class Trap:
        def __reduce__(self):
            return ran.mkdir, ()

    for path in src.rglob("types.npy"):
        np.save(path, np.array([Trap()] * 4, dtype=object), allow_pickle=True)
    (src / "Fold 2/masks/fold2/masks.npy").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(DataError, match=r"Fold 1: types.npy cannot be read") as caught:
        prepare("nuclei", src, src.parent / "sites")
    assert "Fold 2: masks.npy cannot be read" in caught.value.local()
    assert not ran.exists()


def test_monuseg_annotations_that_are_no_xml_are_faults(src):
    trees.monuseg(src, 2, 1)
    bodies = iter(("<Annotations>", "<A><Region><Vertex X='nan' Y='1'/></Region></A>"))
    for path in sorted(src.rglob("Annotations/*.xml")):
        path.write_text(next(bodies))
    with pytest.raises(DataError) as caught:
        prepare("nuclei", src, src.parent / "sites")
    assert caught.value.local().count("the annotation cannot be read") == 2


def test_the_target_must_be_new_and_outside(src):
    trees.tnbc(src, slides=2, each=2)
    used = src.parent / "used"
    (used / "x").mkdir(parents=True)
    for dst in (used, src / "sites", src):
        with pytest.raises(StoreError) as caught:
            prepare("nuclei", src, dst)
        assert caught.value.code == "PFS-604"
    (used / "x").rmdir()
    prepare("nuclei", src, used)
    assert sorted(path.name for path in used.iterdir()) == ["TNBC", "cases.csv", "sites.toml"]
    assert read_mask(used / "TNBC/masks/Slide_01-01_1.png")[0].max() == 1
