"""``pfedsam predict``: files on the image's own grid, one line per object, refusals come first."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pfedsam_flower.cli.__main__ import main

FAST = ["--backbone", "vit_tiny", "--size", "56"]


@pytest.fixture
def image(tmp_path) -> Path:
    path = tmp_path / "scan.png"
    values = np.random.default_rng(0).integers(0, 256, (40, 90), np.uint8)
    Image.fromarray(values).save(path)
    return path


@pytest.fixture
def volume(tmp_path) -> Path:
    path = tmp_path / "stack.tif"
    slices = np.random.default_rng(0).integers(0, 4096, (3, 30, 50)).astype(np.uint16)
    first, *more = (Image.fromarray(one) for one in slices)
    first.save(path, save_all=True, append_images=more)
    return path


@pytest.fixture
def no_network(monkeypatch):
    """Fails the test when a backbone is built."""
    from pfedsam_flower.model.sam import load

    monkeypatch.setattr(load, "load_sam", lambda *args: pytest.fail("a backbone was built"))


def predict(image: Path, *words: str) -> int:
    return main(["predict", str(image), "--output", str(image.parent / "out"), *FAST, *words])


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def test_mask_and_overlay_are_on_the_image_s_grid_and_a_line_says_what_was_found(image, capsys):
    assert predict(image, "--box", "10,5,60,30") == 0
    out = image.parent / "out"
    assert names(out) == {"scan-mask-1.png", "scan-overlay.png"}
    with Image.open(out / "scan-mask-1.png") as mask, Image.open(out / "scan-overlay.png") as overlay:
        assert (mask.mode, mask.size) == ("L", (90, 40))
        values = np.asarray(mask)
        assert set(np.unique(values)) <= {0, 255}
        assert overlay.mode == "RGB"
        assert overlay.size == (90 * 8, 40 * 8)
    weights, line, last = capsys.readouterr().out.splitlines()
    assert weights.startswith("vit_tiny, ")
    assert line.startswith(f"box 10,5,60,30: {(values == 255).sum()} pixels, quality ")
    assert line.endswith(str(out / "scan-mask-1.png"))
    assert last == f"overlay: {out / 'scan-overlay.png'}"


def test_several_boxes_are_several_objects(image, capsys):
    assert predict(image, "--box", "10,5,60,30", "--box", "0,0,90,40", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert [one["box"] for one in answer["objects"]] == [[10, 5, 60, 30], [0, 0, 90, 40]]
    for number, one in enumerate(answer["objects"], 1):
        assert one["mask"].endswith(f"scan-mask-{number}.png")
        with Image.open(one["mask"]) as mask:
            assert (np.asarray(mask) == 255).sum() == one["pixels"]


def test_points_mark_one_object_with_the_box(image, capsys):
    words = ["--point", "20,10", "--point", "3,3,0", "--point", "30,10,1", "--box", "10,5,60,30", "--json"]
    assert predict(image, *words) == 0
    [one] = json.loads(capsys.readouterr().out)["objects"]
    assert one["points"] == [[20, 10, True], [3, 3, False], [30, 10, True]]
    assert one["box"] == [10, 5, 60, 30]


def test_a_slice_of_a_volume_is_named(volume, capsys):
    assert predict(volume, "--point", "20,10", "--slice", "2") == 0
    assert names(volume.parent / "out") == {"stack-slice2-mask-1.png", "stack-slice2-overlay.png"}


def test_a_slice_is_that_slice_with_the_intensities_of_the_whole_file(volume):
    from pfedsam_flower.cli.predict_prompted import read_slice

    with Image.open(volume) as file:
        file.seek(2)
        stored = np.asarray(file).astype(np.float64)
    got = read_slice(volume, 2)
    assert got.shape == (30, 50, 1)
    inside = (got[..., 0] > 0) & (got[..., 0] < 255)
    assert np.corrcoef(got[..., 0][inside], stored[inside])[0, 1] > 0.999999


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no box and no point is given"),
        (["--box", "10,5,91,30"], "box 10,5,91,30: reaches outside the image"),
        (["--box", "60,5,10,30"], "x2 = 10 is not to the right of x1 = 60"),
        (["--point", "90,5"], "point 90,5: lies outside the image"),
        (["--point", "9,5,0"], "says only where the object is not"),
        (["--box", "1,1,9,9", "--box", "1,1,5,5", "--point", "3,3"], "to which the points belong"),
        (["--box", "1,1,9,9", "--slice", "1"], "there is no slice 1: it has 1 slice(s), 0 to 0"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_a_backbone_is_built(image, words, said, no_network, capsys):
    assert predict(image, *words) == 1
    err = capsys.readouterr().err
    assert err.startswith("PFS-103 ")
    assert said in err
    assert not (image.parent / "out").exists()


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ("60", "size = 60: vit_tiny needs a multiple of 14, for example 56 or 70"),
        ("0", "size = 0: "),
        ("-14", "size = -14: "),
    ],
)
def test_a_size_that_the_backbone_cannot_work_at_is_refused(image, size, said, no_network, capsys):
    assert predict(image, "--box", "10,5,60,30", "--size", size) == 1
    err = capsys.readouterr().err
    assert err.startswith("PFS-101 ")
    assert said in err
    assert not (image.parent / "out").exists()


def test_a_volume_without_a_slice_is_refused(volume, no_network, capsys):
    assert predict(volume, "--point", "20,10") == 1
    assert "it has 3 slice(s), 0 to 2; say which one with --slice N" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["scan.png", "scan.txt", "missing.png"])
def test_an_image_that_cannot_be_read_is_a_sentence(name, tmp_path, no_network, capsys):
    if name != "missing.png":
        (tmp_path / name).write_bytes(b"\x89PNG and then nothing of the kind")
    assert predict(tmp_path / name, "--box", "1,1,9,9") == 1
    err = capsys.readouterr().err
    assert err.startswith("PFS-204 ")
    assert "Traceback" not in err


@pytest.mark.parametrize("kept", ["scan-mask-2.png", "scan-overlay.png"])
def test_nothing_is_overwritten(image, kept, no_network, capsys):
    out = image.parent / "out"
    out.mkdir()
    (out / kept).write_text("mine")
    assert predict(image, "--box", "10,5,60,30", "--box", "0,0,90,40") == 1
    assert f"where: {out / kept}" in capsys.readouterr().err
    assert names(out) == {kept}
    assert (out / kept).read_text() == "mine"


def test_an_output_that_is_a_file_is_a_sentence(image, no_network, capsys):
    (image.parent / "out").write_text("")
    assert predict(image, "--box", "10,5,60,30") == 1
    assert capsys.readouterr().err.startswith("PFS-604 the folder cannot be made")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--box", "1,2,3"], "'1,2,3' is not X1,Y1,X2,Y2"),
        (["--box", "a,b,c,d"], "is not X1,Y1,X2,Y2"),
        (["--point", "1"], "'1' is not X,Y or X,Y,0"),
        (["--point", "1,2,3"], "the third number is 1 on the object and 0 beside it"),
        (["--backbone", "vit_x"], "vit_tiny"),
    ],
)
def test_a_misspelt_prompt_is_the_command_line_s_fault(image, words, said, capsys):
    assert predict(image, *words) == 2
    assert said in capsys.readouterr().err


def test_weights_that_are_missing_are_a_sentence(image, capsys):
    assert predict(image, "--box", "10,5,60,30", "--backbone", "vit_b", "--size", "64") == 1
    assert capsys.readouterr().err.startswith("PFS-301 ")
    assert names(image.parent / "out") == set()
