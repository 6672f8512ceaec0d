"""segment-anything's own modules, put together at any input size."""

import importlib
import importlib.util
import sys
from functools import partial
from types import ModuleType

import torch
from torch import nn

from .backbones import Backbone


def modeling() -> ModuleType:
    """``segment_anything.modeling``, imported without the package's ``__init__``.

    That ``__init__`` imports the predictor and with it torchvision: 9 s of processor time on a slow
    core, in a process that Flower starts anew for each message, for modules that need none of it.
    Afterwards ``import segment_anything`` still gives the whole package.
    """
    if "segment_anything.modeling" in sys.modules:
        return sys.modules["segment_anything.modeling"]
    if "segment_anything" in sys.modules:
        return importlib.import_module("segment_anything.modeling")
    spec = importlib.util.find_spec("segment_anything")
    if spec is None:
        raise ModuleNotFoundError("segment-anything is not installed")
    sys.modules["segment_anything"] = importlib.util.module_from_spec(spec)
    try:
        return importlib.import_module("segment_anything.modeling")
    finally:
        del sys.modules["segment_anything"]


def build_sam(backbone: Backbone, image_size: int) -> nn.Module:
    """A ``Sam`` with random weights, built for ``image_size`` but with ``pos_embed`` at the native size.

    Relative position tables keep their native length too (segment-anything interpolates them at run
    time), so official files load as they are and exported files open elsewhere.
    """
    sam = modeling()
    grid = image_size // backbone.patch
    encoder = sam.ImageEncoderViT(
        img_size=backbone.native_size,
        patch_size=backbone.patch,
        embed_dim=backbone.embed_dim,
        depth=backbone.depth,
        num_heads=backbone.heads,
        out_chans=256,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=backbone.relative_positions,
        window_size=backbone.window,
        global_attn_indexes=backbone.global_blocks,
    )
    return sam.Sam(
        image_encoder=encoder,
        prompt_encoder=sam.PromptEncoder(256, (grid, grid), (image_size, image_size), 16),
        mask_decoder=sam.MaskDecoder(
            transformer_dim=256,
            transformer=sam.TwoWayTransformer(depth=2, embedding_dim=256, num_heads=8, mlp_dim=2048),
            num_multimask_outputs=3,
            iou_head_depth=3,
            iou_head_hidden_dim=256,
        ),
        pixel_mean=list(backbone.pixel_mean),
        pixel_std=list(backbone.pixel_std),
    )


def untrained(backbone: Backbone, image_size: int) -> nn.Module:
    """``build_sam`` with the weights that the row's seed gives: the same on every machine.

    ``pos_embed`` and the relative tables, zero in segment-anything's constructor, get small values.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(backbone.untrained_seed or 0)
        model = build_sam(backbone, image_size)
        nn.init.trunc_normal_(model.image_encoder.pos_embed, std=0.02)
    return model
