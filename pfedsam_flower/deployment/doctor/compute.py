"""Device, its memory against an estimate, threads against cores."""

import os

from ...settings.run import RunSettings
from ...settings.site import SiteSettings
from ...site import estimates
from ...site.estimates import GIB, device_memory, largest_batch
from .subject import Outcome, failed, ok, skipped, warning


def device(name: str) -> Outcome:
    """Whether PyTorch has the device that the site's settings name."""
    import torch

    kind, _, number = name.partition(":")
    if kind == "cpu":
        return ok("the processor")
    if kind == "mps":
        if torch.backends.mps.is_available():
            return ok("Apple's GPU")
        return failed("PyTorch finds no Apple GPU here", "set the site's device = cpu")
    if not torch.cuda.is_available():
        return failed(
            "PyTorch finds no CUDA device here",
            "mend the driver (nvidia-smi shows the GPU then), or set the site's device = cpu",
        )
    count, index = torch.cuda.device_count(), int(number or 0)
    if index >= count:
        return failed(
            f"there is no {name}: {count} device(s) here", f"name one of cuda:0 to cuda:{count - 1}"
        )
    return ok(f"{name}, {torch.cuda.get_device_name(index)}")


def threads(wanted: int, cores: int | None = None) -> Outcome:
    """The site's threads against the cores that this process may use.

    Args:
        cores: instead of those of this machine.
    """
    cores = cores or (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    text = f"threads = {wanted}, {cores} core(s) for this user's processes"
    if wanted > cores:
        return warning(text, f"set the site's threads = {cores}: more of them wait for each other")
    return ok(text)


def memory(site: SiteSettings, run: RunSettings) -> Outcome:
    """The memory of the site's device against the estimate for one training step."""
    found = device_memory(site.device)
    if found is None:
        return skipped(f"the memory of {site.device} cannot be asked for on this system")
    free, total = found
    return enough(run, free, total, on_gpu=site.device != "cpu")


def enough(run: RunSettings, free: int, total: int, *, on_gpu: bool) -> Outcome:
    """The estimate against ``free`` and ``total`` bytes, and what would fit."""
    need = estimates.training_bytes(run, on_gpu=on_gpu)
    text = (
        f"about {need / GIB:.1f} GiB for a step of {run.backbone.name} at {run.image.size} pixels, "
        f"{run.training.batch_size} at a time; {free / GIB:.1f} of {total / GIB:.1f} GiB free"
    )
    fits = largest_batch(run, free if need <= total else total, on_gpu=on_gpu)
    if fits:
        remedy = f"training.batch-size = {fits} would fit; ask the coordinator, or free some memory"
    else:
        remedy = "not one image at a time fits: a smaller image.size or backbone.name, or another device"
    if need > total:
        return failed(text, remedy)
    return warning(text, remedy) if need > free else ok(text)
