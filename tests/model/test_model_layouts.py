"""A checkpoint's family is recognised by its names and shapes, whoever saved it and in whatever wrapping."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import published
import pytest
import torch
from safetensors.torch import save_file

from pfedsam_flower.errors import CheckpointError
from pfedsam_flower.model.sam.backbones import BACKBONES
from pfedsam_flower.model.sam.checkpoint import state_digest
from pfedsam_flower.model.sam.files import file_digest, weights_file
from pfedsam_flower.model.sam.load import load_sam
from pfedsam_flower.model.sam.modules import build_sam, untrained

State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def plain() -> State:
    return {k: v.clone() for k, v in untrained(BACKBONES["vit_tiny"], 224, 3).state_dict().items()}


@pytest.fixture(scope="module")
def lite() -> State:
    return published.tiny_vit(1)


WRAPPINGS: dict[str, Callable[[State], Any]] = {
    "bare": lambda s: s,
    "MedSAM's training output": lambda s: {"model": s, "optimizer": {"state": {}}, "epoch": 3},
    "several devices": lambda s: {"model": {f"module.{k}": v for k, v in s.items()}, "epoch": 3},
    "micro-sam's export": lambda s: {"model_state": {f"sam.{k}": v for k, v in s.items()}},
    "Lightning's": lambda s: {"state_dict": s, "lr_schedulers": []},
    "Hugging Face's names": published.hugging_face,
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_the_same_weights_in_any_wrapping_are_the_same_backbone(
    plain: State, tmp_path: Path, wrapping: str
) -> None:
    torch.save(WRAPPINGS[wrapping](plain), tmp_path / "weights.pth")
    sam, report = load_sam("vit_tiny", 224, str(tmp_path / "weights.pth"))
    assert state_digest(sam.state_dict()) == state_digest(plain)
    assert len(report.loaded) == len(plain)
    assert report.unexpected == report.missing == ()
    assert ("Hugging Face's" in report.sentence()) == ("Hugging Face" in wrapping)


def test_hugging_face_saves_tied_tensors_once(plain: State, tmp_path: Path) -> None:
    """``save_pretrained`` writes the position code under its second name alone."""
    tensors = published.hugging_face(plain)
    del tensors["prompt_encoder.shared_embedding.positional_embedding"]
    assert len(tensors) == len(plain)
    save_file(tensors, tmp_path / "model.safetensors")
    sam, _ = load_sam("vit_tiny", 224, str(tmp_path / "model.safetensors"))
    assert state_digest(sam.state_dict()) == state_digest(plain)


def test_our_own_names_load_too(lite: State, tmp_path: Path) -> None:
    torch.save(lite, tmp_path / "theirs.pth")
    sam, _ = load_sam("lite_medsam", 64, str(tmp_path / "theirs.pth"))
    save_file(sam.state_dict(), tmp_path / "ours.safetensors")
    again, report = load_sam("lite_medsam", 64, str(tmp_path / "ours.safetensors"))
    assert state_digest(again.state_dict()) == state_digest(sam.state_dict())
    assert len(report.loaded) == len(lite)


def test_mobile_sams_classifier_is_left_out_by_name(tmp_path: Path) -> None:
    state = published.tiny_vit(3, classifier=True)
    assert len(state) == 439
    torch.save(state, tmp_path / "m.pth")
    _, report = load_sam("mobile_sam", 64, str(tmp_path / "m.pth"))
    parts = ("head.bias", "head.weight", "norm_head.bias", "norm_head.weight")
    assert report.unexpected == tuple(f"image_encoder.{part}" for part in parts)
    assert len(report.loaded) == 435
    assert "4 left out" in report.sentence()


@pytest.mark.parametrize("width", [192, 384])
def test_efficient_sam_fills_all_but_what_it_does_not_have(tmp_path: Path, width: int) -> None:
    name = {192: "efficient_sam_ti", 384: "efficient_sam_s"}[width]
    state = published.efficient_sam(width)
    torch.save({"model": state}, tmp_path / "e.pt")
    sam, report = load_sam(name, 64, str(tmp_path / "e.pt"))
    assert len(report.loaded) == len(state) == 278
    lacking = (
        "prompt_encoder.mask_downscaling.",
        "prompt_encoder.no_mask_",
        "prompt_encoder.point_embeddings.0",
    )
    assert len(report.missing) == 12
    assert all(n.startswith(lacking) for n in report.missing)
    found = sam.state_dict()
    assert all(found[n].abs().sum() == 0 for n in report.missing)
    assert torch.equal(
        found["mask_decoder.transformer.layers.1.mlp.lin2.weight"],
        state["mask_decoder.transformer.layers.1.mlp.fc.weight"],
    )
    assert torch.equal(
        found["prompt_encoder.point_embeddings.1.weight"], state["prompt_encoder.point_embeddings.weight"]
    )


def refusal(name: str, tensors: Any, path: Path) -> str:
    torch.save(tensors, path)
    with pytest.raises(CheckpointError) as caught:
        load_sam(name, 224, str(path))
    assert caught.value.code == "PFS-302"
    assert str(path.parent) not in caught.value.public()
    return caught.value.local()


def test_another_family_is_named_with_what_to_set(plain: State, lite: State, tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    text = refusal("vit_tiny", lite, path)
    assert "this file is lite_medsam, the settings say vit_tiny" in text
    assert "set backbone.name = lite_medsam" in text
    assert "this file is mobile_sam" in refusal("lite_medsam", published.tiny_vit(3), path)
    assert "this file is vit_tiny" in refusal("vit_b", plain, path)
    assert "this file is efficient_sam_ti" in refusal("vit_b", published.efficient_sam(192), path)


def test_a_vit_b_may_be_sams_or_medsams(plain: State, tmp_path: Path) -> None:
    with torch.device("meta"):
        big = {n: v for n, v in build_sam(BACKBONES["vit_b"], 1024).state_dict().items() if "mlp" not in n}
    names = {n: torch.zeros(v.shape) for n, v in big.items() if v.numel() < 600_000}
    text = refusal("vit_tiny", names, tmp_path / "b.pth")
    assert "this file is vit_b or medsam_vit_b" in text


def without(state: State, part: str) -> State:
    return {n: v for n, v in state.items() if part not in n}


def test_parts_that_are_missing_are_refused_whatever_they_are(
    plain: State, lite: State, tmp_path: Path
) -> None:
    path = tmp_path / "x.pth"
    assert "2 of 435 tensors are missing" in refusal("lite_medsam", without(lite, "neck.3."), path)
    text = refusal("lite_medsam", without(lite, "layers.1.downsample.conv2.bn.running_var"), path)
    assert "image_encoder.blocks.1.merge.conv2.bn.running_var" in text
    assert "tensors are missing" in refusal("vit_tiny", without(plain, "mask_decoder."), path)
    assert "5 blocks" in refusal("vit_tiny", without(plain, "blocks.3."), path)
    assert "no backbone here has this encoder" in refusal(
        "lite_medsam", without(lite, "layers.2.blocks.5."), path
    )
    assert "it has shape (3, 3)" in refusal(
        "lite_medsam", lite | {"image_encoder.neck.0.weight": torch.zeros(3, 3)}, path
    )


def test_an_encoder_with_adapters_is_another_network(plain: State, tmp_path: Path) -> None:
    """SAM-Med2D's file: without its adapters its decoder would see features that it was never trained on."""
    adapters = {f"image_encoder.blocks.{i}.Adapter.channel.0.weight": torch.zeros(2, 3) for i in range(6)}
    text = refusal("vit_tiny", {"model": plain | adapters}, tmp_path / "x.pth")
    assert "its encoder has 6 tensors more than vit_tiny" in text
    assert "SAM-Med2D" in text


@pytest.mark.parametrize(
    "tensors",
    [
        {"w_a_000": torch.zeros(4, 768), "w_b_000": torch.zeros(768, 4)},
        {"conv1.weight": torch.zeros(64, 3, 7, 7)},
        {"image_encoder.patch_embed.seq.0.c.weight": torch.zeros(())},
    ],
)
def test_files_of_no_sam_get_a_sentence(tensors: State, tmp_path: Path) -> None:
    assert "PFS-302" in refusal("vit_tiny", tensors, tmp_path / "x.pth")


def test_a_published_file_of_another_row_is_named_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lite_medsam.pth"
    path.write_bytes(b"the published bytes")
    row = replace(BACKBONES["lite_medsam"], sha256=file_digest(path))
    monkeypatch.setitem(BACKBONES, "lite_medsam", row)
    assert weights_file("lite_medsam", str(path)) == path
    with pytest.raises(CheckpointError, match="this file is lite_medsam, the settings say vit_b") as caught:
        weights_file("vit_b", str(path))
    assert caught.value.code == "PFS-302"
    path.write_bytes(b"other bytes")
    with pytest.raises(CheckpointError, match="official one is") as caught:
        weights_file("lite_medsam", str(path))
    assert caught.value.code == "PFS-303"


def test_known_digests_are_whole_and_differ() -> None:
    digests = [d for row in BACKBONES.values() for d in (row.sha256, row.shipped_sha256) if d]
    assert len(set(digests)) == len(digests)
    assert all(len(d) == 64 and set(d) <= set("0123456789abcdef") for d in digests)
    assert all(row.file or row.shipped for row in BACKBONES.values())
