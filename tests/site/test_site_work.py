"""From request to reply: only what was agreed on is done, and only what is finite is kept."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pfedsam_flower.contract.messages import RoundRequest
from pfedsam_flower.contract.schema import digest
from pfedsam_flower.data.phantoms import write_phantoms
from pfedsam_flower.errors import ContractError
from pfedsam_flower.model.build import build
from pfedsam_flower.model.exchange import export_shared
from pfedsam_flower.settings.run import RunSettings
from pfedsam_flower.settings.site import SiteSettings
from pfedsam_flower.settings.sources import findings, sites_from_file, to_flat
from pfedsam_flower.site import work

SMALL = {
    "image.size": 28,
    "decoder.mode": "heads",
    "rounds": 2,
    "training.global-steps": 1,
    "training.local-steps": 1,
    "training.closing-steps": 1,
    "training.batch-size": 2,
    "evaluation.alone": False,
}


@pytest.fixture
def site(tmp_path: Path) -> SiteSettings:
    write_phantoms(tmp_path, n_sites=1, patients=4, slices=1, size=48)
    return sites_from_file(tmp_path / "sites.toml")[0]


def request(kind: str = "train", number: int = 1, **changes: Any) -> tuple[RoundRequest, np.ndarray]:
    run, problems = findings(RunSettings, SMALL | changes)
    assert isinstance(run, RunSettings), problems
    built = build(run, "")
    start = export_shared(built.model, built.contract)
    asked = RoundRequest(
        kind=kind, round=number, contract=built.contract.hash, settings=dict(to_flat(run)), deadline_s=60,
        broadcast=digest(start),
    )  # fmt: skip
    return asked, start


def state_of(site: SiteSettings) -> dict[str, bytes]:
    stores = [path.parent for path in Path(site.state).rglob("state.json")]
    return {path.name: path.read_bytes() for store in stores for path in store.iterdir()}


@pytest.mark.parametrize(("kind", "number"), [("train", 3), ("train", 5000), ("close", 2), ("close", 4)])
def test_a_round_that_the_run_does_not_have_is_refused(site: SiteSettings, kind: str, number: int) -> None:
    with pytest.raises(ContractError, match="PFS-406.*not one of a run of 2 rounds"):
        work.answer_round(*request(kind, number), site)
    assert state_of(site) == {}


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_broadcast_that_is_not_finite_is_refused_before_work(
    site: SiteSettings, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "load_site", lambda *args, **more: pytest.fail("there was work"))
    asked, broadcast = request("close", 3)
    broadcast[5] = value
    with pytest.raises(ContractError, match="PFS-404.*that came are not finite"):
        work.answer_round(asked.model_copy(update={"broadcast": digest(broadcast)}), broadcast, site)
    assert state_of(site) == {}


@pytest.mark.parametrize("what", ["personal", "alone", "delta"])
def test_training_that_leaves_the_finite_numbers_keeps_what_there_was(
    site: SiteSettings, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    work.answer_round(*request(), site)
    before, real = state_of(site), work.site_round

    def diverged(*args: Any) -> Any:
        result, bad = real(*args), np.full(3, np.nan, np.float32)
        if what == "delta":
            return replace(result, delta=bad)
        own = {"tensors": {"x": torch.from_numpy(bad)}} if what == "personal" else {"alone": bad}
        return replace(result, personal=replace(result.personal, **own))

    monkeypatch.setattr(work, "site_round", diverged)
    with pytest.raises(ContractError, match="PFS-403.*3 values are not finite") as caught:
        work.answer_round(*request(number=2), site)
    assert "x" not in caught.value.public().split()
    assert state_of(site) == before


def test_the_same_round_with_other_settings_is_worked_on_anew(site: SiteSettings) -> None:
    first = work.answer_round(*request(), site)
    again = work.answer_round(*request(**{"federation.round-deadline-s": 99.0}), site)
    other = work.answer_round(*request(**{"training.global-steps": 2}), site)
    assert again[0] == first[0], "how long one waits is nothing that a result depends on"
    assert other[0].delta != first[0].delta


def test_who_the_patients_are_is_for_the_owner_only(site: SiteSettings) -> None:
    work.answer_round(*request(), site)
    readable = [
        path for path in Path(site.state).rglob("*") if path.is_file() and path.stat().st_mode & 0o077
    ]
    assert readable == []
