"""Each tensor of the model has exactly one role: frozen, shared or personal."""

from typing import Literal

from torch import nn

from .lmoe import LMoE
from .lora import LoraLinear

Role = Literal["frozen", "shared", "personal"]


def assign_roles(model: nn.Module, decoder_mode: str) -> dict[str, Role]:
    """The role of every entry of ``model.state_dict()``.

    Args:
        decoder_mode: ``heads``, ``lora-heads`` or ``full`` (see ``DecoderSettings``).
    """
    personal, lora = set(), set()
    for prefix, module in model.named_modules():
        if isinstance(module, LMoE):
            personal |= {f"{prefix}.{name}" for name in module.state_dict()}
        if isinstance(module, LoraLinear):
            lora |= {f"{prefix}.{name}" for name in module.state_dict() if name.startswith("lora_")}
    roles: dict[str, Role] = {}
    for key in model.state_dict():
        if key in personal:
            roles[key] = "personal"
        elif key in lora or _is_shared_decoder(key, decoder_mode):
            roles[key] = "shared"
        else:
            roles[key] = "frozen"
    return roles


def _is_shared_decoder(key: str, mode: str) -> bool:
    """Decoder tensors that are trained and averaged. What never receives a gradient stays frozen.

    SAM's quality head, its mask token 0 and hypernetworks are not used by the prompt-free decoder.
    """
    heads = (
        "mask_decoder.class_tokens",
        "mask_decoder.class_hypernetworks.",
        "mask_decoder.sam.output_upscaling.",
    )
    if key.startswith(heads):
        return True
    return mode == "full" and key.startswith(("mask_decoder.sam.transformer.", "mask_decoder.sam.iou_token."))


def set_trainable(model: nn.Module, roles: dict[str, Role], role: Role | None) -> list[nn.Parameter]:
    """Afterwards only the parameters of ``role`` require a gradient (None: none); returns them."""
    chosen = []
    for name, parameter in sorted(model.named_parameters()):
        parameter.requires_grad_(role is not None and roles[name] == role)
        parameter.grad = None
        if parameter.requires_grad:
            chosen.append(parameter)
    return chosen
