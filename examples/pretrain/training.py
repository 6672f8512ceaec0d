"""Stage B: neck, prompt encoder and mask decoder learn on generated images; the trunk stays as it came.

Every draw comes from (seed, step), images from (seed, index): the same settings give the same weights on
the same kind of machine, and a run that was stopped goes on where it was.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from . import losses, prompts
from .images import CLASSES, generate
from .network import Helpers, decode, sparse_tokens

SIDE = 112
"""Masks are compared at this resolution; logits (64 x 64) are enlarged to it."""


@dataclass(frozen=True)
class Preset:
    """How long and how wide.

    Attributes:
        cycles: optimiser steps of each cycle of the learning rate (SGDR, Loshchilov and Hutter 2017).
        fresh: new images a step. batch: images a step in all; the rest are among the last ``memory``.
        rate: each cycle's peak learning rate of AdamW, after ``warmup`` steps, falling to zero as a cosine.
    """

    cycles: tuple[int, ...]
    fresh: int
    batch: int
    memory: int
    rate: float = 5e-4
    warmup: int = 100

    @property
    def steps(self) -> int:
        """Optimiser steps in all."""
        return sum(self.cycles)


PRESETS = {
    "short": Preset(cycles=(300,), fresh=3, batch=8, memory=256),
    "full": Preset(cycles=(3200, 2800), fresh=3, batch=8, memory=768),
}


class Generated(Dataset):
    """Images by number, as the loader's workers make them."""

    def __init__(self, seed: int, first: int, last: int) -> None:
        self.seed, self.first, self.last = seed, first, last

    def __len__(self) -> int:
        return self.last - self.first

    def __getitem__(self, i: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        image, masks, classes, salient = generate(self.seed, self.first + i)
        return image, np.packbits(masks, axis=-1), classes, salient


def _as_made(image: tuple) -> tuple:
    """Instead of the loader's own habit of turning arrays into tensors."""
    return image


@dataclass(frozen=True)
class Remembered:
    """An image as training keeps it: the frozen trunk's tokens [D, g, g] and the packed masks."""

    tokens: Tensor
    masks: np.ndarray
    classes: np.ndarray
    salient: int


@dataclass
class Training:
    """Everything that changes from step to step."""

    sam: nn.Module
    helpers: Helpers
    optimiser: torch.optim.Optimizer
    preset: Preset
    seed: int
    step: int = 0

    @classmethod
    def start(cls, sam: nn.Module, preset: Preset, seed: int, device: str) -> "Training":
        """Trunk frozen, everything else trained; the helpers drawn from the seed."""
        torch.manual_seed(seed)
        helpers = Helpers(len(CLASSES), sam.image_encoder.pos_embed.shape[-1]).to(device)
        sam.to(device).requires_grad_(False)
        for part in (sam.image_encoder.neck, sam.prompt_encoder, sam.mask_decoder):
            part.requires_grad_(True)
        trained = [p for p in (*sam.parameters(), *helpers.parameters()) if p.requires_grad]
        return cls(sam, helpers, torch.optim.AdamW(trained, lr=0.0, weight_decay=0.01), preset, seed)

    def save(self, path: Path) -> None:
        """Beside the old file, then in its place."""
        state = {
            "sam": self.sam.state_dict(),
            "helpers": self.helpers.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "settings": self._settings(),
        }
        torch.save(state, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)

    def load(self, path: Path) -> None:
        """Go on from a file that ``save`` wrote; one of another seed or preset is refused."""
        state = torch.load(path, weights_only=True, map_location="cpu")
        if state["settings"] != self._settings():
            raise SystemExit(
                f"{path} is of {state['settings']}, not {self._settings()}: choose another --output"
            )
        self.sam.load_state_dict(state["sam"])
        self.helpers.load_state_dict(state["helpers"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]

    def _settings(self) -> dict:
        return {"seed": self.seed, **asdict(self.preset)}


def learning_rate(preset: Preset, step: int) -> float:
    """In each cycle a linear warm-up, then half a cosine to zero."""
    for length in preset.cycles:
        if step < length:
            break
        step -= length
    if step < preset.warmup:
        return preset.rate * (step + 1) / preset.warmup
    done = (step - preset.warmup) / max(1, length - preset.warmup)
    return preset.rate * 0.5 * (1 + float(np.cos(np.pi * done)))


def train(
    training: Training,
    workers: int,
    report: Callable[[int, dict[str, float]], None],
) -> None:
    """Run the steps that are left; ``report`` is called after each with its losses."""
    preset, seed = training.preset, training.seed
    device = next(training.helpers.parameters()).device
    memory: deque[Remembered] = deque(maxlen=preset.memory)
    again = min(training.step * preset.fresh, preset.memory)  # after a stop: what was remembered then
    images = Generated(seed, training.step * preset.fresh - again, preset.steps * preset.fresh)
    ahead = 8 if workers else None
    loader = iter(
        DataLoader(images, batch_size=None, num_workers=workers, prefetch_factor=ahead, collate_fn=_as_made)
    )
    for _ in range(again // preset.fresh):
        memory.extend(_remember(training.sam, [next(loader) for _ in range(preset.fresh)], device))
    while training.step < preset.steps:
        fresh = _remember(training.sam, [next(loader) for _ in range(preset.fresh)], device)
        rng = np.random.default_rng([seed, 1, training.step])
        older = rng.choice(len(memory), size=min(len(memory), preset.batch - preset.fresh), replace=False)
        batch = [*fresh, *(memory[i] for i in older)]
        memory.extend(fresh)
        for group in training.optimiser.param_groups:
            group["lr"] = learning_rate(preset, training.step)
        report(training.step, _step(training, [one for one in batch if len(one.classes)], rng, device))
        training.step += 1


@torch.inference_mode()
def _remember(sam: nn.Module, made: list[tuple], device: torch.device) -> list[Remembered]:
    pixels = torch.from_numpy(np.stack([image for image, *_ in made])).to(device).permute(0, 3, 1, 2).float()
    encoder = sam.image_encoder
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        tokens = encoder.patch_embed((pixels - sam.pixel_mean) / sam.pixel_std) + encoder.pos_embed
        for block in encoder.blocks:
            tokens = block(tokens)
    tokens = tokens.permute(0, 3, 1, 2).to(torch.bfloat16)
    return [Remembered(t, m, c, s) for t, (_, m, c, s) in zip(tokens, made, strict=True)]


def _step(
    training: Training, batch: list[Remembered], rng: np.random.Generator, device: torch.device
) -> dict[str, float]:
    """One optimiser step over all three kinds of prompt; the losses by name."""
    size = training.sam.prompt_encoder.input_image_size[0]
    negative = training.step % 2 == 1
    boxes, box_targets, points, point_targets, class_targets, salient_targets = [], [], [], [], [], []
    for one in batch:
        masks = np.unpackbits(one.masks, axis=-1, count=size).astype(bool)
        for number in prompts.choose(rng, masks, one.classes, prompts.BOXES):
            boxes.append(prompts.box(rng, masks[number]))
            box_targets.append(masks[number])
        for number in prompts.choose(rng, masks, one.classes, prompts.POINTS):
            place, meant = prompts.point(rng, masks, number)
            points.append(np.stack([place, prompts.away(rng, masks[meant])]) if negative else place[None])
            point_targets.append(masks[meant])
        of_class = np.stack([masks[one.classes == k].any(0) for k in range(len(CLASSES))])
        class_targets.append(of_class)
        salient_targets.append(of_class[one.salient])
    labels = torch.tensor([[1, 0] if negative else [1]], device=device).expand(len(points), -1)

    def tensor(parts: list[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack(parts)).to(device)

    sam, helpers = training.sam, training.helpers
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        tokens = torch.stack([one.tokens for one in batch]).float()
        embedding = sam.image_encoder.neck(tokens)
        boxed = decode(
            sam,
            embedding.repeat_interleave(prompts.BOXES, 0),
            sparse_tokens(sam.prompt_encoder, tensor(boxes), None, None),
        )
        pointed = decode(
            sam,
            embedding.repeat_interleave(prompts.POINTS, 0),
            sparse_tokens(sam.prompt_encoder, None, tensor(points), labels),
        )
        empty = decode(sam, embedding, embedding.new_zeros(len(batch), 0, embedding.shape[1]))
        classes, rebuilt = helpers.classes(empty[2]), helpers.trunk(embedding)
    of_box = losses.area(tensor(box_targets), SIDE)
    of_point = losses.area(tensor(point_targets), SIDE)
    parts = {
        "box": losses.prompted(_enlarge(boxed[0]), of_box),
        "point": losses.prompted(_enlarge(pointed[0]), of_point),
        "empty": losses.salient(
            _enlarge(empty[0])[:, None], losses.area(tensor(salient_targets), SIDE)[:, None]
        ),
        "classes": losses.salient(classes.float(), losses.area(tensor(class_targets), classes.shape[-1])),
        "kept": losses.kept(rebuilt.float(), tokens),
        "estimate": losses.estimate(boxed[1].float(), _enlarge(boxed[0]), of_box)
        + losses.estimate(pointed[1].float(), _enlarge(pointed[0]), of_point),
    }
    total = parts["box"] + 0.5 * parts["point"] + 0.5 * parts["empty"] + 0.5 * parts["classes"]
    total = total + 0.5 * parts["kept"] + 0.2 * parts["estimate"]
    training.optimiser.zero_grad(set_to_none=True)
    total.backward()
    nn.utils.clip_grad_norm_([p for g in training.optimiser.param_groups for p in g["params"]], 1.0)
    training.optimiser.step()
    return {name: float(value.detach()) for name, value in parts.items()}


def _enlarge(logits: Tensor) -> Tensor:
    return F.interpolate(logits[:, None].float(), size=SIDE, mode="bilinear", align_corners=False)[:, 0]
