"""The task loss and the distillation term, per class channel with its own sigmoid.

Written out here because importing MONAI costs each message seconds (docs/decisions/0001); the tests hold
them against MONAI's.
"""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as bce

BCE_WEIGHT, DICE_WEIGHT, SMOOTH = 0.2, 0.8, 1.0
"""0.2 cross-entropy + 0.8 Dice, as SAMed and FLAP-SAM."""


def task_loss(logits: Tensor, target: Tensor, weight: Tensor, annotated: Tensor) -> Tensor:
    """0.2 BCE + 0.8 (1 - Dice), mean over the annotated classes.

    Dice sums over the whole batch, so slices without the class neither vanish nor dominate.

    Args:
        logits: [B, K, L, L].
        target: soft, 0..1, [B, K, L, L].
        weight: share of each pixel that is image and not padding, [B, 1, L, L].
        annotated: bool [K]; the other classes have no part in the loss.
    """
    logits, target = logits[:, annotated], target[:, annotated]
    cross_entropy = bce(logits, target, weight=weight.expand_as(logits), reduction="sum")
    cross_entropy = cross_entropy / weight.expand_as(logits).sum().clamp_min(1.0)
    s, y = logits.sigmoid() * weight, target * weight
    overlap = (2 * (s * y).sum((0, 2, 3)) + SMOOTH) / (s.sum((0, 2, 3)) + y.sum((0, 2, 3)) + SMOOTH)
    return BCE_WEIGHT * cross_entropy + DICE_WEIGHT * (1 - overlap.mean())


def distillation_loss(student: Tensor, teacher: Tensor, weight: Tensor, temperature: float) -> Tensor:
    """T² · mean over pixels of KL( Bernoulli(σ(teacher/T)) ‖ Bernoulli(σ(student/T)) ).

    The Bernoulli form: a softmax over a single channel would always give 0. At least 0, and 0 exactly where
    the two agree. No gradient reaches the teacher.

    Args:
        student, teacher: logits [B, K, L, L].
        weight: as in ``task_loss``.
        temperature: T > 0.
    """
    teacher = teacher.detach() / temperature
    p = teacher.sigmoid()
    divergence = bce(student / temperature, p, reduction="none") - bce(teacher, p, reduction="none")
    weight = weight.expand_as(divergence)
    return temperature**2 * (divergence * weight).sum() / weight.sum().clamp_min(1.0)


def warmed(weight: float, number: int, warmup_rounds: int) -> float:
    """The distillation weight of a round: 0 in round 1, full from round ``1 + warmup_rounds`` on."""
    return weight * min(1.0, (number - 1) / warmup_rounds) if warmup_rounds else weight


def teacher_quality(teacher: float | None, student: float | None) -> float:
    """How far a teacher may be trusted, 0..1, from validation Dice: 1 while it is at most 0.05 behind.

    Falls linearly to 0 at 0.25 behind; 1 when either number is undefined.
    """
    if teacher is None or student is None:
        return 1.0
    return min(1.0, max(0.0, 1.0 - (student - teacher - 0.05) / 0.20))


def same_size(target: Tensor, size: int) -> Tensor:
    """Area average of [B, C, S, S] on the logits' grid [B, C, size, size]."""
    return torch.nn.functional.adaptive_avg_pool2d(target, size)
