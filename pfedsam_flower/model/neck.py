"""A personal branch in SAM's neck: what experts before the neck cannot change is fine detail.

    y = W * x + U (D * x)      D [r, C, 3, 3] drawn, U [C, r, 1, 1] zero at the start

beside the neck's 3x3 convolution W, which stays frozen and keeps its keys.
"""

import math

import torch
from torch import Tensor, nn


class Branch(nn.Module):
    """Low-rank convolution that starts at zero.

    Attributes:
        active: off makes the model exactly the global one.
    """

    def __init__(self, channels: int, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        bound = 1 / math.sqrt(9 * channels)
        self.down = nn.Parameter(
            torch.empty(rank, channels, 3, 3).uniform_(-bound, bound, generator=generator)
        )
        self.up = nn.Parameter(torch.zeros(channels, rank, 1, 1))
        self.active = True

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] → [B, C, h, w]."""
        return nn.functional.conv2d(nn.functional.conv2d(x, self.down, padding=1), self.up)


class BranchedConv(nn.Module):
    """The neck's own convolution (same keys as before) and a branch beside it."""

    def __init__(self, base: nn.Conv2d, branch: Branch) -> None:
        super().__init__()
        self.weight, self.bias, self.padding = base.weight, base.bias, base.padding
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] → [B, C, h, w]; the convolution alone when the branch is bypassed."""
        y = nn.functional.conv2d(x, self.weight, self.bias, padding=self.padding)
        return y + self.branch(x) if self.branch.active else y


def add_neck_branch(encoder: nn.Module, rank: int, generator: torch.Generator) -> None:
    """Put a branch beside the 3x3 convolution of the encoder's neck."""
    base = encoder.neck[2]
    encoder.neck[2] = BranchedConv(base, Branch(base.in_channels, rank, generator))
