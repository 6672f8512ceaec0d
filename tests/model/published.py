"""Random weights under the names that other projects publish, and the encoders computed from these names.

The forward passes follow the papers' formulas with torch's functions alone: what they and the package
agree on was written twice.
"""

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from pfedsam_flower.model.sam.backbones import BACKBONES
from pfedsam_flower.model.sam.modules import untrained

State = dict[str, Tensor]
DEPTHS, HEADS, WINDOWS = (2, 2, 6, 2), (2, 4, 5, 10), (7, 7, 14, 7)
WIDTHS = (64, 128, 160, 320)


def filled(shapes: dict[str, tuple[int, ...]]) -> State:
    """Values that keep activations near 1: every tensor random, variances positive."""
    generator = torch.Generator().manual_seed(11)
    state = {}
    for name, shape in shapes.items():
        values = torch.randn(shape, generator=generator)
        if name.endswith("running_var"):
            state[name] = values.abs() + 0.5
        elif name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(7)
        elif name.endswith(".weight") and len(shape) == 1:
            state[name] = 1 + 0.1 * values
        elif len(shape) < 2:
            state[name] = 0.1 * values
        else:
            state[name] = values / math.sqrt(math.prod(shape[1:]))
    return state


@cache
def sam_parts() -> dict[str, tuple[int, ...]]:
    """Names and shapes of SAM's prompt encoder and mask decoder, the same in every family that has them."""
    state = untrained(BACKBONES["vit_tiny"], 224, 0).state_dict()
    return {n: tuple(v.shape) for n, v in state.items() if not n.startswith("image_encoder.")}


def tiny_vit(kernel: int, classifier: bool = False) -> State:
    """A whole LiteMedSAM (kernel 1) or MobileSAM (kernel 3, with its unused classifier)."""
    shapes: dict[str, tuple[int, ...]] = {}

    def conv(name: str, inner: int, outer: int, side: int) -> None:
        shapes[f"{name}.c.weight"] = (outer, inner, side, side)
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.bn.{part}"] = (outer,)
        shapes[f"{name}.bn.num_batches_tracked"] = ()

    def linear(name: str, inner: int, outer: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (outer, inner), (outer,)

    def norm(name: str, width: int) -> None:
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (width,)

    conv("patch_embed.seq.0", 3, 32, kernel)
    conv("patch_embed.seq.2", 32, 64, kernel)
    for stage, width in enumerate(WIDTHS):
        for j in range(DEPTHS[stage]):
            name = f"layers.{stage}.blocks.{j}"
            if stage == 0:
                conv(f"{name}.conv1", 64, 256, 1)
                conv(f"{name}.conv2", 1, 256, 3)
                conv(f"{name}.conv3", 256, 64, 1)
                continue
            norm(f"{name}.attn.norm", width)
            linear(f"{name}.attn.qkv", width, 3 * width)
            linear(f"{name}.attn.proj", width, width)
            shapes[f"{name}.attn.attention_biases"] = (HEADS[stage], WINDOWS[stage] ** 2)
            norm(f"{name}.mlp.norm", width)
            linear(f"{name}.mlp.fc1", width, 4 * width)
            linear(f"{name}.mlp.fc2", 4 * width, width)
            conv(f"{name}.local_conv", 1, width, 3)
        if stage < 3:
            name, outer = f"layers.{stage}.downsample", WIDTHS[stage + 1]
            conv(f"{name}.conv1", width, outer, 1)
            conv(f"{name}.conv2", 1, outer, 3)
            conv(f"{name}.conv3", outer, outer, 1)
    shapes |= {"neck.0.weight": (256, 320, 1, 1), "neck.2.weight": (256, 256, 3, 3)}
    norm("neck.1", 256)
    norm("neck.3", 256)
    if classifier:
        norm("norm_head", 320)
        linear("head", 320, 1000)
    return filled({f"image_encoder.{n}": s for n, s in shapes.items()} | sam_parts())


def tiny_vit_encoder(state: State, images: Tensor) -> Tensor:
    """[B, 3, S, S] normalised → [B, 256, g, g], from the published names."""
    s = {n.removeprefix("image_encoder."): v for n, v in state.items()}

    def conv(name: str, x: Tensor, stride: int = 1, groups: int = 1) -> Tensor:
        weight = s[f"{name}.c.weight"]
        x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2, groups=groups)
        gain = s[f"{name}.bn.weight"] / (s[f"{name}.bn.running_var"] + 1e-5).sqrt()
        shift = s[f"{name}.bn.bias"] - s[f"{name}.bn.running_mean"] * gain
        return x * gain[:, None, None] + shift[:, None, None]

    def affine(name: str, x: Tensor) -> Tensor:
        return x @ s[f"{name}.weight"].T + s[f"{name}.bias"]

    def norm(name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], s[f"{name}.weight"], s[f"{name}.bias"], 1e-5)

    def attention(name: str, x: Tensor, heads: int, window: int) -> Tensor:
        qkv = affine(f"{name}.qkv", norm(f"{name}.norm", x)).unflatten(-1, (heads, 3, -1))
        q, k, v = (qkv[:, :, :, part].transpose(1, 2) for part in range(3))
        place = torch.arange(window * window)
        down = (place[:, None] // window - place[None] // window).abs()
        right = (place[:, None] % window - place[None] % window).abs()
        bias = s[f"{name}.attention_biases"][:, down * window + right]
        weights = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) + bias).softmax(-1)
        return affine(f"{name}.proj", (weights @ v).transpose(1, 2).flatten(2))

    def block(name: str, x: Tensor, heads: int, window: int) -> Tensor:
        batch, width, height, breadth = x.shape
        rows, columns = math.ceil(height / window), math.ceil(breadth / window)
        padded = F.pad(x, (0, columns * window - breadth, 0, rows * window - height))
        tiles = padded.reshape(batch, width, rows, window, columns, window).permute(0, 2, 4, 3, 5, 1)
        tiles = attention(f"{name}.attn", tiles.reshape(-1, window * window, width), heads, window)
        tiles = tiles.reshape(batch, rows, columns, window, window, width).permute(0, 5, 1, 3, 2, 4)
        whole = tiles.reshape(batch, width, rows * window, columns * window)
        x = conv(f"{name}.local_conv", x + whole[:, :, :height, :breadth], groups=width)
        inner = F.gelu(affine(f"{name}.mlp.fc1", norm(f"{name}.mlp.norm", x.permute(0, 2, 3, 1))))
        return x + affine(f"{name}.mlp.fc2", inner).permute(0, 3, 1, 2)

    stride = 2 if s["patch_embed.seq.0.c.weight"].shape[-1] == 3 else 1
    x = conv("patch_embed.seq.2", F.gelu(conv("patch_embed.seq.0", images, stride)), stride)
    for stage in range(4):
        for j in range(DEPTHS[stage]):
            name = f"layers.{stage}.blocks.{j}"
            if stage:
                x = block(name, x, HEADS[stage], WINDOWS[stage])
            else:
                inner = F.gelu(conv(f"{name}.conv2", F.gelu(conv(f"{name}.conv1", x)), groups=256))
                x = F.gelu(x + conv(f"{name}.conv3", inner))
        if stage < 3:
            name, outer = f"layers.{stage}.downsample", WIDTHS[stage + 1]
            inner = F.gelu(conv(f"{name}.conv1", x))
            inner = F.gelu(conv(f"{name}.conv2", inner, 1 if stage == 2 else 2, outer))
            x = conv(f"{name}.conv3", inner)
    return neck(s, x)


def efficient_sam(width: int) -> State:
    """A whole EfficientSAM-Ti (width 192) or -S (384)."""
    shapes: dict[str, tuple[int, ...]] = {
        "image_encoder.pos_embed": (1, 197, width),
        "image_encoder.patch_embed.proj.weight": (width, 3, 16, 16),
        "image_encoder.patch_embed.proj.bias": (width,),
        "image_encoder.neck.0.weight": (256, width, 1, 1),
        "image_encoder.neck.2.weight": (256, 256, 3, 3),
    }
    for n in (1, 3):
        shapes[f"image_encoder.neck.{n}.weight"] = shapes[f"image_encoder.neck.{n}.bias"] = (256,)
    for i in range(12):
        name = f"image_encoder.blocks.{i}"
        for part, inner, outer in (
            ("attn.qkv", width, 3 * width),
            ("attn.proj", width, width),
            ("mlp.fc1", width, 4 * width),
            ("mlp.fc2", 4 * width, width),
        ):
            shapes[f"{name}.{part}.weight"], shapes[f"{name}.{part}.bias"] = (outer, inner), (outer,)
        for part in ("norm1", "norm2"):
            shapes[f"{name}.{part}.weight"] = shapes[f"{name}.{part}.bias"] = (width,)
    prompts = (
        "point_embeddings",
        "bbox_top_left_embeddings",
        "bbox_bottom_right_embeddings",
        "invalid_points",
    )
    shapes |= {f"prompt_encoder.{name}.weight": (1, 256) for name in prompts}
    gaussian = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
    shapes[gaussian] = (2, 128)
    for name, shape in sam_parts().items():
        if name.startswith("mask_decoder."):
            shapes[_efficient_decoder_name(name)] = shape
    return filled(shapes)


def _efficient_decoder_name(name: str) -> str:
    name = name.replace("mlp.lin1", "mlp.layers.0.0").replace("mlp.lin2", "mlp.fc")
    for ours, theirs in (("0", "0.0"), ("1", "0.1"), ("3", "1.0")):
        name = name.replace(f"output_upscaling.{ours}.", f"final_output_upscaling_layers.{theirs}.")
    if "hypernetworks" in name or "iou_prediction" in name:
        for ours, theirs in (
            ("layers.0.", "layers.0.0."),
            ("layers.1.", "layers.1.0."),
            ("layers.2.", "fc."),
        ):
            if ours in name:
                return name.replace(ours, theirs)
    return name


def efficient_sam_encoder(state: State, images: Tensor, heads: int) -> Tensor:
    """[B, 3, S, S] normalised → [B, 256, S / 16, S / 16], from the published names."""
    s = {n.removeprefix("image_encoder."): v for n, v in state.items()}

    def affine(name: str, x: Tensor) -> Tensor:
        return x @ s[f"{name}.weight"].T + s[f"{name}.bias"]

    def norm(name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], s[f"{name}.weight"], s[f"{name}.bias"], 1e-6)

    x = F.conv2d(images, s["patch_embed.proj.weight"], s["patch_embed.proj.bias"], stride=16)
    grid = x.shape[2:]
    square = s["pos_embed"][:, 1:].transpose(1, 2).unflatten(2, (14, 14))
    x = (x + F.interpolate(square, size=grid, mode="bicubic")).flatten(2).transpose(1, 2)
    for i in range(12):
        qkv = affine(f"blocks.{i}.attn.qkv", norm(f"blocks.{i}.norm1", x)).unflatten(-1, (3, heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1) @ v
        x = x + affine(f"blocks.{i}.attn.proj", mixed.transpose(1, 2).flatten(2))
        inner = F.gelu(affine(f"blocks.{i}.mlp.fc1", norm(f"blocks.{i}.norm2", x)))
        x = x + affine(f"blocks.{i}.mlp.fc2", inner)
    return neck(s, x.transpose(1, 2).unflatten(2, grid))


def neck(s: State, x: Tensor) -> Tensor:
    """SAM's neck: 1 x 1 and 3 x 3 convolution, each followed by a norm over channels."""
    for n in (0, 2):
        x = F.conv2d(x, s[f"neck.{n}.weight"], padding=s[f"neck.{n}.weight"].shape[-1] // 2)
        centred = x - x.mean(1, keepdim=True)
        x = centred / (centred.square().mean(1, keepdim=True) + 1e-6).sqrt()
        x = x * s[f"neck.{n + 1}.weight"][:, None, None] + s[f"neck.{n + 1}.bias"][:, None, None]
    return x


def hugging_face(state: State) -> State:
    """A SAM under the names of transformers' ``SamModel``, with its second copy of the position code."""
    numbered = {
        "neck": {"0": "conv1", "1": "layer_norm1", "2": "conv2", "3": "layer_norm2"},
        "mask_downscaling": {
            "0": "conv1",
            "1": "layer_norm1",
            "3": "conv2",
            "4": "layer_norm2",
            "6": "conv3",
        },
        "output_upscaling": {"0": "upscale_conv1", "1": "upscale_layer_norm", "3": "upscale_conv2"},
    }
    words = {
        "image_encoder": "vision_encoder",
        "mask_downscaling": "mask_embed",
        "blocks": "layers",
        "point_embeddings": "point_embed",
        "pe_layer": "shared_embedding",
        "positional_encoding_gaussian_matrix": "positional_embedding",
        "norm1": "layer_norm1",
        "norm2": "layer_norm2",
        "norm3": "layer_norm3",
        "norm4": "layer_norm4",
        "norm_final_attn": "layer_norm_final_attn",
    }
    renamed = {}
    for name, value in state.items():
        parts = name.split(".")
        for i in range(len(parts) - 1):
            if parts[i] in numbered:
                parts[i + 1] = numbered[parts[i]][parts[i + 1]]
            elif parts[i] == "layers" and ("hypernetworks" in name or "iou_prediction" in name):
                parts[i : i + 2] = {"0": ["proj_in"], "1": ["layers", "0"], "2": ["proj_out"]}[parts[i + 1]]
                break
        if parts[1] == "patch_embed":
            parts[2] = "projection"
        parts = [words.get(part, part) for part in parts if part != "output_upscaling"]
        renamed[".".join(parts)] = value
    copied = renamed["prompt_encoder.shared_embedding.positional_embedding"]
    return renamed | {"shared_image_embedding.positional_embedding": copied.clone()}
