"""LoRA beside frozen linear layers.

    y = W x + b + (alpha / r) · B A x      A [r, in] drawn, B [out, r] zero at the start

In the encoders query, key and value come from one fused layer ``qkv`` [3D, D]; each adapted part gets a
pair of its own, written into its rows of the output, as SAMed (hitachinsk/SAMed) does for q and v. In
SAM's blocks these rows are three thirds; in TinyViT's they alternate head by head (q, k, v of head 0, then
of head 1, …). Because B is zero, a fresh layer gives W x + b + 0: the backbone's output to the last bit.

The layers keep the wrapped layer's own keys (``weight``, ``bias``), so official checkpoints and exports
need no renaming.
"""

import math

import torch
from torch import Tensor, nn

PARTS = ("q", "k", "v")


class PrivateLora(nn.Module):
    """A second pair per adapted part, of role ``personal``: the control that has no gate.

    Attributes:
        active: off makes the model exactly the global one.
    """

    def __init__(
        self, base: nn.Linear, n_parts: int, targets: tuple[str, ...], rank: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        bound = 1 / math.sqrt(base.in_features)
        for name in targets:
            a = torch.empty(rank, base.in_features).uniform_(-bound, bound, generator=generator)
            self.register_parameter(f"{name}_a", nn.Parameter(a))
            self.register_parameter(
                f"{name}_b", nn.Parameter(torch.zeros(base.out_features // n_parts, rank))
            )
        self.active = True

    def forward(self, x: Tensor, name: str) -> Tensor:
        """The update of one part, [..., out / parts]."""
        return nn.functional.linear(
            nn.functional.linear(x, getattr(self, f"{name}_a")), getattr(self, f"{name}_b")
        )


class LoraLinear(nn.Linear):
    """A frozen linear layer with one LoRA pair per adapted part of its output.

    The output's rows are ``groups`` runs after one another, each divided equally among ``parts``.

    Args:
        base: the layer to wrap; its parameters are taken over, not copied.
        parts: names of the parts in the order of the rows.
        targets: the parts that get a pair.
        rank, scale: r and alpha / r.
        generator: draws A, Kaiming-uniform as in SAMed.
    """

    def __init__(
        self,
        base: nn.Linear,
        parts: tuple[str, ...],
        targets: tuple[str, ...],
        rank: int,
        scale: float,
        generator: torch.Generator,
        groups: int = 1,
    ) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = base.in_features, base.out_features
        self.weight, self.bias = base.weight, base.bias
        self.parts, self.targets, self.scale, self.groups = parts, targets, scale, groups
        for name in targets:
            a = torch.empty(rank, base.in_features)
            bound = 1 / math.sqrt(base.in_features)
            a.uniform_(-bound, bound, generator=generator)
            self.register_parameter(f"lora_{name}_a", nn.Parameter(a))
            b = torch.zeros(base.out_features // len(parts), rank)
            self.register_parameter(f"lora_{name}_b", nn.Parameter(b))
        self.private: PrivateLora | None = None

    def keep_residual(self) -> None:
        """Add a whole matrix per pair, zero at the start: what averaging factors leaves out (FedEx-LoRA)."""
        for name in self.targets:
            out = self.out_features // len(self.parts)
            self.register_buffer(f"lora_{name}_residual", torch.zeros(out, self.in_features))

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] → [..., out]."""
        rows = super().forward(x).unflatten(-1, (self.groups, len(self.parts), -1))
        pieces = list(rows.unbind(-2))
        for place, name in enumerate(self.parts):
            if name in self.targets:
                a, b = getattr(self, f"lora_{name}_a"), getattr(self, f"lora_{name}_b")
                update = nn.functional.linear(nn.functional.linear(x, a), b) * self.scale
                residual = getattr(self, f"lora_{name}_residual", None)
                if residual is not None:
                    update = update + nn.functional.linear(x, residual) * self.scale
                if self.private is not None and self.private.active:
                    update = update + self.private(x, name)
                pieces[place] = pieces[place] + update.unflatten(-1, (self.groups, -1))
        return torch.stack(pieces, dim=-2).flatten(-3)


def add_lora_to_encoder(
    encoder: nn.Module, targets: tuple[str, ...], rank: int, scale: float, generator: torch.Generator
) -> None:
    """Wrap every block's ``attn.qkv``; ``targets`` are among q, k, v."""
    for block in encoder.blocks:
        groups = getattr(block.attn, "qkv_groups", 1)
        block.attn.qkv = LoraLinear(block.attn.qkv, PARTS, targets, rank, scale, generator, groups)


def add_private_lora(
    encoder: nn.Module, blocks: tuple[int, ...], values: int, generator: torch.Generator
) -> None:
    """Put a private pair beside the shared ones in the numbered blocks, about ``values`` numbers in each."""
    for number in blocks:
        qkv = encoder.blocks[number].attn.qkv
        per_rank = len(qkv.targets) * (qkv.in_features + qkv.out_features // len(qkv.parts))
        rank = max(1, round(values / per_rank))
        qkv.private = PrivateLora(qkv, len(qkv.parts), qkv.targets, rank, generator)


def add_lora_to_decoder(decoder: nn.Module, rank: int, scale: float, generator: torch.Generator) -> None:
    """Wrap ``q_proj`` and ``v_proj`` of every attention of the two-way transformer."""
    attention = type(decoder.transformer.final_attn_token_to_image)
    for module in decoder.transformer.modules():
        if isinstance(module, attention):
            for name in ("q_proj", "v_proj"):
                whole = ("out",)
                adapted = LoraLinear(getattr(module, name), whole, whole, rank, scale, generator)
                setattr(module, name, adapted)
