"""Three small phantom hospitals and a run of two rounds, in process."""

from pathlib import Path
from typing import Any

import pytest

from pfedsam_flower.data.phantoms import write_phantoms
from pfedsam_flower.settings.site import SiteSettings
from pfedsam_flower.settings.sources import default_flat, sites_from_file

SMALL = {
    "image.size": 28,
    "decoder.mode": "heads",
    "rounds": 2,
    "training.global-steps": 1,
    "training.local-steps": 1,
    "training.closing-steps": 2,
    "training.batch-size": 2,
    "distillation.warmup-rounds": 1,
    "federation.name": "test",
    "federation.start-deadline-s": 5.0,
    "federation.round-deadline-s": 60.0,
}


@pytest.fixture
def sites(tmp_path: Path) -> list[SiteSettings]:
    write_phantoms(tmp_path / "sites", n_sites=3, patients=4, slices=1, size=48)
    return sites_from_file(tmp_path / "sites" / "sites.toml")


@pytest.fixture
def flat(tmp_path: Path, sites: list[SiteSettings]) -> dict[str, Any]:
    names = ",".join(site.site for site in sites)
    return default_flat() | SMALL | {"coordinator.folder": str(tmp_path / "runs"), "federation.sites": names}
