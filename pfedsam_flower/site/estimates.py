"""How much memory a training step and how much disk a site needs, before anything is built. No torch.

Numbers of parameters are counted exactly where they are trained, and to within a few per cent where they
are not. Memory of a step, in float32 values per image:

    26 · Σ T D  +  2 · Σ h P W  +  12 000 · N G        Σ over the encoder's blocks

with P tokens padded to whole windows, T the mean of P and their true number, width D, h heads, W keys per
query (a window's tokens, or all), N classes, G pixels of the embedding.

The three factors are fits on the safe side, not theory: peak resident memory of two steps of each phase in
float32 on a CPU (torch 2.15, one thread, processes of their own), see ``docs/how-to/doctor.md``. On a GPU
the same values are held, but that was not measured.
"""

import math
import os
from dataclasses import dataclass
from pathlib import Path

from ..contract.methods import METHODS
from ..model.sam.backbones import BACKBONES, PlainViT, TinyViT, size_problems
from ..settings.run import RunSettings

MIB, GIB = 1 << 20, 1 << 30
F32 = 4

PROCESS, TIMM = 570 * MIB, 190 * MIB
"""Resident memory of a site's process with everything imported and no model; timm comes with TinyViT rows."""
CUDA_CONTEXT = 600 * MIB
"""Kernels and work space on a GPU; an assumption, it depends on driver and card."""
PER_TOKEN, PER_KEY, PER_PIXEL = 26.0, 2.0, 12_000.0

CHANNELS = 256
"""Width of SAM's decoder in every row."""
CLASS_VALUES = CHANNELS + 2 * (CHANNELS * CHANNELS + CHANNELS) + CHANNELS * 32 + 32
"""A class's token and hypernetwork."""
UPSCALING_VALUES = (CHANNELS * 64 * 4 + 64) + 2 * 64 + (64 * 32 * 4 + 32)
TRANSFORMER_VALUES = 3_291_520
"""SAM's two-way transformer of depth 2 and its output token."""
OTHER_VALUES = 6_000_000
"""Of a whole SAM beside the encoder's blocks: patches, positions, neck, prompt encoder, decoder."""


@dataclass(frozen=True)
class Block:
    """A block of the encoder: its tokens, those that attention sees (padded to whole windows), and sizes."""

    tokens: int
    padded: int
    width: int
    heads: int
    keys: int

    @property
    def values(self) -> float:
        """What a step holds of it for one image: half of its work per token is on padded ones."""
        mean = (self.tokens + self.padded) / 2
        return PER_TOKEN * mean * self.width + PER_KEY * self.heads * self.padded * self.keys


def blocks(run: RunSettings) -> list[Block]:
    """The blocks of the run's backbone, first to last, at the run's input size."""
    encoder = BACKBONES[run.backbone.name].encoder
    grid = run.image.size // encoder.patch
    if isinstance(encoder, PlainViT):
        windows = [0 if n in encoder.global_blocks else encoder.window for n in range(encoder.depth)]
        return [_block(grid, encoder.width, encoder.heads, window) for window in windows]
    return [
        # the merge before the last stage keeps the side
        _block(
            2 * grid if stage == 1 else grid,
            encoder.widths[stage],
            encoder.heads[stage],
            encoder.windows[stage],
        )
        for stage in (1, 2, 3)
        for _ in range(encoder.depths[stage])
    ]


def _block(side: int, width: int, heads: int, window: int) -> Block:
    """Args: tokens per side; ``window`` 0 is global attention."""
    padded = math.ceil(side / window) * window if window else side
    return Block(side**2, padded**2, width, heads, window**2 or side**2)


def shared_values(run: RunSettings) -> int:
    """Numbers in a message: LoRA and the decoder's trainable part; exact where both are averaged."""
    rank = run.lora.rank
    total = sum(2 * rank * block.width * len(run.lora.targets) for block in blocks(run))
    total += len(run.classes) * CLASS_VALUES + UPSCALING_VALUES
    if run.decoder.mode == "full":
        total += TRANSFORMER_VALUES
    if run.decoder.mode == "lora-heads":
        # q and v of two attentions over tokens at full width, and of five to and from the image at half
        total += 2 * rank * (2 * (CHANNELS + CHANNELS) + 5 * (CHANNELS + CHANNELS // 2))
    return total


def personal_values(run: RunSettings) -> int:
    """Numbers that stay at the site; exact for L-MoE and the branch in the neck."""
    method = METHODS[run.method]
    branch = run.neck.rank * CHANNELS * 10 if "neck-branch" in method.personal else 0
    if "experts" not in method.personal:
        return branch
    from ..model.build import expert_blocks

    widths = [block.width for block in blocks(run)]
    places = expert_blocks(run.lmoe.blocks, len(widths))
    n, rank = run.lmoe.experts, run.lmoe.rank
    return branch + sum(2 * n * rank * widths[place] + n * widths[place] + 1 for place in places)


def message_bytes(run: RunSettings) -> int:
    """Size of the shared parameters in float32, as they travel."""
    return F32 * shared_values(run)


def store_bytes(run: RunSettings) -> int:
    """Disk of a site's personal state while a new generation is written beside those that are kept.

    Each has the personal parameters with two moments, the reply's delta, and the model trained alone.
    """
    from .generations import KEPT

    return (KEPT + 1) * F32 * (3 * personal_values(run) + 2 * shared_values(run))


def model_bytes(run: RunSettings) -> int:
    """The backbone's weights in float32, to within a few per cent."""
    return F32 * (OTHER_VALUES + sum(12 * block.width**2 for block in blocks(run)))


def step_bytes(run: RunSettings) -> int:
    """What a step holds beside the weights: values of the forward pass, gradients, moments."""
    grid = run.image.size // BACKBONES[run.backbone.name].patch
    per_image = PER_PIXEL * len(run.classes) * grid * grid + sum(block.values for block in blocks(run))
    # gradient, two moments, and one more while they are renewed
    return F32 * round(run.training.batch_size * per_image + 4 * shared_values(run))


def training_bytes(run: RunSettings, *, on_gpu: bool) -> int:
    """Peak memory of a site's device: while the weights are loaded (twice there), or in a step."""
    model = model_bytes(run)
    if on_gpu:
        return CUDA_CONTEXT + model + step_bytes(run)
    tiny = isinstance(BACKBONES[run.backbone.name].encoder, TinyViT)
    return PROCESS + TIMM * tiny + model + max(model, step_bytes(run))


def largest_batch(run: RunSettings, limit: int, *, on_gpu: bool) -> int:
    """The largest batch size up to the run's whose estimate is within ``limit`` bytes; 0: none."""
    for batch_size in range(run.training.batch_size, 0, -1):
        training = run.training.model_copy(update={"batch_size": batch_size})
        if training_bytes(run.model_copy(update={"training": training}), on_gpu=on_gpu) <= limit:
            return batch_size
    return 0


def device_memory(name: str) -> tuple[int, int] | None:
    """(free, total) bytes of a device, None where the system does not say."""
    if name == "cpu":
        return main_memory()
    import torch

    if name == "mps":
        limit = int(torch.mps.recommended_max_memory())
        return limit - int(torch.mps.driver_allocated_memory()), limit
    free, total = torch.cuda.mem_get_info(torch.device(name))
    return int(free), int(total)


def main_memory(
    table: Path = Path("/proc/meminfo"), group: Path = Path("/sys/fs/cgroup")
) -> tuple[int, int] | None:
    """(available, total) bytes of the machine, or of the container where that is less.

    Args:
        table: Linux's own; on other systems the total alone is known, through ``sysconf``.
        group: folder of this process's control group, version 2, as a container sees it.
    """
    try:
        rows = dict(line.split(":", 1) for line in table.read_text().splitlines())
        free, total = (int(rows[name].split()[0]) * 1024 for name in ("MemAvailable", "MemTotal"))
    except (OSError, KeyError, ValueError):
        try:
            total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (ValueError, OSError):
            return None
        free = total
    try:
        limit = int((group / "memory.max").read_text())  # "max" where there is none
        used = int((group / "memory.current").read_text())
    except (OSError, ValueError):
        return free, total
    return min(free, max(0, limit - used)), min(total, limit)


def largest_image(run: RunSettings, limit: int, *, on_gpu: bool) -> int:
    """The largest image size below the run's of which one at a time needs ``limit`` bytes; 0: none."""
    training = run.training.model_copy(update={"batch_size": 1})
    patch = BACKBONES[run.backbone.name].patch
    for size in range(run.image.size - patch, 2 * patch - 1, -patch):
        image = run.image.model_copy(update={"size": size})
        smaller = run.model_copy(update={"training": training, "image": image})
        if not size_problems(run.backbone.name, size) and training_bytes(smaller, on_gpu=on_gpu) <= limit:
            return size
    return 0
