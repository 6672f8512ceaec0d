"""A case → logits on the grid of its slices."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from ..data.fitting import InputRule, Spacing, channel_places, fit
from ..errors import ContractError
from ..model.pfedsam import PFedSAM

SLICES_AT_ONCE = 8

Tokens = Callable[[int, Callable[[], torch.Tensor]], torch.Tensor]
"""A group's first slice, and what makes the trunk's tokens of the group → these, made or remembered."""


def predict_logits(
    model: PFedSAM, image: np.ndarray, rule: InputRule, spacing_mm: Spacing, *, personal: bool
) -> np.ndarray:
    """Logits of every class on the grid of the slices.

    Args:
        image: float32 [D, H, W, C] in 0..255 (C is 1 or 3), as ``data.cases.prepare_image`` gives it.
        rule: how a slice becomes the network's square; its size is the model's.
        spacing_mm: between slices, rows and columns.
        personal: the personalised model, or the global one.

    Returns:
        float32 [K, D, H, W]; a mask is ``logits > 0``, which is probability 0.5.

    Raises:
        ContractError: PFS-403 when an answer is not finite: its mask would be empty without a reason.
    """
    logits, valid = decoder_logits(model, image, rule, spacing_mm, personal=personal)
    n_bad = int(logits.size - np.isfinite(logits).sum())
    if n_bad:
        raise ContractError(
            "PFS-403",
            f"{n_bad} of {logits.size} values of the model's answer are not finite; no mask is made of it",
            hint="its parameters are too large, or the image holds values that are not finite: take an "
            "earlier round of the run, or look at the image with check-data",
            counts={"values": n_bad},
        )
    return enlarged(logits, rule.size, valid, image.shape[1:3], model.device)


def made(first: int, make: Callable[[], torch.Tensor]) -> torch.Tensor:
    """Tokens that nobody remembers."""
    return make()


@torch.inference_mode()
def decoder_logits(
    model: PFedSAM,
    image: np.ndarray,
    rule: InputRule,
    spacing_mm: Spacing,
    *,
    personal: bool,
    tokens: Tokens = made,
) -> tuple[np.ndarray, tuple[int, int]]:
    """What the decoder says of each slice, float32 [D, K, L, L], and the part (h, w) of it that is image.

    Args: as ``predict_logits``; (h, w) are pixels of the square.
        tokens: gives those of ``model.trunk``, [B, h, w, D] of up to ``SLICES_AT_ONCE`` slices.
    """
    found = []
    valid = (0, 0)
    with model.personalised(personal):
        for start in range(0, len(image), SLICES_AT_ONCE):
            shown = range(start, min(start + SLICES_AT_ONCE, len(image)))
            pixels, valid = _squares(image, shown, rule, spacing_mm)
            seen = tokens(start, partial(_seen, model, pixels, valid))
            found.append(model.tail(seen).float().cpu().numpy())
    return np.concatenate(found), valid


@torch.inference_mode()
def enlarged(
    logits: np.ndarray, size: int, valid: tuple[int, int], shape: tuple[int, ...], device: torch.device
) -> np.ndarray:
    """``decoder_logits`` on the slices' own grid: float32 [K, D, *shape]."""
    result = np.empty((logits.shape[1], len(logits), *shape), np.float32)
    for start in range(0, len(logits), SLICES_AT_ONCE):
        chunk = torch.from_numpy(logits[start : start + SLICES_AT_ONCE]).to(device)
        own = to_own_grid(chunk, size, valid, (shape[0], shape[1])).cpu().numpy()
        result[:, start : start + len(chunk)] = own.transpose(1, 0, 2, 3)
    return result


def to_own_grid(
    logits: torch.Tensor, size: int, valid: tuple[int, int], shape: tuple[int, int]
) -> torch.Tensor:
    """A decoder's logits [B, K, L, L] on the image's own grid, [B, K, *shape]: enlarged, cropped, resized.

    Args:
        size: side of the square that the network saw.
        valid: (h, w) of the image on it, as ``fit`` gave it.
    """
    height, width = valid
    return _resize(_resize(logits, (size, size))[..., :height, :width], shape)


def _seen(model: PFedSAM, pixels: np.ndarray, valid: tuple[int, int]) -> torch.Tensor:
    """The trunk's tokens of some slices; contiguous, for arithmetic may depend on how they lie in memory."""
    sizes = torch.tensor([valid] * len(pixels), device=model.device)
    return model.trunk(torch.from_numpy(pixels).to(model.device), sizes).contiguous()


def _squares(
    image: np.ndarray, shown: range, rule: InputRule, spacing_mm: Spacing
) -> tuple[np.ndarray, tuple[int, int]]:
    """float32 [B, 3, S, S] of some slices, grey ones repeated; and the part that is image."""
    channels = [channel_places(place, len(image), rule.neighbours) for place in shown]
    fitted = {one: fit(image[one], rule, spacing_mm) for one in sorted(set().union(*channels))}
    squares = [np.concatenate([fitted[one][0] for one in places]) for places in channels]
    pixels = [np.broadcast_to(square, (3, rule.size, rule.size)) for square in squares]
    return np.stack(pixels), fitted[shown.start][1]


def _resize(planes: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.nn.functional.interpolate(planes, size=tuple(shape), mode="bilinear", align_corners=False)
