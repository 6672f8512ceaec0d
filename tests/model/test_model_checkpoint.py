"""Checkpoints load whole, or are refused with a sentence."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pfedsam_flower.errors import CheckpointError
from pfedsam_flower.model.build import build
from pfedsam_flower.model.sam.backbones import BACKBONES
from pfedsam_flower.model.sam.checkpoint import load_backbone, state_digest
from pfedsam_flower.model.sam.load import load_sam
from pfedsam_flower.model.sam.modules import build_sam
from pfedsam_flower.settings.run import BackboneSettings, ImageSettings, RunSettings

TINY = BACKBONES["vit_tiny"]


@pytest.fixture(scope="module")
def other() -> torch.nn.Module:
    torch.manual_seed(7)
    return build_sam(TINY, 224)


def state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in model.state_dict().items()}


def test_pth_and_safetensors_give_the_same_backbone(other: torch.nn.Module, tmp_path: Path) -> None:
    torch.save(state(other), tmp_path / "a.pth")
    save_file(state(other), tmp_path / "a.safetensors")
    run = RunSettings(image=ImageSettings(size=56))
    pth, safe = (build(run, str(tmp_path / f"a{suffix}")) for suffix in (".pth", ".safetensors"))
    assert pth.contract.hash == safe.contract.hash
    assert pth.contract.backbone == state_digest(other.state_dict()) != build(run, "").contract.backbone
    assert len(pth.report.loaded) == len(other.state_dict())
    assert torch.equal(
        pth.model.image_encoder.blocks[2].attn.qkv.weight, other.image_encoder.blocks[2].attn.qkv.weight
    )


def test_positions_of_another_grid_are_interpolated_and_surplus_is_reported(
    other: torch.nn.Module, tmp_path: Path
) -> None:
    tensors = state(other) | {"decoder.weight": torch.zeros(3)}
    tensors["image_encoder.pos_embed"] = torch.randn(1, 8, 8, 384)
    torch.save(tensors, tmp_path / "a.pth")
    report = load_backbone(build_sam(TINY, 112), "vit_tiny", tmp_path / "a.pth")
    assert report.interpolated == ("image_encoder.pos_embed",)
    assert report.unexpected == ("decoder.weight",)
    assert not report.official
    assert "1 interpolated" in report.sentence()


def damage(path: Path, tensors: dict[str, torch.Tensor], how: str) -> None:
    torch.save(tensors, path)
    content = path.read_bytes()
    if how == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "text":
        path.write_text("not a checkpoint")
    elif how == "code":
        import pickle

        class Evil:
            def __reduce__(self) -> tuple[object, tuple[str]]:
                return (print, ("executed",))

        path.write_bytes(pickle.dumps(Evil()))
    elif how == "missing-file":
        path.unlink()
    elif how == "nested":
        torch.save({"optimizer": tensors, "epoch": 3}, path)
    elif how == "missing-tensor":
        torch.save({k: v for k, v in tensors.items() if "blocks.3" not in k}, path)
    elif how == "nan":
        torch.save(
            tensors | {"image_encoder.neck.0.weight": torch.full((256, 384, 1, 1), float("nan"))}, path
        )
    elif how == "wider":
        torch.save(tensors | {"image_encoder.patch_embed.proj.weight": torch.zeros(768, 3, 16, 16)}, path)


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("cut", "PFS-301"),
        ("empty", "PFS-301"),
        ("text", "PFS-301"),
        ("code", "PFS-301"),
        ("missing-file", "PFS-301"),
        ("nested", "PFS-302"),
        ("missing-tensor", "PFS-302"),
        ("nan", "PFS-302"),
        ("wider", "PFS-302"),
    ],
)
def test_wrong_and_cut_files_are_refused(
    other: torch.nn.Module, tmp_path: Path, how: str, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "weights.pth"
    damage(path, state(other), how)
    sam = build_sam(TINY, 56)
    before = state_digest(sam.state_dict())
    with pytest.raises(CheckpointError) as caught:
        load_backbone(sam, "vit_tiny", path)
    assert caught.value.code == code
    assert str(tmp_path) not in caught.value.public()
    assert state_digest(sam.state_dict()) == before
    assert "executed" not in capsys.readouterr().out


def test_a_file_named_like_an_official_one_must_be_it(other: torch.nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "sam_vit_b_01ec64.pth"
    torch.save(state(other), path)
    with pytest.raises(CheckpointError, match="official one is ec2df627") as caught:
        load_sam("vit_b", 64, str(path))
    assert caught.value.code == "PFS-303"


def test_a_big_backbone_without_weights_is_refused() -> None:
    with pytest.raises(CheckpointError, match="needs its weights"):
        build(RunSettings(backbone=BackboneSettings(name="vit_b")), "")


@pytest.mark.parametrize(("name", "tensors", "values"), [("vit_b", 314, 93_735_728)])
def test_official_layout(name: str, tensors: int, values: int) -> None:
    with torch.device("meta"):
        sam = build_sam(BACKBONES[name], 1024)
    found = sam.state_dict()
    assert len(found) == tensors
    assert sum(v.numel() for v in found.values()) == values
