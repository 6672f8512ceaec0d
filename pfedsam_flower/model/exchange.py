"""The one door: which tensors leave the model, and how they come back in.

Outgoing arrays are built from an allow-list of role ``shared``. Nothing else in the package turns
model tensors into something that can be sent.
"""

import numpy as np
import torch
from torch import nn

from ..contract.schema import Contract
from .roles import Role


def shared_tensors(model: nn.Module, roles: dict[str, Role]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """(key, shape) of the shared tensors in the contract's order."""
    state = model.state_dict()
    return tuple((key, tuple(state[key].shape)) for key in sorted(state) if roles[key] == "shared")


def export_shared(model: nn.Module, contract: Contract) -> np.ndarray:
    """The shared parameters, packed: float32 [n_values], a copy."""
    state = model.state_dict()
    return contract.pack({key: _array(state[key]) for key, _ in contract.tensors})


def import_shared(model: nn.Module, contract: Contract, packed: np.ndarray) -> None:
    """Set the shared parameters; the model is unchanged when the array does not fit.

    Raises:
        ContractError: PFS-402.
    """
    arrays = contract.unpack(packed)
    state = model.state_dict()
    with torch.no_grad():
        for key, values in arrays.items():
            state[key].copy_(torch.from_numpy(values.copy()))


def personal_state(model: nn.Module, roles: dict[str, Role]) -> dict[str, torch.Tensor]:
    """Copies of the personal tensors on the CPU, for the site's own disk."""
    return {k: v.detach().cpu().clone() for k, v in model.state_dict().items() if roles[k] == "personal"}


def load_personal(model: nn.Module, roles: dict[str, Role], tensors: dict[str, torch.Tensor]) -> None:
    """Set the personal tensors; ``tensors`` must be exactly those of role ``personal``."""
    state = model.state_dict()
    expected = {key for key, role in roles.items() if role == "personal"}
    if set(tensors) != expected or any(state[k].shape != t.shape for k, t in tensors.items()):
        raise ValueError("personal tensors do not fit the model")
    with torch.no_grad():
        for key, values in tensors.items():
            state[key].copy_(values)


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().to("cpu", torch.float32).numpy()
