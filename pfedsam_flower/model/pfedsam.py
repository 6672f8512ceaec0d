"""The assembled network. Read this first.

pixels 0..255 ─ normalise ─ patches + positions ─ blocks ─ neck ─ decoder ─ logits per class
                                  LoRA in every block's q, v   (shared)
                                  L-MoE beside the last MLPs   (personal, can be bypassed)
                                                branch in the neck  (personal, can be bypassed)
                                                   class tokens, upscaling … (shared)
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .decoder import ClassDecoder
from .lmoe import LMoE
from .lora import PrivateLora
from .neck import Branch
from .roles import Role


class PFedSAM(nn.Module):
    """SAM, prompt-free, one output channel per class, with adapters.

    Args:
        sam: from ``build_sam``; its parts are taken over, its row's pixel rule too.
        n_classes: K.
        image_size: S, side of the input square in pixels.
    """

    def __init__(self, sam: nn.Module, n_classes: int, image_size: int) -> None:
        super().__init__()
        self.image_encoder = sam.image_encoder
        self.prompt_encoder = sam.prompt_encoder
        self.mask_decoder = ClassDecoder(sam.mask_decoder, n_classes)
        self.pixels = sam.backbone.pixels
        self.image_size = image_size

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.mask_decoder.class_tokens.device

    @property
    def logits_size(self) -> int:
        """L, side of the logits in pixels."""
        return 4 * self.prompt_encoder.image_embedding_size[0]

    @property
    def experts(self) -> list[LMoE]:
        """The L-MoE modules, first block first."""
        return [module for module in self.modules() if isinstance(module, LMoE)]

    @property
    def additions(self) -> list[nn.Module]:
        """The personal modules that can be bypassed, first block first."""
        found = [module for module in self.modules() if isinstance(module, LMoE | PrivateLora | Branch)]
        return [module for module in found if not isinstance(module, LMoE) or module.personal]

    @property
    def first_personal_block(self) -> int:
        """Number of the first block with personal additions; blocks before it are common to both models."""
        personal = set(self.additions)
        blocks = self.image_encoder.blocks
        return next((i for i, b in enumerate(blocks) if personal & set(b.modules())), len(blocks))

    @property
    def trunk_is_frozen(self) -> bool:
        """Whether nothing below the first personal block is being trained."""
        encoder = self.image_encoder
        parts = [encoder.patch_embed, *encoder.blocks[: self.first_personal_block]]
        if isinstance(encoder.pos_embed, nn.Parameter) and encoder.pos_embed.requires_grad:
            return False
        return not any(p.requires_grad for part in parts for p in part.parameters())

    def trunk_state(self, roles: Mapping[str, Role]) -> dict[str, Tensor]:
        """What of the trunk is not frozen, by name: with the backbone, all that ``trunk`` depends on."""
        parts = ["patch_embed.", "pos_embed", *(f"blocks.{i}." for i in range(self.first_personal_block))]
        within = tuple(f"image_encoder.{part}" for part in parts)
        return {
            name: values
            for name, values in self.state_dict().items()
            if roles[name] != "frozen" and name.startswith(within)
        }

    @contextmanager
    def personalised(self, on: bool) -> Iterator[None]:
        """Within: the personalised model (on) or the global one (off); the former state afterwards."""
        additions = self.additions
        before = [module.active for module in additions]
        for module in additions:
            module.active = on
        try:
            yield
        finally:
            for module, active in zip(additions, before, strict=True):
                module.active = active

    def forward(self, images: Tensor, valid: Tensor) -> Tensor:
        """Logits of every class.

        Args:
            images: float [B, 3, S, S], RGB in 0..255, content in the upper left corner.
            valid: int [B, 2], height and width of the content; the rest is padding.

        Returns:
            [B, K, L, L] with L = ``logits_size``.
        """
        return self.tail(self.trunk(images, valid))

    def trunk(self, images: Tensor, valid: Tensor) -> Tensor:
        """Tokens [B, h, w, D] before the first block with experts: the same in both models."""
        x = self.image_encoder.patch_embed(self.normalise(images, valid))
        if self.image_encoder.pos_embed is not None:
            x = x + self._positions(x.shape[1:3])
        for block in self.image_encoder.blocks[: self.first_personal_block]:
            x = block(x)
        return x

    def tail(self, tokens: Tensor) -> Tensor:
        """Logits [B, K, L, L] from the trunk's tokens."""
        no_mask = self.prompt_encoder.no_mask_embed.weight[0]
        return self.mask_decoder(self.embedding(tokens), self.prompt_encoder.get_dense_pe(), no_mask)

    def embedding(self, tokens: Tensor) -> Tensor:
        """SAM's image embedding [B, 256, g, g] from the trunk's tokens."""
        for block in self.image_encoder.blocks[self.first_personal_block :]:
            tokens = block(tokens)
        return self.image_encoder.neck(tokens.permute(0, 3, 1, 2))

    def normalise(self, images: Tensor, valid: Tensor) -> Tensor:
        """The network's input by the row's pixel rule: 0 in the padding, which counts for nothing.

        (x - mean) / std, or (x - min) / (max - min) over each image's content; 0 for a constant one.
        """
        rows = torch.arange(images.shape[-2], device=images.device)
        columns = torch.arange(images.shape[-1], device=images.device)
        inside = (rows[None] < valid[:, :1])[:, :, None] & (columns[None] < valid[:, 1:])[:, None, :]
        inside = inside[:, None]
        if self.pixels.min_max:
            infinite = images.new_tensor(torch.inf)
            low = torch.where(inside, images, infinite).amin(dim=(1, 2, 3), keepdim=True)
            high = torch.where(inside, images, -infinite).amax(dim=(1, 2, 3), keepdim=True)
            # resizing a constant image leaves rounding of about 1e-5, which must not be stretched to 0..1
            x = (images - low) / (high - low).clamp(min=1e-3)
        else:
            mean, std = (images.new_tensor(v)[:, None, None] for v in (self.pixels.mean, self.pixels.std))
            x = (images - mean) / std
        return torch.where(inside, x, images.new_zeros(()))

    def _positions(self, grid: torch.Size) -> Tensor:
        """``pos_embed`` [1, g, g, D] for this grid: the stored one, or it interpolated."""
        stored = self.image_encoder.pos_embed
        if stored.shape[1:3] == grid:
            return stored
        resized = nn.functional.interpolate(
            stored.permute(0, 3, 1, 2), size=tuple(grid), mode="bicubic", align_corners=False
        )
        return resized.permute(0, 2, 3, 1)
