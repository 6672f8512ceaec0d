"""A step that does not fit: a sentence with smaller settings, and nothing changed on the disk."""

from pathlib import Path

import pytest
import torch

from pfedsam_flower.contract.messages import RoundRequest
from pfedsam_flower.contract.schema import digest
from pfedsam_flower.data.phantoms import write_phantoms
from pfedsam_flower.errors import FederationError
from pfedsam_flower.model.build import build
from pfedsam_flower.model.exchange import export_shared
from pfedsam_flower.settings.run import RunSettings
from pfedsam_flower.settings.sources import findings, sites_from_file, to_flat
from pfedsam_flower.site import memory, work


def settings(**changes: object) -> RunSettings:
    run, problems = findings(RunSettings, {"image.size": 224, "training.batch-size": 8} | changes)
    assert isinstance(run, RunSettings), problems
    return run


def site_of(folder: Path):
    write_phantoms(folder, n_sites=1, patients=4, slices=1, size=48)
    return sites_from_file(folder / "sites.toml")[0]


def test_an_allocation_that_fails_is_a_sentence_and_leaves_no_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, run = site_of(tmp_path), settings(**{"image.size": 28, "decoder.mode": "heads"})
    built = build(run, "")
    start = export_shared(built.model, built.contract)
    request = RoundRequest(
        kind="train", round=1, contract=built.contract.hash, settings=dict(to_flat(run)), deadline_s=60,
        broadcast=digest(start),
    )  # fmt: skip
    monkeypatch.setattr(work, "site_round", lambda *args: torch.empty(1 << 60, dtype=torch.uint8))
    with pytest.raises(FederationError) as caught:
        work.answer_round(request, start, site)
    assert caught.value.code == "PFS-510"
    assert "batch size that fits 4" in caught.value.public()
    assert "training.batch-size = 4 would fit" in caught.value.local()
    assert not list(Path(site.state).rglob("*.safetensors"))
    # any other error stays what it is
    monkeypatch.setattr(work, "site_round", lambda *args: torch.zeros(2) @ torch.zeros(3))
    with pytest.raises(RuntimeError, match="size"):
        work.answer_round(request, start, site)


@pytest.mark.parametrize(
    ("total", "says"),
    [
        (1.5, "training.batch-size = "),
        (0.72, "training.batch-size = 1 and image.size = "),
        (0.1, "no smaller input fits"),
    ],
)
def test_what_would_fit(total: float, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "device_memory", lambda name: (0, int(total * memory.GIB)))
    run = settings()
    error = memory.too_little_memory(run, site_of(tmp_path))
    assert says in error.local()
    if error.counts:
        batch, size = error.counts["batch_size_that_fits"], error.counts["image_size"]
        assert (batch, size) < (run.training.batch_size, run.image.size + 1)
        smaller = settings(**{"image.size": size, "training.batch-size": batch})
        assert memory.training_bytes(smaller, on_gpu=False) <= total * memory.GIB
