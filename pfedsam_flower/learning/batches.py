"""Samples → batches, drawn by a seed alone."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..data.cases import Sample
from .losses import same_size

Augment = Callable[[Sample, np.random.Generator], Sample]


@dataclass(frozen=True)
class Batch:
    """One optimiser step's input, on the device.

    Attributes:
        images: float32 [B, 3, S, S] in 0..255.
        valid: int [B, 2], content height and width.
        target: float32 [B, K, L, L] on the logits' grid.
        weight: float32 [B, 1, L, L], share of content per pixel.
        annotated: bool [K].
    """

    images: Tensor
    valid: Tensor
    target: Tensor
    weight: Tensor
    annotated: Tensor


def batches(
    samples: Sequence[Sample],
    steps: int,
    batch_size: int,
    seed: int,
    logits_size: int,
    augment: Augment | None,
    device: torch.device,
) -> Iterator[Batch]:
    """``steps`` batches; every sample is seen once before any is seen again.

    The draw depends on ``seed`` and the order of ``samples`` only.
    """
    rng = np.random.default_rng(seed)
    queue: list[int] = []
    for _ in range(steps):
        while len(queue) < batch_size:
            queue += rng.permutation(len(samples)).tolist()
        chosen, queue = [samples[i] for i in queue[:batch_size]], queue[batch_size:]
        if augment is not None:
            chosen = [augment(sample, rng) for sample in chosen]
        yield collate(chosen, logits_size, device)


def collate(samples: Sequence[Sample], logits_size: int, device: torch.device) -> Batch:
    """One batch of these samples; grey images are repeated to three channels."""
    size = samples[0].image.shape[-1]
    images = np.stack([np.broadcast_to(s.image, (3, size, size)) for s in samples])
    target = torch.from_numpy(np.stack([s.target.astype(np.float32) for s in samples]))
    content = torch.zeros(len(samples), 1, size, size)
    for i, sample in enumerate(samples):
        content[i, :, : sample.valid[0], : sample.valid[1]] = 1
    return Batch(
        torch.from_numpy(images).to(device),
        torch.tensor([s.valid for s in samples], device=device),
        same_size(target, logits_size).to(device),
        same_size(content, logits_size).to(device),
        torch.from_numpy(samples[0].annotated).to(device),
    )
