"""``pfedsam predict --run``: a small run's own models, its own numbers again, every failure a sentence."""

import csv
import json
import re
import shutil
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import nibabel
import numpy as np
import pytest
from federation_runs import events, start
from PIL import Image
from safetensors.numpy import load_file

from pfedsam_flower.cli.__main__ import main
from pfedsam_flower.data.phantoms import write_phantoms
from pfedsam_flower.settings.sources import default_flat, sites_from_file
from pfedsam_flower.site.rounds import save_round

SITE = "north"
SMALL = {
    "image.size": 28,
    "decoder.mode": "heads",
    "rounds": 1,
    "training.global-steps": 12,
    "training.local-steps": 6,
    "training.learning-rate-shared": 0.01,
    "training.batch-size": 2,
    "federation.name": "test",
}


class Ended(NamedTuple):
    """A run that is over: the coordinator's folder, the sites' file, north's numbers of the closing round."""

    folder: Path
    sites: Path
    numbers: dict[str, float]
    tested: list[str]


@pytest.fixture(scope="module")
def ended(tmp_path_factory) -> Ended:
    return a_run(tmp_path_factory.mktemp("run"))


def a_run(root: Path, **changes: Any) -> Ended:
    write_phantoms(root / "sites", n_sites=2, patients=5, slices=1, size=40)
    file = root / "sites" / "sites.toml"
    sites = sites_from_file(file)
    flat: dict[str, Any] = default_flat() | SMALL | changes
    flat["coordinator.folder"] = str(root / "runs")
    start(flat, sites)
    [closing] = [e for e in events(flat, "reply") if e["kind"] == "close" and e["site"] == SITE]
    [site] = [site for site in sites if site.site == SITE]
    split = json.loads((Path(site.state) / "test" / SITE / "split.json").read_text())
    return Ended(root / "runs" / "test", file, closing["metrics"], split["test"])


@pytest.fixture
def no_network(monkeypatch):
    """Fails the test when a backbone is built."""
    from pfedsam_flower.site import trained

    monkeypatch.setattr(trained, "build", lambda *args: pytest.fail("a backbone was built"))


def predict(ended: Ended, source: Path, output: Path, *words: str) -> int:
    return main(["predict", str(source), "--output", str(output), "--run", str(ended.folder), *words])


def as_site(ended: Ended) -> list[str]:
    return ["--sites", str(ended.sites), "--site", SITE]


def chosen(ended: Ended, kind: str, folder: Path) -> Path:
    """The test patients' images or masks in a folder of their own."""
    folder.mkdir()
    found = [
        p for p in (ended.sites.parent / SITE / kind).iterdir() if p.name.rsplit("-s", 1)[0] in ended.tested
    ]
    assert found
    for path in found:
        shutil.copy(path, folder)
    return folder


def files(folder: Path) -> set[str]:
    return (
        {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} if folder.exists() else set()
    )


@pytest.mark.parametrize("method", ["fedavg-ft", "pfedsam-tuned"])
def test_a_copy_that_a_site_keeps_is_what_predicts(method, tmp_path, capsys):
    done = a_run(tmp_path / "run", method=method)
    images, masks = chosen(done, "images", tmp_path / "i"), chosen(done, "masks", tmp_path / "m")
    scores = {}
    for model, name in (("personalised", "personal"), ("global", "global"), ("deployed", "deployed")):
        words = [*as_site(done), "--model", model, "--references", str(masks), "--json"]
        assert predict(done, images, tmp_path / model, *words) == 0
        cases = json.loads(capsys.readouterr().out)["cases"]
        dice = [one["dice"] for case in cases for one in case["classes"].values()]
        scores[model] = fmean(d for d in dice if d is not None)
        assert scores[model] == pytest.approx(done.numbers[f"test.dice.{name}"], abs=1e-12)
    assert scores["personalised"] != scores["global"]


@pytest.mark.parametrize(
    ("model", "name"), [("deployed", "deployed"), ("personalised", "personal"), ("global", "global")]
)
def test_the_scores_are_those_that_the_site_gave_in_the_closing_round(ended, tmp_path, model, name, capsys):
    images, masks = chosen(ended, "images", tmp_path / "i"), chosen(ended, "masks", tmp_path / "m")
    words = [*as_site(ended), "--model", model, "--references", str(masks), "--json"]
    assert predict(ended, images, tmp_path / "out", *words) == 0
    answer = json.loads(capsys.readouterr().out)
    dice = [one["dice"] for case in answer["cases"] for one in case["classes"].values()]
    assert len(dice) == 2 * len(ended.tested)
    assert fmean(d for d in dice if d is not None) == pytest.approx(
        ended.numbers[f"test.dice.{name}"], abs=1e-12
    )
    with (tmp_path / "out/scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["dice"] for row in rows] == ["" if d is None else f"{d:.4f}" for d in dice]
    assert {row["unit"] for row in rows} == {"pixel"}
    mixes = {k.removeprefix("mix."): v for k, v in ended.numbers.items() if k.startswith("mix.")}
    assert answer["mix"] == (mixes if model == "deployed" else {name: 1})


def test_the_models_differ_and_the_run_marks_something(ended):
    models = {ended.numbers[f"test.dice.{name}"] for name in ("deployed", "personal", "global", "alone")}
    assert len(models) > 1
    assert max(models) > 0


def test_a_folder_with_a_damaged_file(ended, tmp_path, capsys):
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    picture = (np.random.default_rng(0).random((30, 44)) * 255).astype(np.uint8)
    Image.fromarray(picture).save(source / "b.png")
    affine = np.diag([2.0, 2.0, 4.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(np.tile(picture.T[..., None], 3), affine), source / "c.nii.gz")
    (source / "a.png").write_bytes((source / "b.png").read_bytes()[:300])
    (source / "d.nii.gz").write_bytes((source / "c.nii.gz").read_bytes()[:400])
    (source / "notes.txt").write_text("no image")
    assert predict(ended, source, out, "--model", "global", "--probabilities") == 1
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    assert captured.err.count("PFS-204") == 2
    assert f"where: {source / 'a.png'}" in captured.err
    assert f"where: {source / 'd.nii.gz'}" in captured.err
    first, b, c, last, sum_, notes = captured.out.splitlines()
    assert first == "global model, federation test, round 1: global 1.00"
    assert b.startswith("b: organ ")
    assert b.endswith(str(out / "b.png"))
    assert " ml; lesion " in c
    assert last == f"2 of 4 written to {out}; values in {out / 'labels.json'}"
    assert sum_ == f"5 files below {source}: 4 used, 1 passed over"
    assert notes == "  1 of a format that is not read: notes.txt"
    each = [f"{folder}{name}" for folder in ("probabilities/organ/", "probabilities/lesion/") for name in
            ("b.tif", "c.nii.gz")]  # fmt: skip
    assert files(out) == {"labels.json", "b.png", "c.nii.gz", *each}
    labels = json.loads((out / "labels.json").read_text())
    assert labels["labels"] == {"background": 0, "organ": 1, "lesion": 2}
    assert (labels["model"], labels["site"], labels["round"]) == ("global", None, 1)


def test_what_is_passed_over_is_told_and_makes_the_exit_status(ended, tmp_path, capsys):
    source, out = tmp_path / "in", tmp_path / "out"
    (source / "p7" / "today").mkdir(parents=True)
    picture = (np.random.default_rng(0).random((30, 44)) * 255).astype(np.uint8)
    for name in ("a.BMP", "p7/today/b.png"):
        Image.fromarray(picture).save(source / name)
    (source / ".DS_Store").write_bytes(b"")
    assert predict(ended, source, out / "1", "--model", "global") == 0, "a viewer's file is nobody's data"
    (source / "p7" / "c.webp").write_bytes(b"")
    assert predict(ended, source, out / "2", "--model", "global") == 3
    assert "2 used, 2 passed over" in capsys.readouterr().out
    assert predict(ended, source, out / "3", "--model", "global", "--json") == 3
    told = json.loads(capsys.readouterr().out)["passed_over"]
    assert told == {"system": [str(source / ".DS_Store")], "format": [str(source / "p7" / "c.webp")]}
    assert files(out / "2") == {"labels.json", "a.png", "p7-today-b.png"}


def test_on_a_terminal_a_bar_counts_slices(ended, tmp_path, monkeypatch, capsys):
    import io

    from rich.console import Console

    from pfedsam_flower.cli import render

    shown = io.StringIO()
    monkeypatch.setattr(render, "console", lambda: Console(file=shown, force_terminal=True, width=100))
    stack = [Image.new("L", (20, 20), 9 * z) for z in range(11)]
    stack[0].save(tmp_path / "[b]stack.tif", save_all=True, append_images=stack[1:])
    assert predict(ended, tmp_path / "[b]stack.tif", tmp_path / "out", "--model", "global") == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.getvalue())
    assert "1/1 [b]stack" in text
    assert "11/11 slices" in text
    assert files(tmp_path / "out") == {"labels.json", "[b]stack.tif"}


def test_a_node_config_is_a_site_s_file_too(ended, tmp_path, capsys):
    [table] = [t for t in ended.sites.read_text().split("[[site]]") if f'site = "{SITE}"' in t]
    for folder in ("data", "state"):  # a node config's folders are those of the process
        table = table.replace(f'{folder} = "', f'{folder} = "{ended.sites.parent}/')
    (tmp_path / "node.toml").write_text(table)
    image = next((ended.sites.parent / SITE / "images").iterdir())
    assert predict(ended, image, tmp_path / "out", "--sites", str(tmp_path / "node.toml")) == 0
    assert capsys.readouterr().out.startswith("deployed model, federation test, round 1: alone 0.")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "PFS-103 the deployed model is a site's own, and no site is named"),
        (["--model", "personalised"], "PFS-103 the personalised model is a site's own"),
        (["--site", "north"], "PFS-103 --site north needs --sites FILE"),
        (["--sites", "SITES", "--site", "norht"], "has no site norht; did you mean north?"),
        (["--sites", "SITES"], "has 2 sites: north, harbour"),
        (["--box", "1,2,3,4", "--size", "56"], "PFS-103 --box, --size does not go with --run"),
        (["--references", "nowhere"], "PFS-201 the folder of references cannot be read"),
        (["--references", "."], "PFS-202 1 of 1 images have no reference of the same name: scan"),
    ],
)
def test_what_cannot_be_done_is_said_before_a_backbone_is_built(
    ended, tmp_path, words, said, no_network, capsys
):
    Image.new("L", (9, 9)).save(tmp_path / "scan.png")
    words = [str(ended.sites) if word == "SITES" else word for word in words]
    assert predict(ended, tmp_path / "scan.png", tmp_path / "out", *words) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("word", ["--probabilities", "--per-class", "--model=global", "--tolerance=1"])
def test_options_of_a_run_need_one(word, tmp_path, capsys):
    assert main(["predict", "scan.png", "--output", str(tmp_path / "out"), "--box", "1,1,5,5", word]) == 1
    assert f"PFS-103 {word.split('=')[0]} needs --run" in capsys.readouterr().err


def test_a_folder_with_anything_in_it_is_refused(ended, tmp_path, no_network, capsys):
    Image.new("L", (9, 9)).save(tmp_path / "scan.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/scan.png").write_text("mine")
    assert predict(ended, tmp_path / "scan.png", tmp_path / "out", "--model", "global") == 1
    assert capsys.readouterr().err.startswith("PFS-604 the folder is not empty")
    assert (tmp_path / "out/scan.png").read_text() == "mine"
    assert files(tmp_path / "out") == {"scan.png"}


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "PFS-201 the folder has no image"),
        (["a.png", "slice.dcm"], "PFS-202 the folder holds DICOM files, and 1 other images: a.png"),
        (["a.png", "a.tif"], "PFS-202 1 names belong to more than one image: a.png and a.tif"),
        (None, "PFS-201 there is no such file or folder"),
    ],
)
def test_inputs_that_are_none(ended, tmp_path, names, said, no_network, capsys):
    if names is not None:
        (tmp_path / "in").mkdir()
        for name in names:
            if name == "slice.dcm":
                (tmp_path / "in" / name).write_bytes(bytes(128) + b"DICM")
            else:
                Image.new("L", (9, 9)).save(tmp_path / "in" / name)
    assert predict(ended, tmp_path / "in", tmp_path / "out", "--model", "global") == 1
    assert capsys.readouterr().err.startswith(said)
    assert not (tmp_path / "out").exists()


def spoilt(ended: Ended, folder: Path) -> Ended:
    return ended._replace(folder=Path(shutil.copytree(ended.folder, folder / "copy")))


def drop_settings(folder: Path) -> None:
    (folder / "settings.json").unlink()


def drop_rounds(folder: Path) -> None:
    shutil.rmtree(folder / "round-0001")


def cut_round(folder: Path) -> None:
    path = folder / "round-0001/shared.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def other_backbone(folder: Path) -> None:
    path = folder / "contract.json"
    contract = json.loads(path.read_text())
    contract["backbone"] = "0" * 64
    path.write_text(json.dumps(contract, separators=(",", ":")))


def one_round_more(folder: Path) -> None:
    save_round(folder, 2, load_file(folder / "round-0001/shared.safetensors")["shared"] + 1)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (drop_settings, "PFS-603 the run's settings cannot be read"),
        (drop_rounds, "PFS-603 the run has no finished round"),
        (cut_round, "PFS-603 a round's file is damaged"),
        (other_backbone, "PFS-401 the run was trained on other backbone weights"),
        (one_round_more, "PFS-603 north has no personal parameters for the shared ones of round 2"),
    ],
)
def test_a_run_that_is_not_whole(ended, tmp_path, spoil, said, capsys):
    copy = spoilt(ended, tmp_path)
    spoil(copy.folder)
    Image.new("L", (9, 9)).save(tmp_path / "scan.png")
    assert predict(copy, tmp_path / "scan.png", tmp_path / "out", *as_site(ended)) == 1
    assert capsys.readouterr().err.startswith(said)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.nan, "PFS-603 1 of"),
        (np.inf, "PFS-603 1 of"),
        (3e38, "PFS-403"),  # finite, and yet no answer of theirs is
    ],
)
def test_parameters_that_are_not_finite_mark_nothing_and_say_so(ended, tmp_path, value, said, capsys):
    copy = spoilt(ended, tmp_path)
    shared = load_file(copy.folder / "round-0001/shared.safetensors")["shared"].copy()
    shared[:] = value if value == 3e38 else shared
    shared[7] = value
    save_round(copy.folder, 1, shared)
    Image.new("L", (9, 9)).save(tmp_path / "scan.png")
    assert predict(copy, tmp_path / "scan.png", tmp_path / "out", "--model", "global") == 1
    assert said in capsys.readouterr().err
    assert not list((tmp_path / "out").rglob("*.png"))
    words = ["--run", str(copy.folder), *as_site(ended), "--steps", "1"]
    if said.startswith("PFS-603"):
        assert main(["onboard", *words]) == 1
        assert said in capsys.readouterr().err
