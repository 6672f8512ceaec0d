"""The assembled network. Read this first.

pixels 0..255 ─ normalise ─ patches + positions ─ blocks ─ neck ─ decoder ─ logits per class
                                  LoRA in every block's q, v   (shared)
                                  L-MoE beside the last MLPs   (personal, can be bypassed)
                                                   class tokens, upscaling … (shared)
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .decoder import ClassDecoder
from .lmoe import LMoE


class PFedSAM(nn.Module):
    """SAM, prompt-free, one output channel per class, with adapters.

    Args:
        sam: a ``segment_anything.modeling.Sam``; its parts are taken over.
        n_classes: K.
        image_size: S, side of the input square in pixels.
    """

    def __init__(self, sam: nn.Module, n_classes: int, image_size: int) -> None:
        super().__init__()
        self.image_encoder = sam.image_encoder
        self.prompt_encoder = sam.prompt_encoder
        self.mask_decoder = ClassDecoder(sam.mask_decoder, n_classes)
        self.register_buffer("pixel_mean", sam.pixel_mean.clone(), persistent=False)
        self.register_buffer("pixel_std", sam.pixel_std.clone(), persistent=False)
        self.image_size = image_size

    @property
    def experts(self) -> list[LMoE]:
        """The L-MoE modules, first block first."""
        return [module for module in self.modules() if isinstance(module, LMoE)]

    @property
    def first_personal_block(self) -> int:
        """Number of the first block with experts; blocks before it are common to both models."""
        blocks = self.image_encoder.blocks
        return next((i for i, b in enumerate(blocks) if hasattr(b.mlp, "lmoe")), len(blocks))

    @contextmanager
    def personalised(self, on: bool) -> Iterator[None]:
        """Within: the personalised model (on) or the global one (off); the former state afterwards."""
        before = [expert.active for expert in self.experts]
        for expert in self.experts:
            expert.active = on
        try:
            yield
        finally:
            for expert, active in zip(self.experts, before, strict=True):
                expert.active = active

    def forward(self, images: Tensor, valid: Tensor) -> Tensor:
        """Logits of every class.

        Args:
            images: float [B, 3, S, S], RGB in 0..255, content in the upper left corner.
            valid: int [B, 2], height and width of the content; the rest is padding.

        Returns:
            [B, K, L, L] with L = 4 S / patch.
        """
        return self.tail(self.trunk(images, valid))

    def trunk(self, images: Tensor, valid: Tensor) -> Tensor:
        """Tokens [B, g, g, D] before the first block with experts: the same in both models."""
        x = self.image_encoder.patch_embed(self.normalise(images, valid))
        if self.image_encoder.pos_embed is not None:
            x = x + self._positions(x.shape[1:3])
        for block in self.image_encoder.blocks[: self.first_personal_block]:
            x = block(x)
        return x

    def tail(self, tokens: Tensor) -> Tensor:
        """Logits [B, K, L, L] from the trunk's tokens."""
        for block in self.image_encoder.blocks[self.first_personal_block :]:
            tokens = block(tokens)
        embedding = self.image_encoder.neck(tokens.permute(0, 3, 1, 2))
        no_mask = self.prompt_encoder.no_mask_embed.weight[0]
        return self.mask_decoder(embedding, self.prompt_encoder.get_dense_pe(), no_mask)

    def normalise(self, images: Tensor, valid: Tensor) -> Tensor:
        """(x - mean) / std inside the content, 0 in the padding, as SAM pads after normalising."""
        rows = torch.arange(images.shape[-2], device=images.device)
        columns = torch.arange(images.shape[-1], device=images.device)
        inside = (rows[None] < valid[:, :1])[:, :, None] & (columns[None] < valid[:, 1:])[:, None, :]
        x = (images - self.pixel_mean) / self.pixel_std
        return torch.where(inside[:, None], x, torch.zeros((), dtype=x.dtype, device=x.device))

    def _positions(self, grid: torch.Size) -> Tensor:
        """``pos_embed`` [1, g, g, D] for this grid: the stored one, or it interpolated."""
        stored = self.image_encoder.pos_embed
        if stored.shape[1:3] == grid:
            return stored
        resized = nn.functional.interpolate(
            stored.permute(0, 3, 1, 2), size=tuple(grid), mode="bicubic", align_corners=False
        )
        return resized.permute(0, 2, 3, 1)
