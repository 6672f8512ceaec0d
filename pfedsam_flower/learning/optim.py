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

    All parameters go through each operation together: on a GPU one launch instead of one per parameter, and
    the same bits as one after another.

    Args:
        named: parameters with a gradient, by name. One without a gradient stays as it is.
        moments: empty at the first step.
    """
    steps = moments.setdefault("steps", torch.zeros(1, dtype=torch.int64))
    steps += 1
    count = int(steps)
    names = [name for name in sorted(named) if named[name].grad is not None]
    if not names:
        return
    parameters = [named[name] for name in names]
    gradients = _gradients(parameters)
    means = [moments.setdefault(f"{n}/mean", torch.zeros_like(named[n])) for n in names]
    squares = [moments.setdefault(f"{n}/square", torch.zeros_like(named[n])) for n in names]
    torch._foreach_mul_(parameters, 1 - learning_rate * weight_decay)
    torch._foreach_lerp_(means, gradients, 1 - BETA1)
    torch._foreach_mul_(squares, BETA2)
    torch._foreach_addcmul_(squares, gradients, gradients, value=1 - BETA2)
    denominators = torch._foreach_sqrt(squares)
    torch._foreach_div_(denominators, (1 - BETA2**count) ** 0.5)
    torch._foreach_add_(denominators, EPSILON)
    torch._foreach_addcdiv_(parameters, means, denominators, value=-learning_rate / (1 - BETA1**count))


@torch.no_grad()
def clip_gradients(named: dict[str, nn.Parameter], largest_norm: float) -> None:
    """Scale all gradients down to ``largest_norm`` together when their Euclidean norm is larger."""
    gradients = _gradients([named[name] for name in sorted(named)])
    norm = torch.stack(torch._foreach_norm(gradients)).norm()
    factor = (largest_norm / (norm + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_(gradients, factor)


def _gradients(parameters: list[nn.Parameter]) -> list[Tensor]:
    return [p.grad for p in parameters if p.grad is not None]
