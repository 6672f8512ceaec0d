"""The adapted model starts as SAM, and every tensor has one role."""

import pytest
import torch

from pfedsam_flower.model.build import build, expert_blocks, problems
from pfedsam_flower.model.exchange import export_shared, import_shared, personal_state
from pfedsam_flower.model.lmoe import add_lmoe
from pfedsam_flower.model.lora import LoraLinear
from pfedsam_flower.model.pfedsam import PFedSAM
from pfedsam_flower.model.roles import set_trainable
from pfedsam_flower.model.sam.backbones import Backbone, Pixels, PlainViT
from pfedsam_flower.model.sam.load import load_sam
from pfedsam_flower.model.sam.modules import build_sam, modeling
from pfedsam_flower.settings.run import (
    DecoderSettings,
    ImageSettings,
    LmoeSettings,
    LoraSettings,
    RunSettings,
)

RUN = RunSettings(image=ImageSettings(size=56), classes=("organ", "lesion"))
MODES = ("heads", "lora-heads", "full")


def images(size: int = 56, batch: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    valid = torch.tensor([[size, size], [size - 14, size]])[:batch]
    return torch.rand(batch, 3, size, size, generator=generator) * 255, valid


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_adapted_model_equals_backbone_to_the_bit(mode: str, dtype: torch.dtype) -> None:
    run = RUN.model_copy(
        update={"decoder": DecoderSettings(mode=mode), "lora": LoraSettings(targets=("q", "k", "v"))}
    )
    built = build(run, "")
    # Frozen as in a federation: torch 2.11's autocast rounds differently where a weight wants a gradient.
    backbone = PFedSAM(load_sam("vit_tiny", 56)[0], 2, 56).eval().requires_grad_(False)
    assert any(isinstance(m, LoraLinear) for m in built.model.modules())
    assert built.model.experts
    x, valid = images()
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        expected = backbone(x, valid)
        with built.model.personalised(False):
            assert torch.equal(built.model(x, valid), expected)
        with built.model.personalised(True):
            assert torch.equal(built.model(x, valid), expected)
    assert expected.std() > 0


@torch.no_grad()
def test_every_class_starts_as_sams_own_prompt_free_mask() -> None:
    sam = load_sam("vit_tiny", 224)[0].eval()
    x, _ = images(224, 1)
    own = sam.image_encoder((x - sam.pixel_mean) / sam.pixel_std)
    sparse, dense = sam.prompt_encoder(points=None, boxes=None, masks=None)
    expected, _ = sam.mask_decoder(
        image_embeddings=own,
        image_pe=sam.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=False,
    )
    ours = PFedSAM(sam, 2, 224)(x, torch.tensor([[224, 224]]))
    assert ours.shape == (1, 2, 64, 64)
    near = 2e-6 * float(expected.abs().max())
    for k in range(2):
        torch.testing.assert_close(ours[:, k : k + 1], expected, rtol=0, atol=near)


@torch.no_grad()
@pytest.mark.parametrize("size", [64, 96])
def test_windows_and_relative_positions_survive_another_size(size: int) -> None:
    form = PlainViT(32, 2, 2, 16, stored_size=64, window=3, global_blocks=(1,), relative_positions=True)
    sam = build_sam(Backbone(form, 64, Pixels()), size).eval()
    out = PFedSAM(sam, 1, size)(torch.rand(1, 3, size, size), torch.tensor([[size, size]]))
    assert out.shape == (1, 1, size // 4, size // 4)
    assert sam.image_encoder.pos_embed.shape[1] == 4  # stored at its native size


@torch.no_grad()
def test_a_class_does_not_see_the_others() -> None:
    built = build(RUN, "")
    x, valid = images()
    before = built.model(x, valid)
    built.model.mask_decoder.class_tokens[1] += 1
    after = built.model(x, valid)
    assert torch.equal(before[:, 0], after[:, 0])
    assert not torch.equal(before[:, 1], after[:, 1])


@torch.no_grad()
def test_padding_and_batch_mates_change_nothing() -> None:
    model = build(RUN, "").model
    x, valid = images()
    garbage = x.clone()
    garbage[1, :, 42:] = 99.0
    assert torch.equal(model(x, valid), model(garbage, valid))
    for expert in model.experts:
        expert.up.normal_(generator=torch.Generator().manual_seed(1))
    both = model(x, valid)
    near = 1e-5 * float(both.abs().max())
    torch.testing.assert_close(both[:1], model(x[:1], valid[:1]), rtol=0, atol=near)


@pytest.mark.parametrize("mode", MODES)
def test_roles_partition_the_tensors_and_all_trainable_ones_get_a_gradient(mode: str) -> None:
    built = build(RUN.model_copy(update={"decoder": DecoderSettings(mode=mode)}), "")
    model, roles = built.model, built.roles
    assert set(roles) == set(model.state_dict())
    assert {key for key, _ in built.contract.tensors} == {k for k, r in roles.items() if r == "shared"}
    for expert in model.experts:
        torch.nn.init.normal_(expert.up)
    for module in model.modules():
        if isinstance(module, LoraLinear):
            for name, parameter in module.named_parameters():
                if name.endswith("_b"):
                    torch.nn.init.normal_(parameter)
    x, valid = images()
    for role in ("shared", "personal"):
        chosen = set_trainable(model, roles, role)
        assert chosen
        with model.personalised(role == "personal"):
            (model(x, valid) ** 2).sum().backward()
        for name, parameter in model.named_parameters():
            if roles[name] == role:
                assert parameter.grad is not None, name
                assert parameter.grad.abs().sum() > 0, name
            else:
                assert parameter.grad is None, name
        set_trainable(model, roles, None)
    assert all(("lmoe" in name) == (role == "personal") for name, role in roles.items())


def test_personal_tensors_are_not_in_the_contract_and_round_trip_is_identity() -> None:
    built = build(RUN, "")
    packed = export_shared(built.model, built.contract)
    assert packed.shape == (built.contract.n_values,)
    assert not set(personal_state(built.model, built.roles)) & {key for key, _ in built.contract.tensors}
    changed = packed + 1
    import_shared(built.model, built.contract, changed)
    assert (export_shared(built.model, built.contract) == changed).all()


def test_experts_are_drawn_differently_and_scale_is_not_zero() -> None:
    lmoe = build(RUN, "").model.experts[0]
    assert not torch.equal(lmoe.down[0], lmoe.down[1])
    assert lmoe.scale == 1
    assert lmoe.up.abs().sum() == 0


def test_image_gate_gives_one_gate_per_image() -> None:
    model = build(RUN.model_copy(update={"lmoe": LmoeSettings(gate="image", blocks=("0", "5"))}), "").model
    assert len(model.experts) == 2
    assert model.first_personal_block == 0
    assert model.experts[0].gating == "image"
    encoder = load_sam("vit_tiny", 56)[0].image_encoder
    add_lmoe(encoder, (3,), 2, 2, "image", torch.Generator().manual_seed(0))
    h = torch.randn(1, 4, 4, 384)
    lmoe = encoder.blocks[3].mlp.lmoe
    torch.nn.init.normal_(lmoe.up)
    shuffled = h.flatten(1, 2).flip(1).reshape(1, 4, 4, 384)
    turned = lmoe(shuffled).flatten(1, 2).flip(1).reshape(1, 4, 4, 384)
    torch.testing.assert_close(lmoe(h), turned)


def test_same_seed_same_start_other_seed_other_lora() -> None:
    a, b = build(RUN, ""), build(RUN, "")
    c = build(RUN.model_copy(update={"seed": 1}), "")
    assert (export_shared(a.model, a.contract) == export_shared(b.model, b.contract)).all()
    assert not (export_shared(a.model, a.contract) == export_shared(c.model, c.contract)).all()
    assert a.contract.backbone == c.contract.backbone


def test_impossible_settings_are_named() -> None:
    run = RunSettings.model_validate(
        {"method": "pfedsma", "backbone": {"name": "vit_bb"}, "lora": {"targets": "q,x"}, "classes": "a,a"}
    )
    text = "\n".join(problems(run))
    assert "did you mean pfedsam?" in text
    assert "did you mean vit_b?" in text
    assert "'x' is none of q, k, v" in text
    assert "given twice" in text
    for name in ("..", "CD4 /x", "-a", ""):
        odd = "\n".join(problems(RUN.model_copy(update={"classes": (name, "zone.2_b-c")})))
        assert odd.count("is no name for a class") == 1
    assert "multiple of 14" in "\n".join(problems(RUN.model_copy(update={"image": ImageSettings(size=60)})))


@pytest.mark.parametrize(
    ("blocks", "expected"), [(("last-third",), (4, 5)), (("all",), tuple(range(6))), (("3", "1"), (1, 3))]
)
def test_expert_blocks(blocks: tuple[str, ...], expected: tuple[int, ...]) -> None:
    assert expert_blocks(blocks, 6) == expected


@pytest.mark.parametrize("blocks", [("6",), ("first",), ()])
def test_expert_blocks_that_do_not_exist(blocks: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"0\.\.5"):
        expert_blocks(blocks, 6)


def test_segment_anything_stays_importable_as_a_whole() -> None:
    import sys

    modeling()
    assert "segment_anything.modeling" in sys.modules
    spec = __import__("importlib").util.find_spec("segment_anything")
    assert spec is not None
