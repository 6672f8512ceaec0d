"""What the tests of a site's rounds share: settings for rounds of seconds, and two rounds."""

from typing import Any

import numpy as np

from pfedsam_flower.data.samples import SiteData
from pfedsam_flower.model.build import Built, build
from pfedsam_flower.model.exchange import export_shared
from pfedsam_flower.settings.run import RunSettings
from pfedsam_flower.settings.sources import findings
from pfedsam_flower.site.round import RoundResult, site_round

SHORT = {
    "image.size": 28,
    "decoder.mode": "heads",
    "rounds": 1,
    "training.global-steps": 1,
    "training.local-steps": 1,
    "training.closing-steps": 2,
    "training.batch-size": 2,
}
SMALL = SHORT | {"distillation.warmup-rounds": 0, "neck.rank": 2}


def settings(**changes: Any) -> RunSettings:
    run, problems = findings(RunSettings, SMALL | changes)
    assert isinstance(run, RunSettings), problems
    return run


def rounds(run: RunSettings, data: SiteData) -> tuple[Built, np.ndarray, RoundResult, RoundResult]:
    built = build(run, "")
    start = export_shared(built.model, built.contract)
    first = site_round("train", 1, start, built, data, None, run, "hospital")
    assert first.delta is not None
    last = site_round("close", 2, start + first.delta, built, data, first.personal, run, "hospital")
    return built, start, first, last
