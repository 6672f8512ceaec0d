"""AdamW (Loshchilov and Hutter 2019, algorithm 2) as a function on tensors.

``torch.optim`` imports torch's compiler at the first step: about as long again as importing torch, in a
process that Flower starts anew for each message (docs/decisions/0001). The moments are plain tensors, so they
go to the personal state as they are; a test holds the steps against ``torch.optim.AdamW``.
"""

import torch
from torch import Tensor, nn

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8

Moments = dict[str, Tensor]
"""``<parameter>/mean``, ``<parameter>/square`` and ``steps`` (int64, one number)."""


@torch.no_grad()
def adamw_step(
    named: dict[str, nn.Parameter], moments: Moments, learning_rate: float, weight_decay: float
) -> None:
    """One step of every parameter along its gradient; parameters and ``moments`` change in place.

    Args:
        named: parameters with a gradient, by name. One without a gradient stays as it is.
        moments: empty at the first step.
    """
    steps = moments.setdefault("steps", torch.zeros(1, dtype=torch.int64))
    steps += 1
    count = int(steps)
    for name in sorted(named):
        parameter = named[name]
        if parameter.grad is None:
            continue
        mean = moments.setdefault(f"{name}/mean", torch.zeros_like(parameter))
        square = moments.setdefault(f"{name}/square", torch.zeros_like(parameter))
        parameter.mul_(1 - learning_rate * weight_decay)
        mean.lerp_(parameter.grad, 1 - BETA1)
        square.mul_(BETA2).addcmul_(parameter.grad, parameter.grad, value=1 - BETA2)
        denominator = (square.sqrt() / (1 - BETA2**count) ** 0.5).add_(EPSILON)
        parameter.addcdiv_(mean, denominator, value=-learning_rate / (1 - BETA1**count))


@torch.no_grad()
def clip_gradients(named: dict[str, nn.Parameter], largest_norm: float) -> None:
    """Scale all gradients down to ``largest_norm`` together when their Euclidean norm is larger."""
    gradients = [named[name].grad for name in sorted(named) if named[name].grad is not None]
    norm = torch.stack([g.norm() for g in gradients]).norm()
    factor = (largest_norm / (norm + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(factor)
