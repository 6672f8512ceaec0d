"""``pfedsam check-data``: facts, findings, remedies, exit statuses, JSON and the contact sheet."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from pfedsam_flower.cli.__main__ import main
from pfedsam_flower.data.phantoms import write_phantoms

CLASSES = ["--set", "classes=organ,lesion"]


@pytest.fixture
def hospitals(tmp_path) -> Path:
    write_phantoms(tmp_path / "sites", n_sites=2, patients=4, slices=2, size=48)
    return tmp_path / "sites"


def test_a_fit_site_is_0_and_its_facts_are_said(hospitals, capsys):
    before = sorted(hospitals.rglob("*"))
    words = ["--sites", str(hospitals / "sites.toml"), "--site", "north"]
    assert main(["check-data", *words, *CLASSES]) == 0
    said, shown = capsys.readouterr()
    assert (
        "8 of 8 cases can be used, of 4 patients; patients in the split: 2 train, 1 validation, 1 test"
        in said
    )
    assert ["rows", "48", "48", "48"] in [line.split() for line in said.splitlines()]
    assert "0 error(s), 0 warning(s); the data is fit" in said
    assert "harbour" not in said
    assert shown == ""
    assert sorted(hospitals.rglob("*")) == before


def test_the_file_that_a_site_is_started_with_will_do(hospitals, tmp_path, capsys):
    config = tmp_path / "north.toml"
    config.write_text(
        f'site = "north"\ndata = "{hospitals / "north"}"\nstate = "{tmp_path / "state"}"\n'
        "labels = 'organ=128+255,lesion=255'\npatient = '^(.+)-s\\d+$'\n"
    )
    assert main(["check-data", "--sites", str(config), *CLASSES]) == 0
    assert "north: 0 error(s), 0 warning(s)" in capsys.readouterr().out


def test_warnings_alone_are_3_and_errors_1_with_file_and_remedy(hospitals, capsys):
    mask = sorted((hospitals / "north/masks").iterdir())[0]
    words = [
        "check-data",
        str(hospitals / "north"),
        "--patient",
        "^(.+)-s",
        "--labels",
        "organ=128+255,lesion=255",
    ]
    Image.fromarray(np.zeros((48, 48), np.uint8)).save(mask)
    assert main([*words, *CLASSES]) == 3
    said = capsys.readouterr().out
    assert "warning PFS-211 a mask is empty or nearly so" in said
    assert f"{mask}: the mask is empty" in said
    assert "remedy: right when nothing is there to mark" in said
    mask.write_bytes(b"cut")
    assert main([*words, *CLASSES]) == 1
    said = capsys.readouterr().out
    assert "error PFS-204 a file cannot be read" in said
    assert f"{mask}: " in said
    assert "remedy: copy or export it again" in said


def test_json_has_every_case_and_finding_of_every_site(hospitals, capsys):
    sorted((hospitals / "harbour/images").iterdir())[0].write_bytes(b"cut")
    assert main(["check-data", "--sites", str(hospitals / "sites.toml"), "--json", *CLASSES]) == 1
    harbour, north = sorted(json.loads(capsys.readouterr().out)["sites"], key=lambda one: one["site"])
    assert (harbour["status"], north["status"]) == ("errors", "fit")
    assert (harbour["n_cases"], len(harbour["facts"]), len(north["facts"])) == (8, 7, 8)
    (finding,) = harbour["findings"]
    assert (finding["code"], finding["severity"], Path(finding["where"]).suffix) == (
        "PFS-204",
        "error",
        ".png",
    )


def test_many_findings_of_a_kind_are_cut_on_the_screen_only(hospitals, capsys):
    for path in (hospitals / "north/images").iterdir():
        (path.with_name(path.stem + "-again-s0.png")).write_bytes(path.read_bytes())
        mask = hospitals / "north/masks" / path.name
        mask.with_name(path.stem + "-again-s0.png").write_bytes(mask.read_bytes())
        (path.with_name(path.stem + "-more-s0.png")).write_bytes(path.read_bytes())
        mask.with_name(path.stem + "-more-s0.png").write_bytes(mask.read_bytes())
    words = ["check-data", "--sites", str(hospitals / "sites.toml"), "--site", "north", *CLASSES]
    assert main([*words, "--patient", "^(.+?)-s"]) == 3
    said = capsys.readouterr().out
    assert "warning PFS-210 the same image stands more than once in the data: 16" in said
    assert "and 6 more; --json lists them all" in said
    main([*words, "--patient", "^(.+?)-s", "--json"])
    assert len(json.loads(capsys.readouterr().out)["sites"][0]["findings"]) == 16


def test_the_contact_sheet_is_a_picture(hospitals, tmp_path, capsys):
    sheet = tmp_path / "sheet.png"
    words = ["check-data", "--sites", str(hospitals / "sites.toml"), "--contact-sheet", str(sheet), *CLASSES]
    assert main(words) == 1
    assert "add --site NAME" in capsys.readouterr().err
    assert main([*words, "--site", "north"]) == 0
    assert Image.open(sheet).size[0] > 500
    assert str(sheet) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "either a SITE_FOLDER or --sites"),
        (["a", "--sites", "b"], "either a SITE_FOLDER or --sites"),
        (["a", "--site", "north"], "chooses from --sites"),
        (["--sites", "{sites}", "--site", "nort"], "did you mean north?"),
        (["nowhere", "--set", "clases=organ"], "did you mean classes?"),
        (["a", "--contact-sheet", "sheet.pdf"], "ends in .png"),
    ],
)
def test_what_cannot_be_done_is_said(words, said, hospitals, capsys):
    assert main(["check-data", *(word.format(sites=hospitals / "sites.toml") for word in words)]) == 1
    assert said in capsys.readouterr().err


def test_long_and_flat_slices_have_a_sheet(tmp_path):
    for name in ("images", "masks"):
        (tmp_path / "north" / name).mkdir(parents=True)
        for patient in range(3):
            values = np.zeros((600, 40, 3), np.int16)
            values[200:400, 10:20] = 255
            if name == "images":
                values[:, :, :] += np.random.default_rng(patient).integers(0, 200, values.shape, np.int16)
            image = nibabel.Nifti1Image(values, np.diag((1, 1, 4, 1)))
            nibabel.save(image, tmp_path / "north" / name / f"p{patient}.nii.gz")
    sheet = tmp_path / "sheet.png"
    words = ["check-data", str(tmp_path / "north"), "--labels", "lesion=255", "--set", "classes=lesion"]
    assert main([*words, "--set", "image.plane=coronal", "--contact-sheet", str(sheet)]) in (0, 3)
    assert sheet.stat().st_size > 1000


def test_what_the_system_refuses_is_a_sentence(hospitals, monkeypatch, capsys):
    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "is_dir", refuse)
    assert main(["check-data", str(hospitals / "north")]) == 1
    said = capsys.readouterr().err
    assert said.startswith("Permission denied\n  where: ")


def test_a_folder_that_is_not_there_is_a_finding(tmp_path, capsys):
    assert main(["check-data", str(tmp_path / "nowhere")]) == 1
    assert "error PFS-201" in capsys.readouterr().out


def test_the_statuses_are_in_the_help(capsys):
    assert main(["check-data", "--help"]) == 0
    assert "3 it has warnings only" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("classes=organ,big lesion", "'big lesion' is no name for a class"),
        ("classes=organ,organ", "a name is given twice"),
        ("image.size=57", "image."),
        ("backbone.name=vit_x", "no such backbone"),
        ("method=nothing", "no such method"),
    ],
)
def test_what_a_run_refuses_is_refused_here(hospitals, capsys, setting, said):
    words = ["check-data", "--sites", str(hospitals / "sites.toml"), "--set", setting]
    assert main(words) == 1
    shown = capsys.readouterr().err
    assert "PFS-101" in shown
    assert said in shown


def test_two_sites_of_one_data_are_refused_unless_one_is_chosen(hospitals, capsys):
    listing = hospitals / "sites.toml"
    (hospitals / "link").symlink_to(hospitals / "north")
    listing.write_text(listing.read_text().replace('data = "harbour"', 'data = "link"'))
    assert main(["check-data", "--sites", str(listing), *CLASSES]) == 1
    assert "have the same data" in capsys.readouterr().err
    assert main(["check-data", "--sites", str(listing), "--site", "north", *CLASSES]) == 0
