"""TinyViT as an encoder of SAM's form, from timm's modules. Importing this imports timm (seconds).

MobileSAM's and LiteMedSAM's encoder (bowang-lab/MedSAM, branch LiteMedSAM). It has the four parts of
segment-anything's ``ImageEncoderViT``, so whatever runs the one runs the other:

    patch_embed   image [B, 3, S, S] → tokens [B, h, w, D], the convolutional stage with it
    pos_embed     None: positions are learnt biases of each attention window, the same at any input size
    blocks        tokens → tokens; the last of a stage merges them for the next (SAM's names in the MLP)
    neck          [B, D, g, g] → [B, 256, g, g]

Unlike timm's classifier, the last merge does not halve the map. Batch normalisation always uses the
statistics of the checkpoint, in training too: they belong to the frozen backbone.
"""

import torch
from timm.models import tiny_vit
from torch import Tensor, nn

from .backbones import TinyViT


class TinyEncoder(nn.Module):
    """See the module's text.

    Args:
        form: the row's numbers.
        neck: as SAM's, from ``form.widths[-1]`` channels to 256.
    """

    def __init__(self, form: TinyViT, neck: nn.Module) -> None:
        super().__init__()
        self.patch_embed = _Stem(form)
        self.pos_embed = None
        self.blocks = nn.ModuleList(
            _Block(
                form.widths[stage],
                form.heads[stage],
                form.windows[stage],
                _merge(form, stage) if j == form.depths[stage] - 1 and stage < 3 else nn.Identity(),
            )
            for stage in (1, 2, 3)
            for j in range(form.depths[stage])
        )
        self.neck = neck
        for module in self.modules():
            if isinstance(module, tiny_vit.ConvNorm):
                module.bn = _FrozenBatchNorm(module.bn.num_features)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, S, S] → [B, 256, g, g]."""
        tokens = self.patch_embed(images)
        for block in self.blocks:
            tokens = block(tokens)
        return self.neck(tokens.permute(0, 3, 1, 2))


class _FrozenBatchNorm(nn.BatchNorm2d):
    """Batch normalisation that nothing can put into training mode."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.training = False

    def train(self, mode: bool = True) -> "_FrozenBatchNorm":
        return super().train(False)


class _Stem(nn.Module):
    """Two convolutions, the convolutional stage, and the merge after it."""

    def __init__(self, form: TinyViT) -> None:
        super().__init__()
        width, kernel = form.widths[0], form.stem_kernel
        layout = {"ks": kernel, "stride": 2 if kernel == 3 else 1, "pad": kernel // 2}
        self.conv1 = tiny_vit.ConvNorm(3, width // 2, **layout)
        self.act = nn.GELU()
        self.conv2 = tiny_vit.ConvNorm(width // 2, width, **layout)
        self.blocks = tiny_vit.ConvLayer(width, form.depths[0], nn.GELU).blocks
        self.merge = _merge(form, 0)

    def forward(self, images: Tensor) -> Tensor:
        x = self.conv2(self.act(self.conv1(images)))
        return self.merge(self.blocks(x)).permute(0, 2, 3, 1)


class _Block(tiny_vit.TinyVitBlock):
    """timm's block, and the merge that follows the last one of a stage."""

    def __init__(self, width: int, heads: int, window: int, merge: nn.Module) -> None:
        super().__init__(width, heads, window)
        self.attn = _Attention(width, width // heads, heads, attn_ratio=1, resolution=(window, window))
        self.mlp = _NormedMlp(width)
        self.merge = merge

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, h, w, D] → [B, h', w', D']."""
        return self.merge(super().forward(tokens).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class _Attention(tiny_vit.Attention):
    """timm's attention without its cache of biases.

    The cache outlives what it was made from: weights that are loaded after a first forward pass would not
    count, and a tensor from a validation in inference mode would serve the training after it.

    Attributes:
        qkv_groups: q, k and v of one head are neighbours in the fused layer's rows, head after head.
    """

    @property
    def qkv_groups(self) -> int:
        return self.num_heads

    def get_attention_biases(self, device: torch.device) -> Tensor:
        return self.attention_biases[:, self.attention_bias_idxs]


class _NormedMlp(nn.Module):
    """The block's norm and MLP under SAM's names, so that experts go beside it as in SAM's blocks."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.lin1, self.act, self.lin2 = nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.lin2(self.act(self.lin1(self.norm(tokens))))


def _merge(form: TinyViT, stage: int) -> nn.Module:
    """From a stage's map to the next one's: half the side, but for the last merge."""
    merge = tiny_vit.PatchMerging(form.widths[stage], form.widths[stage + 1], nn.GELU)
    if stage == 2:
        merge.conv2.conv.stride = (1, 1)
    return merge
