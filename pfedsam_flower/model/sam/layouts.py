"""The names under which other projects keep a SAM's tensors, and ours (segment-anything's) for them.

A table of layouts: how each is recognised, and its names rewritten by patterns, first to last. What it
lacks, and what of it has no place in a SAM, is said. Sources of the names:

| layout       | source                                                                            |
| ------------ | --------------------------------------------------------------------------------- |
| Hugging Face | huggingface/transformers, ``convert_sam_to_hf.py``                                |
| EfficientSAM | yformer/EfficientSAM, ``efficient_sam_encoder.py``, ``efficient_sam_decoder.py``  |
| TinyViT      | ChaoningZhang/MobileSAM, ``tiny_vit_sam.py``; bowang-lab/MedSAM, LiteMedSAM       |
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from .backbones import BACKBONES, TinyViT

State = dict[str, Tensor]
Rules = tuple[tuple[str, str], ...]

WRAPPERS = ("model", "model_state", "state_dict")
PREFIXES = ("module.", "sam.")

HUGGING_FACE: Rules = (
    (r"^vision_encoder\.layers\.", "image_encoder.blocks."),
    (r"^vision_encoder\.", "image_encoder."),
    (r"patch_embed\.projection", "patch_embed.proj"),
    (r"neck\.conv1", "neck.0"),
    (r"neck\.layer_norm1", "neck.1"),
    (r"neck\.conv2", "neck.2"),
    (r"neck\.layer_norm2", "neck.3"),
    (r"mask_embed\.conv1", "mask_downscaling.0"),
    (r"mask_embed\.layer_norm1", "mask_downscaling.1"),
    (r"mask_embed\.conv2", "mask_downscaling.3"),
    (r"mask_embed\.layer_norm2", "mask_downscaling.4"),
    (r"mask_embed\.conv3", "mask_downscaling.6"),
    (r"prompt_encoder\.point_embed\.", "prompt_encoder.point_embeddings."),
    (
        r"^(prompt_encoder\.shared_embedding|shared_image_embedding)\.positional_embedding",
        "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
    ),
    (r"upscale_conv1", "output_upscaling.0"),
    (r"upscale_layer_norm", "output_upscaling.1"),
    (r"upscale_conv2", "output_upscaling.3"),
    (r"(output_hypernetworks_mlps\.\d+|iou_prediction_head)\.layers\.0", r"\1.layers.1"),
    (r"(output_hypernetworks_mlps\.\d+|iou_prediction_head)\.proj_in", r"\1.layers.0"),
    (r"(output_hypernetworks_mlps\.\d+|iou_prediction_head)\.proj_out", r"\1.layers.2"),
    (r"\.layer_norm", ".norm"),
)

EFFICIENT_SAM: Rules = (
    (r"(image_encoder\.blocks\.\d+\.mlp)\.fc1", r"\1.lin1"),
    (r"(image_encoder\.blocks\.\d+\.mlp)\.fc2", r"\1.lin2"),
    (r"prompt_encoder\.point_embeddings\.", "prompt_encoder.point_embeddings.1."),
    (r"bbox_top_left_embeddings", "point_embeddings.2"),
    (r"bbox_bottom_right_embeddings", "point_embeddings.3"),
    (r"invalid_points", "not_a_point_embed"),
    (r"(transformer\.layers\.\d+\.mlp)\.layers\.0\.0", r"\1.lin1"),
    (r"(transformer\.layers\.\d+\.mlp)\.fc", r"\1.lin2"),
    (r"final_output_upscaling_layers\.0\.0", "output_upscaling.0"),
    (r"final_output_upscaling_layers\.0\.1", "output_upscaling.1"),
    (r"final_output_upscaling_layers\.1\.0", "output_upscaling.3"),
    (r"(output_hypernetworks_mlps\.\d+|iou_prediction_head)\.layers\.(\d)\.0", r"\1.layers.\2"),
    (r"(output_hypernetworks_mlps\.\d+|iou_prediction_head)\.fc", r"\1.layers.2"),
)

TINY_VIT: Rules = (
    (r"patch_embed\.seq\.0\.", "patch_embed.conv1."),
    (r"patch_embed\.seq\.2\.", "patch_embed.conv2."),
    (r"image_encoder\.layers\.0\.blocks\.", "image_encoder.patch_embed.blocks."),
    (r"image_encoder\.layers\.0\.downsample\.", "image_encoder.patch_embed.merge."),
    (r"(image_encoder\..*)\.c\.weight$", r"\1.conv.weight"),
    (r"(image_encoder\..*\.mlp)\.fc1", r"\1.lin1"),
    (r"(image_encoder\..*\.mlp)\.fc2", r"\1.lin2"),
)


@dataclass(frozen=True)
class Layout:
    """One project's names.

    Attributes:
        title: for sentences.
        recognised: whether a state dict is in it.
        rules: patterns and replacements, applied in order.
        surplus: pattern of names that have no place in a SAM and are dropped; matches none by default.
        zero: pattern of our names that it does not have and that become zero; matches none by default.
        note: what a user should know, "" for nothing.
    """

    title: str
    recognised: Callable[[State], bool]
    rules: Rules = ()
    surplus: str = "$^"
    zero: str = "$^"
    note: str = ""


LAYOUTS = (
    Layout("Hugging Face's", lambda s: any(n.startswith("vision_encoder.") for n in s), HUGGING_FACE),
    Layout("EfficientSAM's", lambda s: "image_encoder.blocks.0.mlp.fc1.weight" in s, EFFICIENT_SAM,
        zero=r"^prompt_encoder\.(point_embeddings\.0|no_mask_embed|mask_downscaling\.)",
        note="EfficientSAM's mask decoder computes differently, here its values are a start for training"),
    Layout("TinyViT's", lambda s: "image_encoder.patch_embed.seq.0.c.weight" in s, TINY_VIT,
        surplus=r"^image_encoder\.(norm_head|head)\."),
    Layout("segment-anything's", lambda s: any(n.startswith("image_encoder.patch_embed.") for n in s)),
)  # fmt: skip


@dataclass(frozen=True)
class Translated:
    """A state dict under our names; ``dropped`` are names that had no place in a SAM."""

    state: State
    layout: Layout
    dropped: tuple[str, ...]


def unwrap(loaded: object) -> State | None:
    """The table of tensors in what a file held, without wrappers and common prefixes; None: it is none."""
    while isinstance(loaded, dict):
        inner = next((loaded[w] for w in WRAPPERS if isinstance(loaded.get(w), dict)), None)
        if inner is None:
            break
        loaded = inner
    if not isinstance(loaded, dict) or not loaded:
        return None
    if not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in loaded.items()):
        return None
    state = dict(loaded)
    while prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in state)), ""):
        state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def translate(state: State) -> Translated | None:
    """The tensors under our names; None when the layout is none that is known."""
    layout = next((one for one in LAYOUTS if one.recognised(state)), None)
    if layout is None:
        return None
    dropped = {name for name in state if re.search(layout.surplus, name)}
    translated = {}
    for name, value in state.items():
        if name not in dropped:
            for pattern, replacement in layout.rules:
                name = re.sub(pattern, replacement, name)
            translated[name] = value
    if layout.rules is TINY_VIT:
        translated = _flat_blocks(translated)
    positions = translated.get("image_encoder.pos_embed")
    if layout.rules is EFFICIENT_SAM and positions is not None and positions.ndim == 3:
        translated["image_encoder.pos_embed"] = _grid(positions)
    return Translated(translated, layout, tuple(sorted(dropped)))


def fitting_rows(state: State) -> tuple[str, ...]:
    """Rows of ``BACKBONES`` whose encoder has this size; MedSAM's and SAM's vit_b cannot be told apart."""
    patches = _shape(state, "image_encoder.patch_embed.proj.weight")
    stem = _shape(state, "image_encoder.patch_embed.conv1.conv.weight")
    relative = any(".attn.rel_pos_h" in name for name in state)
    size = (patches[0], patches[3], _depth(state), relative)
    found = []
    for name, row in BACKBONES.items():
        form = row.encoder
        if isinstance(form, TinyViT):
            fits = (stem[3], _depth(state)) == (form.stem_kernel, form.depth)
        else:
            fits = size == (form.width, form.patch, form.depth, form.relative_positions)
        if fits:
            found.append(name)
    return tuple(found)


def describe(state: State) -> str:
    """What an encoder looks like, for a sentence."""
    rows = fitting_rows(state)
    if rows:
        return " or ".join(rows)
    width, _, _, patch = _shape(state, "image_encoder.patch_embed.proj.weight")
    form = f"{width} wide with patches of {patch} and" if width else "with"
    return f"an encoder {form} {_depth(state)} blocks"


def _shape(state: State, name: str) -> tuple[int, int, int, int]:
    """Of a convolution's kernel; zeros when it is not there or is none."""
    shape = tuple(state[name].shape) if name in state else ()
    return shape if len(shape) == 4 else (0, 0, 0, 0)


def _depth(state: State) -> int:
    return len({m[1] for name in state if (m := re.match(r"image_encoder\.blocks\.(\d+)\.", name))})


def _flat_blocks(state: State) -> State:
    """TinyViT's blocks numbered through all stages; each merge belongs to the block before it."""
    pattern = re.compile(r"image_encoder\.layers\.(\d+)\.(?:blocks\.(\d+)|downsample)\.(.+)")
    found = {name: m for name in state if (m := pattern.fullmatch(name))}
    places = sorted({(int(m[1]), int(m[2])) for m in found.values() if m[2]})
    renamed = {}
    for name, value in state.items():
        m = found.get(name)
        if m is None:
            renamed[name] = value
        elif m[2]:
            renamed[f"image_encoder.blocks.{places.index((int(m[1]), int(m[2])))}.{m[3]}"] = value
        else:
            last = max((i for i, (stage, _) in enumerate(places) if stage == int(m[1])), default=0)
            renamed[f"image_encoder.blocks.{last}.merge.{m[3]}"] = value
    return renamed


def _grid(positions: Tensor) -> Tensor:
    """[1, 1 + g², D] with a class token's position first → [1, g, g, D]; unchanged when it is no square."""
    side = round((positions.shape[1] - 1) ** 0.5)
    if positions.shape[1] != 1 + side * side:
        return positions
    return positions[:, 1:].reshape(1, side, side, -1)
