"""A state dict in about a quarter of its bytes: for weights that lie inside the package.

    w[i] ≈ scale[i] · q[i]      q int8 in -127..127, scale[i] = max |w[i]| / 127, one per output row

The error of a value is at most half its row's scale. What has one row only (``pos_embed``), biases and
other small tensors are kept as float16; integers stay. Reading back is a conversion or one float32
multiplication per value, so it gives the same bits on every machine.
"""

import torch
from torch import Tensor

SMALL = 4096
"""Elements up to which a tensor is kept as float16."""

SCALE = ":scale"
"""Ending of the name under which a matrix's scales are kept."""


def quantise(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors as int8 with float32 scales, or as float16.

    Raises:
        ValueError: a value is not finite, or too large for float16.
    """
    packed: dict[str, Tensor] = {}
    for name, value in state.items():
        if not value.is_floating_point():
            packed[name] = value.clone()
        elif value.numel() > SMALL and value.ndim > 1 and len(value) > 1:
            rows = value.float().flatten(1)
            scale = rows.abs().amax(dim=1) / 127
            steps = rows / scale.where(scale > 0, torch.ones(()))[:, None]
            packed[name] = steps.round().clamp(-127, 127).to(torch.int8).reshape(value.shape)
            packed[name + SCALE] = scale
        else:
            packed[name] = value.to(torch.float16)
        if not all(torch.isfinite(packed[n]).all() for n in (name, name + SCALE) if n in packed):
            raise ValueError(f"{name} holds values that are not finite or too large for float16")
    return packed


def dequantise(packed: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of ``quantise`` in float32; integers as they were."""
    state: dict[str, Tensor] = {}
    for name, value in packed.items():
        if name.endswith(SCALE):
            continue
        scale = packed.get(name + SCALE)
        if scale is not None:
            state[name] = value.float() * scale.reshape(-1, *[1] * (value.ndim - 1))
        else:
            state[name] = value.float() if value.is_floating_point() else value.clone()
    return state
