"""segment-anything's own modules, put together at any input size."""

import importlib
import importlib.util
import sys
from functools import partial
from types import ModuleType

import torch
from torch import nn

from .backbones import Backbone, PlainViT, TinyViT


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
    """A ``Sam`` with random weights, built for ``image_size`` but with ``pos_embed`` as it is stored.

    Relative position tables keep their native length too (segment-anything interpolates them at run
    time), so published files load as they are and exported files open elsewhere. The row goes with it as
    ``sam.backbone``.
    """
    sam = modeling()
    grid = image_size // backbone.patch
    model = sam.Sam(
        image_encoder=_encoder(backbone.encoder),
        prompt_encoder=sam.PromptEncoder(256, (grid, grid), (image_size, image_size), 16),
        mask_decoder=sam.MaskDecoder(
            transformer_dim=256,
            transformer=sam.TwoWayTransformer(depth=2, embedding_dim=256, num_heads=8, mlp_dim=2048),
            num_multimask_outputs=3,
            iou_head_depth=3,
            iou_head_hidden_dim=256,
        ),
        pixel_mean=list(backbone.pixels.mean),
        pixel_std=list(backbone.pixels.std),
    )
    model.backbone = backbone
    return model


def untrained(backbone: Backbone, image_size: int, seed: int) -> nn.Module:
    """``build_sam`` with the weights that a seed gives, for tests and benchmarks.

    ``pos_embed``, zero in segment-anything's constructor, gets small values.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_sam(backbone, image_size)
        if model.image_encoder.pos_embed is not None:
            nn.init.trunc_normal_(model.image_encoder.pos_embed, std=0.02)
    return model


def _encoder(form: PlainViT | TinyViT) -> nn.Module:
    if isinstance(form, TinyViT):
        from .tinyvit import TinyEncoder

        return TinyEncoder(form, _neck(form.widths[-1]))
    return modeling().ImageEncoderViT(
        img_size=form.stored_size,
        patch_size=form.patch,
        embed_dim=form.width,
        depth=form.depth,
        num_heads=form.heads,
        out_chans=256,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=form.relative_positions,
        window_size=form.window,
        global_attn_indexes=form.global_blocks,
    )


def _neck(width: int) -> nn.Module:
    norm = modeling().common.LayerNorm2d
    return nn.Sequential(
        nn.Conv2d(width, 256, kernel_size=1, bias=False),
        norm(256),
        nn.Conv2d(256, 256, kernel_size=3, padding=1, bias=False),
        norm(256),
    )
