"""Where vit_tiny starts: the published trunk in segment-anything's names computes what it computed before."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from segment_anything.modeling.image_encoder import Block
from torch.nn import functional as F

from examples.pretrain import sources
from pfedsam_flower.errors import CheckpointError

onnx = pytest.importorskip("onnx")

WIDTH, HEADS, SIDE, PATCH = 8, 2, 37, 4


def dino(rng: np.random.Generator, depth: int) -> dict[str, np.ndarray]:
    """Constants of a small DINOv2 by its own names; linear weights as [in, out], as ONNX keeps them."""

    def draw(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.3, shape).astype(np.float32)

    found = {
        "embeddings.cls_token": draw(1, 1, WIDTH),
        "embeddings.patch_embeddings.projection.weight": draw(WIDTH, 3, PATCH, PATCH),
        "embeddings.patch_embeddings.projection.bias": draw(WIDTH),
        "positions": draw(1, SIDE * SIDE, WIDTH),
    }
    for i in range(depth):
        layer = f"encoder.layer.{i}"
        for part in ("query", "key", "value"):
            found[f"{layer}.attention.attention.{part}.bias"] = draw(WIDTH)
            found[f"{layer}/attention/attention/{part}"] = draw(WIDTH, WIDTH)
        found[f"{layer}.attention.output.dense.bias"] = draw(WIDTH)
        found[f"{layer}/attention/output/dense"] = draw(WIDTH, WIDTH)
        found[f"{layer}.mlp.fc1.bias"], found[f"{layer}/mlp/fc1"] = draw(4 * WIDTH), draw(WIDTH, 4 * WIDTH)
        found[f"{layer}.mlp.fc2.bias"], found[f"{layer}/mlp/fc2"] = draw(WIDTH), draw(4 * WIDTH, WIDTH)
        for name in ("layer_scale1.lambda1", "layer_scale2.lambda1"):
            found[f"{layer}.{name}"] = draw(WIDTH)
        for name in ("norm1", "norm2"):
            found[f"{layer}.{name}.weight"], found[f"{layer}.{name}.bias"] = 1 + draw(WIDTH), draw(WIDTH)
    return found


def write(path: Path, constants: dict[str, np.ndarray]) -> None:
    """The constants as an ONNX graph: linear weights without a name of their own, found by their node."""
    tensors, nodes = [], []
    for number, (name, value) in enumerate(constants.items()):
        linear = "/" in name
        stored = f"onnx::MatMul_{number}" if linear or name == "positions" else f"backbone.{name}"
        tensors.append(onnx.numpy_helper.from_array(value, stored))
        if linear:
            node = f"/backbone/{name.replace('encoder.layer', 'encoder/layer')}/MatMul"
            nodes.append(
                onnx.helper.make_node("MatMul", [f"in{number}", stored], [f"out{number}"], name=node)
            )
    graph = onnx.helper.make_graph(nodes, "dino", [], [], initializer=tensors)
    onnx.save(onnx.helper.make_model(graph), str(path))


def forward(constants: dict[str, np.ndarray], depth: int, tokens: torch.Tensor) -> torch.Tensor:
    """DINOv2's blocks as published (pre-norm, LayerScale), on patch tokens alone: [B, N, WIDTH]."""
    c = {name: torch.from_numpy(value) for name, value in constants.items()}
    for i in range(depth):
        layer = f"encoder.layer.{i}"
        h = F.layer_norm(tokens, (WIDTH,), c[f"{layer}.norm1.weight"], c[f"{layer}.norm1.bias"], 1e-6)
        q, k, v = (
            (h @ c[f"{layer}/attention/attention/{part}"] + c[f"{layer}.attention.attention.{part}.bias"])
            .unflatten(-1, (HEADS, -1))
            .transpose(1, 2)
            for part in ("query", "key", "value")
        )
        h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        h = h @ c[f"{layer}/attention/output/dense"] + c[f"{layer}.attention.output.dense.bias"]
        tokens = tokens + c[f"{layer}.layer_scale1.lambda1"] * h
        h = F.layer_norm(tokens, (WIDTH,), c[f"{layer}.norm2.weight"], c[f"{layer}.norm2.bias"], 1e-6)
        h = F.gelu(h @ c[f"{layer}/mlp/fc1"] + c[f"{layer}.mlp.fc1.bias"])
        h = h @ c[f"{layer}/mlp/fc2"] + c[f"{layer}.mlp.fc2.bias"]
        tokens = tokens + c[f"{layer}.layer_scale2.lambda1"] * h
    return tokens


def test_the_trunk_computes_what_the_published_one_does(tmp_path: Path) -> None:
    constants = dino(np.random.default_rng(0), 3)
    write(tmp_path / "vit.onnx", constants)
    state = sources.dino_trunk(tmp_path / "vit.onnx", 2, SIDE)
    assert torch.equal(state["pos_embed"].flatten(1, 2), torch.from_numpy(constants["positions"])), (
        "at its own size the table of positions stays as it is"
    )
    tokens = torch.randn(1, SIDE, SIDE, WIDTH, generator=torch.Generator().manual_seed(1))
    ours = tokens
    for i in range(2):
        block = Block(WIDTH, HEADS, norm_layer=partial(torch.nn.LayerNorm, eps=1e-6), use_rel_pos=False)
        prefix = f"blocks.{i}."
        block.load_state_dict(
            {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}, strict=True
        )
        ours = block(ours)
    theirs = forward(constants, 2, tokens.flatten(1, 2))
    torch.testing.assert_close(ours.flatten(1, 2), theirs, atol=1e-5, rtol=1e-5)


def test_the_table_of_positions_takes_the_size_that_is_asked_for(tmp_path: Path) -> None:
    constants = dino(np.random.default_rng(0), 1)
    ramp = np.linspace(0, 1, SIDE, dtype=np.float32)
    constants["positions"] = np.broadcast_to(ramp[:, None, None], (SIDE, SIDE, WIDTH)).reshape(1, -1, WIDTH)
    write(tmp_path / "vit.onnx", constants)
    table = sources.dino_trunk(tmp_path / "vit.onnx", 1, 16)["pos_embed"]
    assert table.shape == (1, 16, 16, WIDTH)
    assert (table[0].diff(dim=0) > 0).all(), "rows stay rows"
    assert table[0].diff(dim=1).abs().max() < 1e-6


@pytest.mark.parametrize("name", sources.SHA256)
def test_a_source_that_is_missing_or_another_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match="make pretrain-sources") as missing:
        sources.source_file(tmp_path, name)
    assert missing.value.code == "PFS-301"
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_bytes(b"something else")
    with pytest.raises(CheckpointError, match="expected") as other:
        sources.source_file(tmp_path, name)
    assert other.value.code == "PFS-303"
