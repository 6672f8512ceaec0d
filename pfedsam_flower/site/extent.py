"""How much of its machine a site gives to a run: looked at in hello, preflight and every round. No torch."""

from typing import Any

from ..errors import ConsentError, SettingsError
from ..settings.run import RunSettings
from ..settings.site import SiteSettings
from .estimates import GIB, training_bytes
from .hello import run_settings

MB = 1_000_000


def check_size(site: SiteSettings, n_bytes: int) -> None:
    """Nothing to do while the arrays of a message, unread, are not larger than the site takes.

    Raises:
        ConsentError: PFS-709.
    """
    if n_bytes > site.mb_a_message * MB:
        raise _too_much("mb-a-message", round(n_bytes / MB), site.mb_a_message)


def check_run(site: SiteSettings, flat: dict[str, Any]) -> None:
    """Nothing to do while a run's steps, pixels and memory are within the site's limits.

    Settings that are not valid are left to the app, which refuses them before any work (PFS-101).

    Raises:
        ConsentError: PFS-709.
    """
    limits = {
        "steps-a-round": site.steps_a_round,
        "pixels-a-step": site.pixels_a_step,
        "gib-a-step": site.gib_a_step,
    }
    if not any(limits.values()):
        return
    try:
        run = run_settings(flat)
    except SettingsError:
        return
    asked = extent(run, on_gpu=site.device.startswith("cuda"))
    for name, limit in limits.items():
        if limit and asked[name] > limit:
            raise _too_much(name, asked[name], limit)


def extent(run: RunSettings, *, on_gpu: bool) -> dict[str, float]:
    """What a run asks for at most, by the name of the site's limit: optimiser steps of a round of any kind,
    pixels of one step's samples, GiB of one step by the estimate of ``site.estimates``."""
    own = run.training
    return {
        "steps-a-round": max(own.global_steps + own.local_steps, own.closing_steps),
        "pixels-a-step": own.batch_size * run.image.size**2,
        "gib-a-step": training_bytes(run, on_gpu=on_gpu) / GIB,
    }


def _too_much(name: str, asked: float, limit: float) -> ConsentError:
    return ConsentError(
        "PFS-709",
        f"{asked:g}, and {name} is {limit:g}",
        where=name,
        hint="raise the setting, or ask the coordinator for less",
    )
