"""The optimiser, and its moments as plain tensors for the personal state."""

import torch
from torch import Tensor, nn

from ..settings.run import TrainingSettings


def make_optimiser(named: dict[str, nn.Parameter], learning_rate: float, training: TrainingSettings) -> torch.optim.AdamW:
    """AdamW over exactly these parameters, in the order of their names."""
    parameters = [named[name] for name in sorted(named)]
    return torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=training.weight_decay, foreach=False)


def moments(optimiser: torch.optim.AdamW, named: dict[str, nn.Parameter]) -> dict[str, Tensor]:
    """AdamW's state as ``<parameter>/<moment>`` → tensor on the CPU."""
    found = {}
    for name in sorted(named):
        for moment, value in optimiser.state.get(named[name], {}).items():
            found[f"{name}/{moment}"] = torch.as_tensor(value).detach().cpu().clone()
    return found


def load_moments(optimiser: torch.optim.AdamW, named: dict[str, nn.Parameter], tensors: dict[str, Tensor]) -> None:
    """Put back what ``moments`` gave; an empty table leaves the optimiser fresh."""
    for key, value in tensors.items():
        name, moment = key.rsplit("/", 1)
        parameter = named[name]
        place = "cpu" if moment == "step" else parameter.device
        optimiser.state[parameter][moment] = value.clone().to(place)
