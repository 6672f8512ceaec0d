"""Light SAMs as backbones: they compute what was published, and adapt, train and bypass as SAM does."""

from pathlib import Path

import published
import pytest
import torch
from torch import Tensor

from pfedsam_flower.learning.batches import Batch
from pfedsam_flower.learning.phases import global_phase, local_phase
from pfedsam_flower.model.build import Built, build, problems
from pfedsam_flower.model.lora import LoraLinear
from pfedsam_flower.model.pfedsam import PFedSAM
from pfedsam_flower.model.roles import set_trainable
from pfedsam_flower.model.sam.load import load_sam
from pfedsam_flower.settings.run import BackboneSettings, ImageSettings, LoraSettings, RunSettings


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("published")
    states = {
        "lite_medsam": published.tiny_vit(1),
        "mobile_sam": published.tiny_vit(3, classifier=True),
        "efficient_sam_ti": {"model": published.efficient_sam(192)},
    }
    for name, state in states.items():
        torch.save(state, folder / f"{name}.bin")
    return {name: folder / f"{name}.bin" for name in states}


def settings(name: str, size: int) -> RunSettings:
    return RunSettings(
        backbone=BackboneSettings(name=name),
        image=ImageSettings(size=size),
        lora=LoraSettings(targets=("q", "k", "v")),
    )


def images(size: int, batch: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    valid = torch.tensor([[size, size], [size - 9, size]])[:batch]
    return torch.rand(batch, 3, size, size, generator=generator) * 255, valid


@pytest.mark.parametrize(
    ("kernel", "tensors", "encoder"), [(1, 435, 5_736_623), (3, 435, 5_736_623 + 3 * 32 * 8 + 32 * 64 * 8)]
)
def test_tiny_vit_has_the_published_size(kernel: int, tensors: int, encoder: int) -> None:
    """Counted in the published LiteMedSAM file; MobileSAM's first two convolutions are 3 x 3."""
    state = published.tiny_vit(kernel)
    assert len(state) == tensors
    assert sum(v.numel() for n, v in state.items() if n.startswith("image_encoder.")) == encoder


def test_efficient_sam_has_the_published_size() -> None:
    for width, values in ((192, 10_223_460), (384, 26_413_284)):
        state = published.efficient_sam(width)
        assert (len(state), sum(v.numel() for v in state.values())) == (278, values)


@pytest.mark.parametrize(
    ("name", "kernel", "size"),
    [("lite_medsam", 1, 56), ("lite_medsam", 1, 44), ("mobile_sam", 3, 224), ("mobile_sam", 3, 96)],
)
@torch.no_grad()
def test_tiny_vit_computes_what_was_published(
    files: dict[str, Path], name: str, kernel: int, size: int
) -> None:
    """Sizes that fill the windows of attention, and sizes that do not."""
    sam, _ = load_sam(name, size, str(files[name]))
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    expected = published.tiny_vit_encoder(published.tiny_vit(kernel), x)
    grid = size // (16 if kernel == 3 else 4)
    assert expected.shape == (2, 256, grid, grid)
    torch.testing.assert_close(sam.image_encoder(x), expected, rtol=0, atol=1e-5 * expected.abs().max())


@torch.no_grad()
def test_efficient_sams_encoder_computes_what_was_published(files: dict[str, Path]) -> None:
    sam, report = load_sam("efficient_sam_ti", 96, str(files["efficient_sam_ti"]))
    model = PFedSAM(sam, 1, 96)
    x, valid = images(96, 1)
    expected = published.efficient_sam_encoder(published.efficient_sam(192), model.normalise(x, valid), 3)
    found = model.embedding(model.trunk(x, valid))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * expected.abs().max())
    assert sam.prompt_encoder.no_mask_embed.weight.abs().sum() == 0
    assert sam.prompt_encoder.point_embeddings[0].weight.abs().sum() == 0
    assert "prompt_encoder.no_mask_embed.weight" in report.missing
    assert "start for training" in report.sentence()


@pytest.mark.parametrize(
    ("name", "size"), [("lite_medsam", 28), ("mobile_sam", 48), ("efficient_sam_ti", 48)]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_adapted_model_equals_backbone_to_the_bit(
    files: dict[str, Path], name: str, size: int, dtype: torch.dtype
) -> None:
    built = build(settings(name, size), str(files[name]))
    backbone = PFedSAM(load_sam(name, size, str(files[name]))[0], 2, size).eval()
    backbone.requires_grad_(False)  # as in the other: torch picks its matrix product by it
    x, valid = images(size)
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        expected = backbone(x, valid)
        for on in (False, True):
            with built.model.personalised(on):
                assert torch.equal(built.model(x, valid), expected)
    assert expected.shape[-1] == built.model.logits_size
    assert expected.std() > 0


@pytest.fixture
def lite(files: dict[str, Path]) -> Built:
    return build(settings("lite_medsam", 32), str(files["lite_medsam"]))


def test_experts_sit_in_the_last_third_of_the_ten_blocks(lite: Built) -> None:
    assert len(lite.model.image_encoder.blocks) == 10
    assert lite.model.first_personal_block == 7
    assert [expert.down.shape[-1] for expert in lite.model.experts] == [160, 320, 320]


@torch.no_grad()
def test_lora_on_q_changes_the_queries_of_every_head_and_nothing_else(files: dict[str, Path]) -> None:
    for name, size, order in (("lite_medsam", 32, "heads first"), ("efficient_sam_ti", 32, "parts first")):
        built = build(settings(name, size), str(files[name]))
        attention = built.model.image_encoder.blocks[2].attn
        x = torch.randn(4, attention.qkv.in_features, generator=torch.Generator().manual_seed(0))
        before = attention.qkv(x)
        torch.nn.init.normal_(attention.qkv.lora_q_b)
        heads = attention.num_heads
        shape = (4, heads, 3, -1) if order == "heads first" else (4, 3, heads, -1)
        change = (attention.qkv(x) - before).reshape(shape).transpose(1, 2 if order == "heads first" else 1)
        assert (change[:, 0].abs().amax((0, 2)) > 0).all()
        assert change[:, 1:].abs().max() == 0


@torch.no_grad()
def test_bypassed_experts_change_nothing_and_active_ones_do(lite: Built) -> None:
    x, valid = images(32)
    before = lite.model(x, valid)
    for expert in lite.model.experts:
        expert.up.normal_(generator=torch.Generator().manual_seed(1))
    tokens = lite.model.trunk(x, valid)
    with lite.model.personalised(False):
        assert torch.equal(lite.model.tail(tokens), before)
    with lite.model.personalised(True):
        assert not torch.equal(lite.model.tail(tokens), before)
    usage = lite.model.experts[0].usage
    assert usage is not None
    assert usage.shape == (4,)


def test_every_trainable_tensor_gets_a_gradient_and_batch_norm_is_frozen(lite: Built) -> None:
    model, roles = lite.model, lite.roles
    norms = [n for n, m in model.named_modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) == 2 + 2 * 3 + 3 * 3 + 10
    assert all(roles[key] == "frozen" for key in roles if key.rpartition(".")[0] in norms)
    for module in model.modules():
        if isinstance(module, LoraLinear):
            for target in module.targets:
                torch.nn.init.normal_(getattr(module, f"lora_{target}_b"))
    for expert in model.experts:
        torch.nn.init.normal_(expert.up)
    x, valid = images(32)
    for role in ("shared", "personal"):
        set_trainable(model, roles, role)
        with model.personalised(role == "personal"):
            (model(x, valid) ** 2).mean().backward()
        for name, parameter in model.named_parameters():
            if roles[name] == role:
                assert parameter.grad is not None, name
                assert parameter.grad.abs().sum() > 0, name
            else:
                assert parameter.grad is None, name


def test_batch_norm_keeps_the_checkpoints_statistics_in_training_mode(lite: Built) -> None:
    x, valid = images(32)
    before = {k: v.clone() for k, v in lite.model.state_dict().items()}
    with torch.no_grad():
        expected = lite.model.eval()(x, valid)
        lite.model.train()
        lite.model.image_encoder.blocks[0].local_conv.bn.train()
        assert torch.equal(lite.model(x, valid), expected)
    assert all(torch.equal(v, before[k]) for k, v in lite.model.state_dict().items())


def test_both_phases_train_after_a_validation(lite: Built) -> None:
    model = lite.model
    x, valid = images(32)
    with torch.inference_mode():
        model(x, valid)
    size = model.logits_size
    target = (torch.rand(2, 2, size, size, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    batch = Batch(x, valid, target, torch.ones(2, 1, size, size), torch.tensor([True, True]))
    training = settings("lite_medsam", 32).training
    frozen = {k: v.clone() for k, v in model.state_dict().items() if lite.roles[k] == "frozen"}
    global_phase(model, lite.roles, iter([batch]), training)
    result = local_phase(model, lite.roles, iter([batch]), training, 0.1, 2.0, {})
    assert result.loss is not None
    assert all(torch.equal(model.state_dict()[k], v) for k, v in frozen.items())


@torch.no_grad()
def test_biases_that_change_after_a_forward_pass_count(lite: Built) -> None:
    x, valid = images(32)
    before = lite.model(x, valid)
    lite.model.image_encoder.blocks[4].attn.attention_biases[:, 3] += 1
    assert not torch.equal(lite.model(x, valid), before)


@pytest.mark.parametrize(("name", "size", "patch"), [("lite_medsam", 30, 4), ("mobile_sam", 100, 16)])
def test_a_size_between_two_grids_is_named(name: str, size: int, patch: int) -> None:
    (problem,) = problems(settings(name, size))
    assert f"needs a multiple of {patch}" in problem
    assert not problems(settings(name, size // patch * patch + patch))
