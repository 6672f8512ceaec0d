"""Each tensor of the model has exactly one role: frozen, shared or personal."""

from collections.abc import Collection, Mapping
from typing import Literal

from torch import nn

from ..contract.methods import Group, Method
from .lmoe import LMoE
from .lora import LoraLinear, PrivateLora
from .neck import BranchedConv

Role = Literal["frozen", "shared", "personal"]


def groups_of(model: nn.Module, decoder_mode: str) -> dict[str, Group]:
    """The group of every entry of ``model.state_dict()`` that a method may train.

    Args:
        decoder_mode: ``heads``, ``lora-heads`` or ``full`` (see ``DecoderSettings``).
    """
    found: dict[str, Group] = {}
    parameters = {name for name, _ in model.named_parameters()}
    encoder = [name for name in parameters if name.startswith("image_encoder.")]
    found |= dict.fromkeys(encoder, "encoder")
    for prefix, module in model.named_modules():
        keys = [f"{prefix}.{name}" for name in module.state_dict()]
        if isinstance(module, nn.LayerNorm) and prefix.startswith("image_encoder.blocks."):
            found |= dict.fromkeys(keys, "norms")
        if isinstance(module, LoraLinear):
            place = "" if prefix.startswith("image_encoder.") else "decoder-"
            for key in keys:
                name = key.removeprefix(f"{prefix}.")
                if name.startswith("lora_"):
                    # what averaging the factors left out travels with B, whose product it completes
                    found[key] = f"{place}lora-a" if name.endswith("_a") else f"{place}lora-b"  # type: ignore[assignment]
    for prefix, module in model.named_modules():
        keys = [f"{prefix}.{name}" for name in module.state_dict()]
        if isinstance(module, LMoE):
            found |= dict.fromkeys(keys, "experts")
        if isinstance(module, PrivateLora):
            found |= dict.fromkeys(keys, "private-lora")
        if isinstance(module, BranchedConv):
            found |= dict.fromkeys([key for key in keys if ".branch." in key], "neck-branch")
    state = model.state_dict()
    found |= {key: "decoder" for key in state if key not in found and _is_decoder(key, decoder_mode)}
    return found


def assign_roles(model: nn.Module, decoder_mode: str, method: Method) -> dict[str, Role]:
    """The role of every entry of ``model.state_dict()`` under a method."""
    groups = groups_of(model, decoder_mode)
    roles: dict[str, Role] = {}
    for key in model.state_dict():
        group = groups.get(key)
        roles[key] = (
            "shared" if group in method.shared else "personal" if group in method.personal else "frozen"
        )
    return roles


def _is_decoder(key: str, mode: str) -> bool:
    """Decoder tensors that are trained. What never receives a gradient stays frozen.

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


def resting(roles: Mapping[str, Role], factor: str) -> dict[str, Role]:
    """The roles while one of LoRA's factors, ``a`` or ``b``, is not trained."""
    return {
        key: "frozen" if ".lora_" in key and key.endswith(f"_{factor}") else role
        for key, role in roles.items()
    }


def set_trainable(
    model: nn.Module, roles: Mapping[str, Role], role: Role | Collection[Role] | None
) -> list[nn.Parameter]:
    """Afterwards only the parameters of ``role`` (one, several, None) require a gradient; returns them."""
    wanted = () if role is None else (role,) if isinstance(role, str) else role
    chosen = []
    for name, parameter in sorted(model.named_parameters()):
        parameter.requires_grad_(roles[name] in wanted)
        parameter.grad = None
        if parameter.requires_grad:
            chosen.append(parameter)
    return chosen
