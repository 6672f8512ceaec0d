"""A prompt → a mask on the image's own grid: a backbone asked as segment-anything asks it.

For backbones only. ``PFedSAM`` replaces the prompts by class tokens, so a trained site model knows classes
and answers no box; what is asked here is the SAM that it starts from.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..data.fitting import InputRule, fit
from ..errors import SettingsError
from ..model.pfedsam import PFedSAM
from .predictor import to_own_grid
from .prompts import Prompt, check_prompts, scaled


@dataclass(frozen=True, eq=False)
class Answer:
    """What a SAM says to one prompt.

    Attributes:
        logits: float32 [H, W], on the image's own grid.
        quality: its own estimate of the mask's intersection over union; about 0..1, not clipped.
    """

    logits: np.ndarray
    quality: float

    @property
    def mask(self) -> np.ndarray:
        """bool [H, W], probability above 0.5."""
        return self.logits > 0


@torch.inference_mode()
def predict_prompted(sam: nn.Module, image: np.ndarray, prompts: Sequence[Prompt]) -> list[Answer]:
    """One answer per prompt; the image is encoded once.

    One point alone is ambiguous (a nucleus, its cell, the tissue). A backbone whose three masks for that
    case were trained gives them, and the one that it thinks best of is taken. Every other prompt, and
    every other backbone, gets SAM's single mask.

    Args:
        sam: from ``load_sam``, in evaluation mode; nothing in it is changed.
        image: float32 [H, W, C] in 0..255, C 1 or 3.

    Raises:
        SettingsError: PFS-103 when a prompt does not fit the image, or the backbone answers none.
    """
    if not sam.backbone.prompt_masks:
        raise SettingsError(
            "PFS-103", "this backbone's decoder is a start for training and answers no prompt"
        )
    check_prompts(prompts, *image.shape[:2])
    size = sam.prompt_encoder.input_image_size[0]
    square, valid = fit(image, InputRule(size, sam.backbone.pixels.stretch))
    device = sam.prompt_encoder.no_mask_embed.weight.device
    pixels = torch.from_numpy(np.broadcast_to(square, (1, 3, size, size)).copy()).to(device)
    model = PFedSAM(sam, 1, size)  # for its pixel rule and its positions at any size, with SAM's own parts
    embedding = model.embedding(model.trunk(pixels, torch.tensor([valid], device=device)))
    answers = []
    for prompt in prompts:
        sparse, dense = sam.prompt_encoder(*_encoded(prompt, image.shape[:2], valid, device), masks=None)
        three = sam.backbone.prompt_masks == 3 and prompt.box is None and len(prompt.points) == 1
        masks, qualities = sam.mask_decoder(
            embedding, sam.prompt_encoder.get_dense_pe(), sparse, dense, multimask_output=three
        )
        best = int(qualities[0].argmax())
        logits = to_own_grid(masks[:, best : best + 1], size, valid, image.shape[:2])
        answers.append(Answer(logits[0, 0].float().cpu().numpy(), float(qualities[0, best])))
    return answers


def _encoded(
    prompt: Prompt, shape: tuple[int, int], valid: tuple[int, int], device: torch.device
) -> tuple[tuple[Tensor, Tensor] | None, Tensor | None]:
    """Points with labels and the box, float32 on the square, each as SAM's prompt encoder takes it."""
    points = boxes = None
    if prompt.points:
        xy = scaled(np.array([point[:2] for point in prompt.points]), shape, valid)
        labels = torch.tensor([[int(inside) for _, _, inside in prompt.points]], device=device)
        points = (torch.from_numpy(xy).float()[None].to(device), labels)
    if prompt.box:
        corners = scaled(np.array(prompt.box), shape, valid)
        boxes = torch.from_numpy(corners).float().reshape(1, 4).to(device)
    return points, boxes
