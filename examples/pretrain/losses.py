"""What stage B minimises."""

from torch import Tensor
from torch.nn import functional as F


def prompted(logits: Tensor, targets: Tensor) -> Tensor:
    """Dice and cross-entropy of single objects; small objects count as much as large ones.

    Args:
        logits, targets: [N, H, W]; targets in 0..1 (the part of a pixel that the object covers).
    """
    covered = targets.sum((1, 2))
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum((1, 2))
    overlap = (logits.sigmoid() * targets).sum((1, 2))
    dice = 1 - (2 * overlap + 1) / (logits.sigmoid().sum((1, 2)) + covered + 1)
    return (dice + entropy / (4 * covered.clamp(min=4))).mean()


def salient(logits: Tensor, targets: Tensor) -> Tensor:
    """The same for the empty prompt and for classes, where a target may be empty: Dice over the batch.

    Args:
        logits, targets: [N, K, H, W].
    """
    entropy = F.binary_cross_entropy_with_logits(logits, targets)
    chance = logits.sigmoid()
    overlap, total = (chance * targets).sum((0, 2, 3)), (chance + targets).sum((0, 2, 3))
    return (1 - (2 * overlap + 1) / (total + 1)).mean() + 2 * entropy


def estimate(guess: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
    """Squared error of SAM's own IoU estimate [N] against the IoU of its mask."""
    mask, truth = logits.detach() > 0, targets > 0.5
    union = (mask | truth).sum((1, 2)).clamp(min=1)
    return F.mse_loss(guess, (mask & truth).sum((1, 2)) / union)


def kept(rebuilt: Tensor, tokens: Tensor) -> Tensor:
    """1 - cosine between the trunk's tokens, mean-free over the image, and those rebuilt from the neck.

    Args:
        rebuilt, tokens: [B, D, g, g].
    """
    centred = tokens - tokens.mean((2, 3), keepdim=True)
    return 1 - F.cosine_similarity(rebuilt, centred, dim=1).mean()


def area(masks: Tensor, side: int) -> Tensor:
    """bool [..., S, S] → float [..., side, side], the part of each pixel that is covered."""
    flat = masks.reshape(-1, 1, *masks.shape[-2:]).float()
    return F.adaptive_avg_pool2d(flat, side).reshape(*masks.shape[:-2], side, side)
