"""The two phases of a round at a site. Pure: no disk, no clock, no global random state.

The model that is passed in is the only thing they change. Both start from the broadcast:

    global phase   L-MoE bypassed, shared parameters trained        L = task(global model)
    local phase    shared parameters frozen, L-MoE trained          L = task(personalised)
                                              + λ(t) · q · T² KL(global ‖ personalised)
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..model.pfedsam import PFedSAM
from ..model.roles import Role, set_trainable
from ..settings.run import TrainingSettings
from .batches import Batch
from .losses import distillation_loss, task_loss
from .optim import Moments, adamw_step, clip_gradients


@dataclass(frozen=True)
class PhaseResult:
    """Mean task loss over the phase's steps (None without steps), and the optimiser's moments at its end."""

    loss: float | None
    optimiser: Moments


def global_phase(
    model: PFedSAM, roles: dict[str, Role], drawn: Iterator[Batch], training: TrainingSettings
) -> PhaseResult:
    """Train the shared parameters with the L-MoE bypassed and a fresh optimiser (method.md A13, A17).

    Afterwards no parameter requires a gradient.
    """
    set_trainable(model, roles, "shared")
    named = trainable(model)
    moments: Moments = {}
    losses = []
    with model.personalised(False):
        for batch in drawn:
            with _precision(model, training):
                loss = task_loss(
                    model(batch.images, batch.valid).float(), batch.target, batch.weight, batch.annotated
                )
            losses.append(_step(loss, named, moments, training.learning_rate_shared, training))
    set_trainable(model, roles, None)
    return PhaseResult(_mean(losses), {})


def local_phase(
    model: PFedSAM,
    roles: dict[str, Role],
    drawn: Iterator[Batch],
    training: TrainingSettings,
    distillation_weight: float,
    temperature: float,
    optimiser: Moments,
) -> PhaseResult:
    """Train the personal parameters on the frozen shared ones, with the global model as teacher.

    Teacher and student see the same augmented samples; the blocks before the first expert are common
    to both and run once, without a gradient (nothing below is trained).

    Args:
        distillation_weight: λ(t) · q; 0 runs no teacher.
        optimiser: moments of the site's former local phase; empty at the first.
    """
    set_trainable(model, roles, "personal")
    named = trainable(model)
    device = model.device
    moments = {k: v.clone() if k == "steps" else v.clone().to(device) for k, v in optimiser.items()}
    losses = []
    for batch in drawn:
        with _precision(model, training):
            with torch.no_grad():
                tokens = model.trunk(batch.images, batch.valid)
                if distillation_weight > 0:
                    with model.personalised(False):
                        teacher = model.tail(tokens).float()
            with model.personalised(True):
                student = model.tail(tokens).float()
            task = task_loss(student, batch.target, batch.weight, batch.annotated)
            loss = task
            if distillation_weight > 0:
                loss = loss + distillation_weight * distillation_loss(
                    student, teacher, batch.weight, temperature
                )
        _step(loss, named, moments, training.learning_rate_personal, training)
        losses.append(float(task.detach()))
    set_trainable(model, roles, None)
    return PhaseResult(_mean(losses), {k: v.cpu() for k, v in moments.items()})


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that require a gradient, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def _step(
    loss: Tensor,
    named: dict[str, nn.Parameter],
    moments: Moments,
    learning_rate: float,
    training: TrainingSettings,
) -> float:
    for parameter in named.values():
        parameter.grad = None
    loss.backward()
    clip_gradients(named, training.clip_norm)
    adamw_step(named, moments, learning_rate, training.weight_decay)
    return float(loss.detach())


def _precision(model: nn.Module, training: TrainingSettings) -> torch.autocast:
    device = next(model.parameters()).device.type
    return torch.autocast(device, torch.bfloat16, enabled=training.precision == "bfloat16")


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
