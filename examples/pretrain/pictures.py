"""A sheet of held-out generated images with what the network marks: by box, by point, by nothing."""

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from . import prompts
from .images import generate
from .network import decode, sparse_tokens

HELD_OUT = 10**9
"""Images from this number on are never trained on."""


@torch.inference_mode()
def sample_sheet(sam: nn.Module, seed: int, path: Path, count: int = 8) -> None:
    """Write a PNG with one column per image: the image and its objects, box, point, empty prompt."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    device = sam.pixel_mean.device
    figure, axes = plt.subplots(4, count, figsize=(2 * count, 8))
    number = HELD_OUT
    for column in range(count):
        image, masks, classes, _ = generate(seed, number)
        while not len(classes):
            number += 1
            image, masks, classes, _ = generate(seed, number)
        rng = np.random.default_rng([seed, number])
        number += 1
        one = int(prompts.choose(rng, masks, classes, 1)[0])
        box = prompts.box(rng, masks[one])
        place, _ = prompts.point(rng, masks, one)
        pixels = torch.from_numpy(image).to(device).permute(2, 0, 1)[None].float()
        embedding = sam.image_encoder((pixels - sam.pixel_mean) / sam.pixel_std)
        boxes = torch.from_numpy(box).to(device)[None]
        points, labels = torch.from_numpy(place).to(device)[None, None], torch.ones(1, 1, device=device)
        tokens = (
            sparse_tokens(sam.prompt_encoder, boxes, None, None),
            sparse_tokens(sam.prompt_encoder, None, points, labels),
            embedding.new_zeros(1, 0, embedding.shape[1]),
        )
        shown = [masks[one]]
        for sparse in tokens:
            logits, _, _ = decode(sam, embedding, sparse)
            shown.append(
                F.interpolate(logits[:, None], size=image.shape[0], mode="bilinear")[0, 0].cpu().numpy() > 0
            )
        for row, (mask, title) in enumerate(zip(shown, ("object", "box", "point", "nothing"), strict=True)):
            axis = axes[row, column]
            axis.imshow(image)
            if mask.any():
                axis.contour(mask, [0.5], colors="lime", linewidths=1)
            if row == 1:
                axis.add_patch(plt.Rectangle(box[:2], *(box[2:] - box[:2]), fill=False, color="yellow"))
            if row == 2:
                axis.plot(*place, "y+", markersize=8)
            axis.set_xticks([])
            axis.set_yticks([])
            if column == 0:
                axis.set_ylabel(title)
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    plt.close(figure)
