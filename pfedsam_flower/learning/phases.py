"""What a site's optimiser steps do. Pure: no disk, no clock, no global random state.

The model that is passed in is the only thing they change. All start from the broadcast:

    global phase   L-MoE bypassed, shared parameters trained        L = task(global model)
    local phase    shared parameters frozen, L-MoE trained          L = task(personalised)
                                              + λ(t) · q · T² KL(global ‖ personalised)
    joint phase    both trained together                            L = task(personalised)
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..model.pfedsam import PFedSAM
from ..model.roles import Role, set_trainable
from ..settings.run import TrainingSettings
from .batches import Batch
from .losses import distillation_loss, task_loss
from .optim import Moments, adamw_step, clip_gradients
from .orthogonality import begun
from .rates import Factor, steady


@dataclass(frozen=True)
class PhaseResult:
    """Mean task loss over the phase's steps (None without steps), and the optimiser's moments at its end.

    ``shared`` are those of the shared parameters, empty where they are not kept.
    """

    loss: float | None
    optimiser: Moments
    shared: Moments = field(default_factory=dict)


def global_phase(
    model: PFedSAM,
    roles: Mapping[str, Role],
    drawn: Iterator[Batch],
    training: TrainingSettings,
    *,
    factor: Factor = steady,
    optimiser: Moments | None = None,
    pull_to: Mapping[str, Tensor] | None = None,
    distillation_weight: float = 0.0,
    temperature: float = 1.0,
) -> PhaseResult:
    """Train the shared parameters with the personal additions bypassed (method.md A13, A17).

    Afterwards no parameter requires a gradient.

    Args:
        optimiser: moments to go on with; a fresh optimiser without.
        pull_to: by name, where ``training.proximal`` pulls the parameters to (FedProx 1812.06127, Ditto
            2012.04221).
        distillation_weight: above 0 the personalised model teaches.
    """
    set_trainable(model, roles, "shared")
    named = trainable(model)
    moments = _on_device(optimiser or {}, model.device)
    losses = []
    for step, batch in enumerate(drawn):
        with _precision(model, training):
            teacher = None
            if distillation_weight > 0:
                with torch.no_grad(), model.personalised(True):
                    teacher = model(batch.images, batch.valid).float()
            with model.personalised(False):
                logits = model(batch.images, batch.valid).float()
            task, loss = _loss(logits, batch, teacher, distillation_weight, temperature)
        _gradients(loss, named, training, pull_to)
        _move(named, moments, training.learning_rate_shared * factor(step), training)
        losses.append(float(task.detach()))
    set_trainable(model, roles, None)
    return PhaseResult(_mean(losses), {}, _on_cpu(moments))


def local_phase(
    model: PFedSAM,
    roles: Mapping[str, Role],
    drawn: Iterator[Batch],
    training: TrainingSettings,
    distillation_weight: float,
    temperature: float,
    optimiser: Moments,
    *,
    factor: Factor = steady,
) -> PhaseResult:
    """Train the personal parameters on the frozen shared ones, with the global model as teacher.

    Teacher and student see the same augmented samples; the blocks before the first personal addition are
    common to both and run once, without a gradient where nothing below is trained.

    Args:
        distillation_weight: λ(t) · q; 0 runs no teacher.
        optimiser: moments of the site's former local phase; empty at the first.
    """
    set_trainable(model, roles, "personal")
    named = trainable(model)
    moments = _on_device(optimiser, model.device)
    frozen = model.trunk_is_frozen
    losses = []
    for step, batch in enumerate(drawn):
        with _precision(model, training):
            with torch.set_grad_enabled(not frozen):
                tokens = model.trunk(batch.images, batch.valid)
            teacher = None
            if distillation_weight > 0:
                with torch.no_grad(), model.personalised(False):
                    teacher = model.tail(tokens).float()
            with model.personalised(True):
                student = model.tail(tokens).float()
            task, loss = _loss(student, batch, teacher, distillation_weight, temperature)
        _gradients(loss, named, training)
        _move(named, moments, training.learning_rate_personal * factor(step), training)
        losses.append(float(task.detach()))
    set_trainable(model, roles, None)
    return PhaseResult(_mean(losses), _on_cpu(moments))


def joint_phase(
    model: PFedSAM,
    roles: Mapping[str, Role],
    drawn: Iterator[Batch],
    training: TrainingSettings,
    optimiser: Moments,
    *,
    factor: Factor = steady,
    teacher: Mapping[str, Tensor] | None = None,
    distillation_weight: float = 0.0,
    temperature: float = 1.0,
) -> PhaseResult:
    """Train shared and personal parameters together; the moments of the latter alone are kept.

    With ``training.orthogonality`` the loss has IAT's term, see ``learning.orthogonality``.

    Args:
        teacher: the global model's shared parameters, by name; teaches with ``distillation_weight`` above 0.
    """
    set_trainable(model, roles, ("shared", "personal"))
    named = trainable(model)
    shared = {name: p for name, p in named.items() if roles[name] == "shared"}
    personal = {name: p for name, p in named.items() if roles[name] == "personal"}
    term = begun(named, roles) if training.orthogonality else None
    fresh: Moments = {}
    moments = _on_device(optimiser, model.device)
    losses = []
    for step, batch in enumerate(drawn):
        with _precision(model, training):
            told = None
            if teacher is not None and distillation_weight > 0:
                with torch.no_grad(), model.personalised(False):
                    asked = (batch.images, batch.valid)
                    told = torch.func.functional_call(model, dict(teacher), asked).float()
            with model.personalised(True):
                logits = model(batch.images, batch.valid).float()
            task, loss = _loss(logits, batch, told, distillation_weight, temperature)
        if term is not None:
            loss = loss + training.orthogonality * term.term(named)
        _gradients(loss, named, training)
        _move(shared, fresh, training.learning_rate_shared * factor(step), training)
        _move(personal, moments, training.learning_rate_personal * factor(step), training)
        if term is not None:
            term.follow(named)
        losses.append(float(task.detach()))
    set_trainable(model, roles, None)
    return PhaseResult(_mean(losses), _on_cpu(moments))


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that require a gradient, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def _loss(
    logits: Tensor, batch: Batch, teacher: Tensor | None, weight: float, temperature: float
) -> tuple[Tensor, Tensor]:
    """The task loss, and with the distillation term."""
    task = task_loss(logits, batch.target, batch.weight, batch.annotated)
    if teacher is None:
        return task, task
    return task, task + weight * distillation_loss(logits, teacher, batch.weight, temperature)


def _gradients(
    loss: Tensor,
    named: Mapping[str, nn.Parameter],
    training: TrainingSettings,
    pull_to: Mapping[str, Tensor] | None = None,
) -> None:
    for parameter in named.values():
        parameter.grad = None
    loss.backward()
    if pull_to is not None and training.proximal > 0:
        for name, parameter in named.items():
            if parameter.grad is not None:
                parameter.grad.add_(parameter.detach() - pull_to[name], alpha=training.proximal)
    clip_gradients(dict(named), training.clip_norm)


def _move(
    named: Mapping[str, nn.Parameter], moments: Moments, learning_rate: float, training: TrainingSettings
) -> None:
    adamw_step(dict(named), moments, learning_rate, training.weight_decay)


def _on_device(moments: Moments, device: torch.device) -> Moments:
    return {k: v.clone() if k == "steps" else v.clone().to(device) for k, v in moments.items()}


def _on_cpu(moments: Moments) -> Moments:
    return {k: v.cpu() for k, v in moments.items()}


def _precision(model: nn.Module, training: TrainingSettings) -> torch.autocast:
    device = next(model.parameters()).device.type
    return torch.autocast(device, torch.bfloat16, enabled=training.precision == "bfloat16")


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
