"""What the comparison's tests share: settings for runs of seconds, and a comparison of a few rows."""

from pathlib import Path

from pfedsam_flower.experiments.protocol import Experiment, Protocol, make_protocol
from pfedsam_flower.experiments.rows import ROWS
from pfedsam_flower.settings.site import SiteSettings

SMALL: dict[str, str | int | float | bool] = {
    "image.size": 28,
    "decoder.mode": "heads",
    "rounds": 1,
    "training.global-steps": 1,
    "training.local-steps": 1,
    "training.closing-steps": 1,
    "training.batch-size": 2,
}


def small(
    output: Path,
    sites: list[SiteSettings],
    rows: list[str],
    experiment: Experiment = "main",
    **changes: int | str,
) -> Protocol:
    """A comparison of these rows on two folds, with seed 0."""
    chosen = {name: ROWS[name] for name in rows}
    base = SMALL | changes
    return make_protocol(output, sites, chosen, base, count=2, seeds=[0], experiment=experiment)
