"""A comparison from the command line to its files: everybody tested once, interrupted, gone on with."""

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from experiments_small import SMALL, small

from pfedsam_flower.cli.__main__ import main
from pfedsam_flower.data.phantoms import write_phantoms
from pfedsam_flower.errors import FederationError, SettingsError, StoreError
from pfedsam_flower.experiments import campaign, running
from pfedsam_flower.experiments.exchange import exchange_report
from pfedsam_flower.experiments.memory import Memory
from pfedsam_flower.experiments.protocol import runs_of
from pfedsam_flower.experiments.record import read_record, run_path
from pfedsam_flower.experiments.results import models_of
from pfedsam_flower.settings.sources import sites_from_file
from pfedsam_flower.site.files import locked

pytestmark = pytest.mark.timeout(590)  # a run takes seconds, on a busy machine a minute


def command(listing: Path, output: Path, rows: str, *more: str) -> list[str]:
    words = ["compare", "--sites", str(listing), "--output", str(output), "--rows", rows]
    words += ["--method", rows.split(",")[-1], "--folds", "2", "--seeds", "0"]
    return words + [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")] + list(more)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_two_rows_on_two_folds_test_everybody_once_and_what_is_there_is_not_made_again(
    listing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, made = running.coordinate, []

    def interrupted(grid: Any, flat: Any, run_id: int) -> Any:
        if len(made) == 1:
            raise KeyboardInterrupt
        made.append(flat["method"])
        return real(grid, flat, run_id)

    words = command(listing, tmp_path, "fedavg-lora,place-late,pfedsam")
    monkeypatch.setattr(running, "coordinate", interrupted)
    assert main(words) == 130
    assert len(list((tmp_path / "runs").iterdir())) == 1
    first = {path.name: path.read_bytes() for path in (tmp_path / "runs").iterdir()}

    monkeypatch.setattr(running, "coordinate", lambda *args: (made.append(args[1]["method"]), real(*args))[1])
    assert main(words) == 0
    assert made == ["fedavg", "pfedsam", "fedavg", "pfedsam"]
    assert first.items() <= {path.name: path.read_bytes() for path in (tmp_path / "runs").iterdir()}.items()
    assert list((tmp_path / "work").iterdir()) == []

    scores = table(tmp_path / "scores.csv")
    patients = {(row["site"], row["patient"]) for row in scores}
    assert Counter(site for site, _ in patients) == {"north": 4, "harbour": 4}
    for rows, model in (
        ("fedavg-lora", "global"),
        ("fedavg-lora", "alone"),
        ("pfedsam place-late", "personal"),
    ):
        own = [r for r in scores if (r["rows"], r["model"]) == (rows, model)]
        assert Counter((r["site"], r["patient"], r["class"]) for r in own) == {
            (site, patient, name): 1 for site, patient in patients for name in ("organ", "lesion")
        }
    report = (tmp_path / "comparison.md").read_text()
    assert "| **pfedsam** |" in report
    assert "| fedavg-lora |" in report
    written = json.loads((tmp_path / "comparison.json").read_text())
    assert written["patients"] == {"harbour": 4, "north": 4}
    assert [one["rival"] for one in written["against"]] == ["fedavg-lora"], "place-late is the same run"
    assert {gate["row"] for gate in written["gates"]} == {"pfedsam"}, "of one run once"

    monkeypatch.setattr(running, "coordinate", lambda *args: pytest.fail("a run was made again"))
    monkeypatch.setattr(campaign, "write_comparison", lambda comparison, folder: [])  # pictures take seconds
    assert main([*words, "--name", "again"]) == 0
    assert table(tmp_path / "again" / "scores.csv") == scores
    (tmp_path / "runs" / next(iter(first))).unlink()
    capsys.readouterr()
    assert main([*words, "--report"]) == 1
    assert "1 of 4 runs are missing" in capsys.readouterr().err


def without_time(record: dict[str, Any]) -> dict[str, Any]:
    """A record without clock, memory and machine."""
    timed = ("began", "seconds", "recalled", "peak_memory_mb", "peak_is_of_this_run", "wire")
    kept = {key: value for key, value in record.items() if key not in timed}
    for r in kept["rounds"]:
        r["seconds"] = None
        for reply in r["replies"].values():
            reply |= {"seconds": None, "bytes_up": None}
    return kept


def test_remembered_steps_change_nothing_but_the_time(listing: Path, tmp_path: Path) -> None:
    protocol = small(tmp_path, sites_from_file(listing), ["fedavg-lora", "pfedsam", "uniform-gate"])
    fedavg, pfedsam, uniform = (run for run in runs_of(protocol) if run.fold == 0)
    memory = Memory(tmp_path / "memory")
    for run in (fedavg, pfedsam):
        assert running.run_one(protocol, run, tmp_path, memory).state == "made"
    assert read_record(run_path(tmp_path, pfedsam.id))["recalled"]["hits"] > 0, "its averages are FedAvg's"
    records = []
    for output, known in ((tmp_path, memory), (tmp_path / "without", None)):
        assert running.run_one(protocol, uniform, output, known).state == "made"
        records.append(read_record(run_path(output, uniform.id)))
    assert records[0]["recalled"]["misses"] == 0, "and its experts see what pfedsam's see"
    assert records[1]["recalled"]["hits"] == 0
    assert without_time(records[0]) == without_time(records[1])


def test_a_run_that_fails_is_said_and_the_others_go_on(
    listing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = running.coordinate

    def one_fails(grid: Any, flat: Any, run_id: int) -> Any:
        if flat["aggregation.rule"] == "product":
            raise FederationError("PFS-501", "1 of at least 2 sites")
        return real(grid, flat, run_id)

    monkeypatch.setattr(running, "coordinate", one_fails)
    monkeypatch.setattr(campaign, "write_comparison", lambda comparison, folder: [])
    assert main(command(listing, tmp_path, "flap,ffa-lora", "--fold", "1", "--no-memory")) == 1
    said = capsys.readouterr()
    assert "PFS-501 1 of at least 2 sites" in said.err
    assert "1 of 2 runs are missing" in said.err
    assert len(list((tmp_path / "runs").iterdir())) == 1
    assert not (tmp_path / "memory").exists()


def test_a_run_that_another_process_makes_is_left_to_it(listing: Path, tmp_path: Path) -> None:
    protocol = small(tmp_path, sites_from_file(listing), ["pfedsam"])
    runs = runs_of(protocol)[:1]
    told = []
    with locked(tmp_path / "work" / runs[0].id):
        outcomes = campaign.make_runs(protocol, runs, tmp_path, lambda *args: told.append(args))
    assert [one.state for one in outcomes] == ["busy"]
    assert [(outcome.state, left) for outcome, left, _ in told] == [("busy", 0)]
    assert campaign.missing(runs, tmp_path) == runs


def test_a_damaged_record_gets_a_sentence(listing: Path, tmp_path: Path) -> None:
    protocol = small(tmp_path, sites_from_file(listing), ["pfedsam"])
    run = runs_of(protocol)[0]
    path = run_path(tmp_path, run.id)
    path.parent.mkdir()
    for content in ("{", "[]", "{}", json.dumps({"version": 1, "id": "another"})):
        path.write_text(content)
        with pytest.raises(StoreError, match="PFS-603 the record of a run cannot be used") as caught:
            campaign.report(protocol, [run], tmp_path, tmp_path, method="pfedsam")
        assert str(path) in caught.value.local()
        assert "remove this file" in caught.value.local()


def test_pooled_patients_are_scored_under_their_own_site(listing: Path, tmp_path: Path) -> None:
    protocol = small(tmp_path, sites_from_file(listing), ["pooled"])
    run = runs_of(protocol)[0]
    assert run.flat["training.global-steps"] == 2
    outcome = running.run_one(protocol, run, tmp_path, None)
    assert outcome.state == "made", outcome.text
    record = read_record(run_path(tmp_path, run.id))
    tested = {(row["site"], row["patient"]) for row in record["scores"]}
    assert tested == {
        (site.site, patient) for site in protocol.sites for patient in protocol.folds.tested(site.site, 0)
    }
    other = protocol.sites[0].model_copy(update={"labels": "organ=128,lesion=255"})
    changed = small(tmp_path, [other, protocol.sites[1]], ["pooled"])
    failed = running.run_one(changed, runs_of(changed)[0], tmp_path / "other", None)
    assert failed.state == "failed"
    assert "harbour has other mask values or classes than north" in failed.text


def test_a_site_that_is_left_out_is_scored_on_all_its_patients(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "three", n_sites=3, patients=4, slices=1, size=48)
    sites = sites_from_file(tmp_path / "three" / "sites.toml")
    protocol = small(tmp_path, sites, ["fedavg-lora"], experiment="leave-one-out")
    runs = runs_of(protocol)
    assert [run.unseen for run in runs] == [site.site for site in sites]
    run = runs[0]
    assert run.flat["federation.sites"] == ",".join(site.site for site in sites[1:])
    assert running.run_one(protocol, run, tmp_path, None).state == "made"
    record = read_record(run_path(tmp_path, run.id))
    tested = {(row["site"], row["model"]): 0 for row in record["scores"]}
    assert list(tested) == [(sites[0].site, "global")]
    assert len({row["patient"] for row in record["scores"]}) == 4
    assert all(run.unseen not in r["replies"] for r in record["rounds"])


def test_own_experts_give_the_personal_model_and_others_another(listing: Path, tmp_path: Path) -> None:
    protocol = small(tmp_path, sites_from_file(listing), ["pfedsam"], experiment="wrong-expert")
    runs = runs_of(protocol)[:1]
    assert not {run.id for run in runs} & {
        run.id for run in runs_of(small(tmp_path, sites_from_file(listing), ["pfedsam"]))
    }
    assert running.run_one(protocol, runs[0], tmp_path, None).state == "made"
    record = read_record(run_path(tmp_path, runs[0].id))

    def counts(model: str, site: str) -> list[tuple[int, ...]]:
        own = [row for row in record["scores"] if (row["model"], row["site"]) == (model, site)]
        return [(row["both"], row["predicted"], row["reference"]) for row in own]

    assert counts("experts of north", "north") == counts("personal", "north") != []
    assert counts("experts of harbour", "harbour") == counts("personal", "harbour")
    assert counts("experts of harbour", "north") != counts("personal", "north")
    text, _ = exchange_report(protocol, runs, tmp_path, tmp_path / "report")
    assert "| Patients of | global | experts of harbour | experts of north | Own over others |" in text


def test_a_row_that_shares_nothing_runs_to_its_end(listing: Path, tmp_path: Path) -> None:
    protocol = small(tmp_path, sites_from_file(listing), ["local-lmoe"])
    outcome = running.run_one(protocol, runs_of(protocol)[0], tmp_path, None)
    assert (outcome.state, outcome.text) == ("made", "")
    record = read_record(run_path(tmp_path, outcome.run.id))
    assert record["parameters"]["shared"] == 0 < record["parameters"]["personal"]
    assert "personal" in {row["model"] for row in record["scores"]}


def test_a_newcomer_fits_its_part_on_few_patients(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "three", n_sites=3, patients=4, slices=1, size=48)
    sites = sites_from_file(tmp_path / "three" / "sites.toml")
    names = ["local", "fedavg-lora", "fedavg-local-blend", "pfedsam", "pfedsam-deployed"]
    protocol = small(tmp_path, sites, names, experiment="onboarding")
    runs = [run for run in runs_of(protocol) if run.unseen == sites[0].site]
    memory = Memory(tmp_path / "memory")
    fedavg, run = runs
    assert [running.run_one(protocol, one, tmp_path, memory).state for one in runs] == ["made", "made"]
    record, other = (read_record(run_path(tmp_path, one.id)) for one in (run, fedavg))
    rows = models_of(record, "pfedsam", "personal")
    assert list(rows) == ["pfedsam, 0", "pfedsam, 1", "pfedsam, 2", "pfedsam, 4", "pfedsam, all"]
    alone, blend = models_of(other, "local", "alone"), models_of(other, "blend", "deployed")
    assert list(alone) == ["local, 1", "local, 2", "local, 4", "local, all"]
    assert list(blend) == ["blend, 0", "blend, 1", "blend, 2", "blend, 4", "blend, all"]
    assert models_of(other, "fedavg-lora", "global") == {"fedavg-lora, 0": "global"}
    deployed = models_of(record, "deployed", "deployed")
    for model in {*rows.values(), *deployed.values(), *alone.values()}:
        own = [row for row in record["scores"] if row["model"] == model and row["name"] == "organ"]
        assert {row["site"] for row in own} == {run.unseen}
        assert sorted(row["patient"] for row in own) == sorted({row["patient"] for row in own})
        assert len(own) == 4, "each patient is tested once"
    voxels = {m: [r["predicted"] for r in record["scores"] if r["model"] == m] for m in rows.values()}
    assert voxels["personal of 1"] == voxels["personal of 4"], "a fold of four leaves one patient to train"
    assert voxels["personal of 1"] != voxels["global"]
    taken = [[r for r in one["scores"] if r["model"] == "alone of 1"] for one in (record, other)]
    assert taken[0] == taken[1]
    comparison, _ = campaign.report(protocol, runs, tmp_path, tmp_path / "report", method="pfedsam-deployed")
    assert [row.row for row in comparison.rows][:6] == [*alone, "fedavg-lora, 0", "fedavg-local-blend, 0"]
    assert (comparison.method, comparison.reference) == ("pfedsam-deployed, all", "pfedsam-deployed, 0")
    named = [one.rival for one in (*comparison.against, *comparison.untested)]
    assert named == ["pfedsam-deployed, 0", "local, all", "fedavg-local-blend, all"]
    with pytest.raises(SettingsError, match="PFS-101.*local"):
        campaign.check_method(protocol, "local")
