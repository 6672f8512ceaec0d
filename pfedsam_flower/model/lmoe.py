"""L-MoE, the Localized Mixture-of-Experts: what a site keeps to itself.

Parallel to the MLP of an encoder block, on the same normed input h [B, …, D]:

    y = x + MLP(h) + c · Σ_e g_e(h) · B_e gelu(A_e h)

| paper        | here                                             |
| ------------ | ------------------------------------------------ |
| expert e     | ``down[e]`` = A_e [r, D], ``up[e]`` = B_e [D, r] |
| gate g       | softmax of ``gate`` [E, D], dense                |
| scale c      | ``scale``, learnable, 1 at the start             |

Paper silent on place and form of the experts; the choices and their reasons are in
``docs/concepts.md``. B_e is zero at the start, so fresh experts change nothing; the A_e are drawn
differently, because equal experts would stay equal for ever; c must not start at zero, because
with B_e = 0 no gradient would ever reach either. The gate looks at one image only: a prediction does not
depend on what else is in the batch, and nothing is random at inference.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn

Gating = Literal["token", "image", "uniform", "top-1"]
"""Who is asked: each token, or the mean over an image. Controls: no gate at all; only the first choice."""


class LMoE(nn.Module):
    """E low-rank experts behind a dense softmax gate.

    Attributes:
        active: off makes the model exactly the global one (the bypass).
        personal: whether the bypass is for it; not where a method averages it.
        usage: after a forward, the mean gate per expert [E], for the site's own log; no gradient.
    """

    def __init__(
        self, width: int, experts: int, rank: int, gating: Gating, generator: torch.Generator
    ) -> None:
        super().__init__()
        bound = 1 / math.sqrt(width)
        self.down = nn.Parameter(
            torch.empty(experts, rank, width).uniform_(-bound, bound, generator=generator)
        )
        self.up = nn.Parameter(torch.zeros(experts, width, rank))
        self.gate = nn.Parameter(torch.empty(experts, width).uniform_(-bound, bound, generator=generator))
        self.scale = nn.Parameter(torch.ones(()))
        self.gating = gating
        self.active = self.personal = True
        self.usage: Tensor | None = None

    def forward(self, h: Tensor) -> Tensor:
        """[B, …, D] → [B, …, D], the experts' weighted sum times c; tokens lie on a grid or in a row."""
        experts, rank, width = self.down.shape
        between = tuple(range(1, h.ndim - 1))
        asked = h.mean(dim=between, keepdim=True) if self.gating == "image" else h
        g = nn.functional.linear(asked, self.gate).softmax(dim=-1)
        if self.gating == "uniform":
            g = torch.full_like(g, 1 / experts)
        elif self.gating == "top-1":  # its own weight stays, or the gate would get no gradient
            g = torch.where(g == g.amax(dim=-1, keepdim=True), g, torch.zeros_like(g))
        self.usage = g.detach().mean(dim=(0, *between))
        inner = nn.functional.gelu(nn.functional.linear(h, self.down.reshape(experts * rank, width)))
        weighted = (inner.unflatten(-1, (experts, rank)) * g.unsqueeze(-1)).flatten(-2)
        return self.scale * nn.functional.linear(
            weighted, self.up.permute(1, 0, 2).reshape(width, experts * rank)
        )


class MlpWithExperts(nn.Module):
    """A block's own MLP (same keys as before) and an L-MoE beside it.

    TinyViT's MLP begins with the block's norm, SAM's block calls it before.
    """

    def __init__(self, mlp: nn.Module, lmoe: LMoE) -> None:
        super().__init__()
        self.norm = mlp.norm if hasattr(mlp, "norm") else nn.Identity()
        self.lin1, self.lin2, self.act, self.lmoe = mlp.lin1, mlp.lin2, mlp.act, lmoe

    def forward(self, x: Tensor) -> Tensor:
        """[B, …, D] → [B, …, D]; MLP(h) alone when the L-MoE is bypassed."""
        h = self.norm(x)
        y = self.lin2(self.act(self.lin1(h)))
        return y + self.lmoe(h) if self.lmoe.active else y


def add_lmoe(
    encoder: nn.Module,
    blocks: tuple[int, ...],
    experts: int,
    rank: int,
    gating: Gating,
    generator: torch.Generator,
) -> None:
    """Put an L-MoE beside the MLP of the numbered encoder blocks."""
    for number in blocks:
        block = encoder.blocks[number]
        lmoe = LMoE(block.mlp.lin1.in_features, experts, rank, gating, generator)
        block.mlp = MlpWithExperts(block.mlp, lmoe)


def evenness(usage: Tensor) -> float:
    """Entropy of a mean gate [E] over log E: 1 when all experts are used alike, 0 when one is used alone."""
    values = [float(u) for u in usage]
    if len(values) < 2:
        return 1.0
    return -sum(u * math.log(u) for u in values if u > 0) / math.log(len(values))
