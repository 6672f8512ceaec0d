"""A hospital that was not there takes a run's final shared parameters and fits its own part to them."""

import json
from pathlib import Path
from typing import Any

import pytest
from federation_runs import start

from pfedsam_flower.cli.__main__ import main
from pfedsam_flower.settings.site import SiteSettings
from pfedsam_flower.site import journal, training, whole
from pfedsam_flower.site.onboarding import onboard
from pfedsam_flower.site.sent import entries
from pfedsam_flower.site.trained import open_trained


def test_a_new_hospital_fits_its_part_sends_nothing_and_can_predict(
    flat: dict[str, Any],
    sites: list[SiteSettings],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    *two, new = sites
    flat = flat | {"rounds": 1, "federation.sites": ",".join(site.site for site in two)}
    start(flat, two)
    run = Path(flat["coordinator.folder"]) / "test"
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    rates: list[tuple[int, int]] = []
    falling = training.falling
    monkeypatch.setattr(
        training, "falling", lambda first, total: rates.append((first, total)) or falling(first, total)
    )
    reply = onboard(run, new, steps=2)
    # the others' rounds are not the newcomer's: its rates begin at the start; alone it has their steps, too
    alone = flat["training.global-steps"] + 2
    assert rates == [(0, 2), (0, alone)]
    assert reply.kind == "close"
    assert reply.round == 2
    assert {"test.dice.global", "test.dice.personal", "test.dice.alone"} <= set(reply.metrics)
    assert reply.metrics["loss.local"] > 0
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    lines = journal.read(Path(new.state) / "test" / new.site / "sent.jsonl")
    assert [(line["kind"], line["words"]) for line in lines] == [("by hand", {"done": "onboarded"})]
    assert entries(new) == []  # nothing was sent
    whole.check_journals(new)
    trained = open_trained(run, "deployed", new)
    assert set(trained.shares) == {"global", "personal", "alone"}
    # again: answered from disk, to the same numbers; and on the command line
    sites_file = Path(new.data).parent / "sites.toml"
    words = ["onboard", "--run", str(run), "--sites", str(sites_file), "--site", new.site]
    assert main([*words, "--steps", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"] == reply.metrics
    assert main([*words, "--steps", "2"]) == 0
    shown = capsys.readouterr().out
    assert f"{reply.metrics['test.dice.personal']:.3f}" in shown
    assert f"--site {new.site}" in shown


def test_where_nothing_is_personal_a_new_hospital_mixes_the_average_with_training_alone(
    flat: dict[str, Any], sites: list[SiteSettings]
) -> None:
    flat = flat | {"rounds": 1, "method": "fedavg", "federation.sites": ",".join(s.site for s in sites[:2])}
    # the others did without it
    start(flat | {"evaluation.alone": False}, sites[:2])
    run = Path(flat["coordinator.folder"]) / "test"
    reply = onboard(run, sites[2], steps=1)
    assert {"mix.global", "mix.alone"} == {name for name in reply.metrics if name.startswith("mix.")}
    assert "loss.local" not in reply.metrics
    assert reply.metrics["loss.alone"] > 0
    assert set(open_trained(run, "deployed", sites[2]).shares) == {"global", "alone"}
