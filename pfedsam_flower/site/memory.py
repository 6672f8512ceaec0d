"""When a device has too little memory: a sentence with the smaller settings that would fit."""

import torch

from ..errors import FederationError
from ..settings.run import RunSettings
from ..settings.site import SiteSettings
from .estimates import GIB, device_memory, largest_batch, largest_image, training_bytes

WORDS = ("out of memory", "can't allocate memory", "not enough memory")
"""What PyTorch says of a device, of main memory on Linux, and elsewhere."""


def is_about_memory(error: Exception) -> bool:
    """Whether an allocation failed."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(w in str(error) for w in WORDS)


def too_little_memory(run: RunSettings, site: SiteSettings) -> FederationError:
    """PFS-510 with the largest batch that would fit, or else the largest image one at a time.

    Both may travel, for it is the coordinator who can set them.
    """
    on_gpu = site.device.startswith("cuda")
    found = device_memory(site.device)
    limit = found[1] if found else 0
    images, batch = run.training.batch_size, largest_batch(run, limit, on_gpu=on_gpu)
    if batch == images:  # the estimate was too low, or others use the device too
        batch = images // 2
    size = run.image.size if batch else largest_image(run, limit, on_gpu=on_gpu)
    fits = f"training.batch-size = {batch or 1}" + (f" and image.size = {size}" if not batch else "")
    need = f"about {training_bytes(run, on_gpu=on_gpu) / GIB:.1f} GiB"
    return FederationError(
        "PFS-510",
        f"a step of {run.backbone.name} at {run.image.size} pixels, {images} at a time, needs {need}"
        + (f" of the {limit / GIB:.1f} of {site.device}" if found else f" on {site.device}"),
        hint=f"{fits} would fit: ask the coordinator; or free some memory, or set another device"
        if size
        else "no smaller input fits: take another device, or ask the coordinator for a smaller backbone",
        counts={"batch_size_that_fits": batch or int(size > 0), "image_size": size} if size else {},
    )
