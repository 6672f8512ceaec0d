"""A case → logits on the case's own grid."""

import numpy as np
import torch

from ..data.fitting import fit
from ..model.pfedsam import PFedSAM

SLICES_AT_ONCE = 8


@torch.inference_mode()
def predict_logits(model: PFedSAM, image: np.ndarray, *, personal: bool) -> np.ndarray:
    """Logits of every class on the image's own grid.

    Args:
        image: float32 [D, H, W, C] in 0..255 (C is 1 or 3), as ``data.cases.load_case`` gives it.
        personal: the personalised model, or the global one.

    Returns:
        float32 [K, D, H, W]; a mask is ``logits > 0``, which is probability 0.5.
    """
    device = model.device
    parts = []
    with model.personalised(personal):
        for start in range(0, len(image), SLICES_AT_ONCE):
            size, stretch = model.image_size, model.pixels.stretch
            fitted = [fit(one, size, stretch) for one in image[start : start + SLICES_AT_ONCE]]
            pixels = np.stack([np.broadcast_to(square, (3, size, size)) for square, _ in fitted])
            valid = torch.tensor([shape for _, shape in fitted], device=device)
            logits = model(torch.from_numpy(pixels).to(device), valid).float()
            parts.append(to_own_grid(logits, size, fitted[0][1], image.shape[1:3]).cpu().numpy())
    return np.concatenate(parts).transpose(1, 0, 2, 3)


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


def _resize(planes: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.nn.functional.interpolate(planes, size=tuple(shape), mode="bilinear", align_corners=False)
