"""Two small phantom hospitals, and no waiting between looks at the grid."""

from pathlib import Path

import pytest

from pfedsam_flower.data.phantoms import write_phantoms
from pfedsam_flower.federation import rounds


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "POLL_S", 0.0)


@pytest.fixture(scope="session")
def listing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sites.toml; nothing is written beside it."""
    folder = tmp_path_factory.mktemp("hospitals")
    write_phantoms(folder, n_sites=2, patients=4, slices=1, size=48)
    return folder / "sites.toml"
