"""LoRA beside frozen linear layers.

    y = W x + b + (alpha / r) · B A x      A [r, in] drawn, B [out, r] zero at the start

In SAM's encoder query, key and value come from one fused layer ``qkv`` [3D, D]; each adapted part gets
a pair of its own, written into its third of the output, as SAMed (hitachinsk/SAMed) does for q and v.
Because B is zero, a fresh layer gives W x + b + 0: the backbone's output to the last bit.

The layers keep the wrapped layer's own keys (``weight``, ``bias``), so official checkpoints and exports
need no renaming.
"""

import math

import torch
from torch import Tensor, nn

PARTS = ("q", "k", "v")


class LoraLinear(nn.Linear):
    """A frozen linear layer with one LoRA pair per named part of its output.

    Args:
        base: the layer to wrap; its parameters are taken over, not copied.
        parts: name → (first, last) row of the output that the pair is added to.
        rank, scale: r and alpha / r.
        generator: draws A, Kaiming-uniform as in SAMed.
    """

    def __init__(
        self,
        base: nn.Linear,
        parts: dict[str, tuple[int, int]],
        rank: int,
        scale: float,
        generator: torch.Generator,
    ) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = base.in_features, base.out_features
        self.weight, self.bias = base.weight, base.bias
        self.parts, self.scale = parts, scale
        for name, (first, last) in parts.items():
            a = torch.empty(rank, base.in_features)
            bound = 1 / math.sqrt(base.in_features)
            a.uniform_(-bound, bound, generator=generator)
            self.register_parameter(f"lora_{name}_a", nn.Parameter(a))
            self.register_parameter(f"lora_{name}_b", nn.Parameter(torch.zeros(last - first, rank)))

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] → [..., out]."""
        y = super().forward(x)
        pieces, done = [], 0
        for name, (first, last) in sorted(self.parts.items(), key=lambda part: part[1]):
            a, b = getattr(self, f"lora_{name}_a"), getattr(self, f"lora_{name}_b")
            update = nn.functional.linear(nn.functional.linear(x, a), b) * self.scale
            pieces += [y[..., done:first], y[..., first:last] + update]
            done = last
        return torch.cat([*pieces, y[..., done:]], dim=-1)


def add_lora_to_encoder(
    encoder: nn.Module, targets: tuple[str, ...], rank: int, scale: float, generator: torch.Generator
) -> None:
    """Wrap every block's ``attn.qkv``; ``targets`` are among q, k, v."""
    for block in encoder.blocks:
        width = block.attn.qkv.in_features
        parts = {t: (PARTS.index(t) * width, (PARTS.index(t) + 1) * width) for t in targets}
        block.attn.qkv = LoraLinear(block.attn.qkv, parts, rank, scale, generator)


def add_lora_to_decoder(decoder: nn.Module, rank: int, scale: float, generator: torch.Generator) -> None:
    """Wrap ``q_proj`` and ``v_proj`` of every attention of the two-way transformer."""
    attention = type(decoder.transformer.final_attn_token_to_image)
    for module in decoder.transformer.modules():
        if isinstance(module, attention):
            for name in ("q_proj", "v_proj"):
                base = getattr(module, name)
                setattr(
                    module, name, LoraLinear(base, {"out": (0, base.out_features)}, rank, scale, generator)
                )
