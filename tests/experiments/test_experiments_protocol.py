"""Rows, budgets, ids, folds, what becomes of a record's scores; nothing is trained."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from experiments_small import SMALL, small

from pfedsam_flower.cli.__main__ import main
from pfedsam_flower.contract.methods import METHODS
from pfedsam_flower.data.layouts import find_cases
from pfedsam_flower.data.phantoms import write_phantoms
from pfedsam_flower.errors import DataError, PfedsamError, SettingsError
from pfedsam_flower.experiments.budget import settings_of, steps_taken
from pfedsam_flower.experiments.campaign import time_left
from pfedsam_flower.experiments.exchange import exchange_table
from pfedsam_flower.experiments.pooling import merged_sites
from pfedsam_flower.experiments.protocol import make_protocol, runs_of
from pfedsam_flower.experiments.record import run_path, to_bytes
from pfedsam_flower.experiments.results import facts_of, model_in, patient_scores, records_of
from pfedsam_flower.experiments.rows import ROWS, Row, chosen
from pfedsam_flower.experiments.running import Outcome
from pfedsam_flower.federation.plan import read_plan
from pfedsam_flower.model.build import build
from pfedsam_flower.settings.sources import sites_from_file

BASE = {"rounds": 6, "training.global-steps": 10, "training.local-steps": 4, "training.closing-steps": 8,
        "training.personal-from": 3}  # fmt: skip
TOTAL = 6 * 10 + 4 * 4 + 8
PART = {"pfedsam-global"}
"""Rows that are a part of another row's training."""


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("budget", ["global", "total"])
def test_a_rows_settings_are_a_valid_plan_and_spend_the_budget(name: str, budget: Any) -> None:
    row = ROWS[name]
    flat = settings_of(row, BASE | {"federation.minimum-sites": 3}, 3, budget)
    run, _ = read_plan(flat)
    assert {key: flat[key] for key in row.settings if "steps" not in key} == {
        key: value for key, value in row.settings.items() if "steps" not in key
    }
    together = sum(steps_taken(flat, row.model)) / (3 if row.pooled else 1)
    if name.startswith("local") or (budget == "total" and "deployed" not in row.model and name not in PART):
        assert TOTAL <= together < TOTAL + run.rounds, "rounded up to whole rounds"
    elif budget == "global":
        assert flat["training.global-steps"] == (30 if row.pooled else 10)


def test_rows_with_equal_settings_share_a_run_and_ids_hang_on_all_that_counts(
    listing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sites = sites_from_file(listing)
    rows = ["local", "fedavg-lora", "place-late", "pfedsam", "pfedsam-deployed"]
    runs = runs_of(small(tmp_path, sites, rows))
    assert [run.rows for run in runs if run.fold == 0] == [
        ("local", "fedavg-lora"),
        ("place-late", "pfedsam", "pfedsam-deployed"),
    ]
    ids = {run.id for run in runs}
    assert len(ids) == 4
    assert {run.id for run in runs_of(small(tmp_path, sites, rows))} == ids
    assert not ids & {run.id for run in runs_of(small(tmp_path, sites, rows, rounds=2))}
    elsewhere = [site.model_copy(update={"data": f"{site.data}/.", "threads": 2}) for site in sites]
    assert {run.id for run in runs_of(small(tmp_path, elsewhere, rows))} == ids
    for change in ({"labels": "organ=128,lesion=255"}, {"masks": "masks/."}):
        changed = [sites[0].model_copy(update=change), *sites[1:]]
        assert not ids & {run.id for run in runs_of(small(tmp_path, changed, rows))}, change
    weights = tmp_path / "weights"
    weights.write_bytes(b"1")
    four = [
        make_protocol(tmp_path / "4", sites, chosen(rows), SMALL, count=4, seeds=[0], patients=n)
        for n in (None, 2, 1)
    ]
    of_all, of_two, of_one = ({run.id for run in runs_of(one)} for one in four)
    assert of_all == of_two, "no fold has more"
    assert not of_all & of_one
    other = small(tmp_path, [site.model_copy(update={"checkpoint": str(weights)}) for site in sites], rows)
    assert not ids & {run.id for run in runs_of(other)}
    named_once = small(tmp_path, sites, rows, **{"coordinator.checkpoint": str(weights)})
    assert {run.id for run in runs_of(named_once)} == {run.id for run in runs_of(other)}
    assert {site.checkpoint for site in named_once.sites} == {str(weights)}
    monkeypatch.chdir(tmp_path)
    from_here = small(tmp_path, sites, rows, **{"coordinator.checkpoint": "weights"})
    assert {site.checkpoint for site in from_here.sites} == {str(weights)}, "sites take whole paths only"


@pytest.mark.parametrize(
    ("rows", "base"),
    [
        (["fedsa-lora", "iat-share"], {"training.orthogonality": 0.3}),
        (["local-lmoe"], {"training.global-steps": 0}),
        (["interleaved"], {"training.personal-from": 9, "training.closing-steps": 4}),
    ],
)
def test_settings_are_judged_by_the_rows_that_are_asked_for(
    listing: Path, tmp_path: Path, rows: list[str], base: dict[str, Any]
) -> None:
    assert runs_of(small(tmp_path, sites_from_file(listing), rows, **base))


def test_rows_that_need_a_run_of_their_own_differ_in_what_they_do() -> None:
    """Two names for one thing would be a rival too few: settings, phases, or what is trained must differ."""
    seen: dict[str, tuple[str, dict[str, Any]]] = {}
    for name, row in ROWS.items():
        flat = settings_of(row, {"image.size": 28, "federation.minimum-sites": 3}, 2) | {
            "evaluation.alone": False
        }
        run, _ = read_plan(flat)
        method = METHODS[run.method]
        settings = {key: value for key, value in flat.items() if key != "method"}
        doing = [settings, build(run, "").roles, method.round, method.closing, row.pooled]
        other, others = seen.setdefault(json.dumps(doing, sort_keys=True), (name, flat))
        assert flat == others, f"{name} does what {other} does"


def test_folds_are_written_once_and_others_are_refused(listing: Path, tmp_path: Path) -> None:
    sites = sites_from_file(listing)
    first = small(tmp_path, sites, ["local"])
    assert small(tmp_path, sites, ["local"]).folds == first.folds
    with pytest.raises(SettingsError, match="has 2 folds"):
        make_protocol(tmp_path, sites, chosen(["local"]), {}, count=3, seeds=[0])
    with pytest.raises(DataError, match="PFS-206 .* of other sites or patients: north"):
        small(tmp_path, [site for site in sites if site.site != "north"], ["local"])
    record = json.loads((tmp_path / "folds.json").read_text())
    record["sites"]["north"][0]["test"] = []
    (tmp_path / "folds.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match="PFS-206"):
        small(tmp_path, sites, ["local"])
    alone = [site.model_copy(update={"patient": r"^(north)"}) for site in sites if site.site == "north"]
    assert make_protocol(
        tmp_path / "2", [*alone, sites[1]], chosen(["local"]), {}, count=2, seeds=[0]
    ).folds.too_small == {"north": ("north",)}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rows", "pfedsm"], "--rows pfedsm: no such row; did you mean pfedsam?"),
        (["--set", "seed=3"], "--set seed: a comparison sets this itself (--seeds)"),
        (["--set", "federation.minimum-sites=1"], "--set federation.minimum-sites"),
        (["--set", "coordinator.chekpoint=x"], "did you mean checkpoint?"),
        (["--set", "training.global-stps=1"], "did you mean training.global-steps?"),
        (["--fold", "2"], "--fold 2: the folds are 0 to 1"),
        (["--patients", "0"], "--patients 0: one is the least"),
        (["--report"], "none of the 2 runs has been made"),
        (["--merge", "north,south"], "--merge south: no such site"),
        (["--experiment", "leave-one-out"], "2 sites: leaving one out takes three"),
        (["--experiment", "wrong-expert", "--rows", "fedavg-lora"], "--rows fedavg-lora: no site keeps"),
        (["--experiment", "wrong-expert", "--rows", "pooled"], "--rows pooled: no site keeps"),
        (["--budget", "total", "--set", "training.local-steps=5.0"], "training.local-steps"),
        (
            ["--rows", "ditto,pfedsam", "--set", "rounds=50"],
            "--rows ditto: 40 personal steps cannot be spread over 50 rounds and the closing one",
        ),
        (["--method", "ditto"], "--method ditto: it is not among the rows"),
    ],
)
def test_what_cannot_be_compared_gets_its_sentence(
    listing: Path, tmp_path: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    start = ["compare", "--sites", str(listing), "--output", str(tmp_path), "--folds", "2", "--seeds", "0"]
    assert main([*start, "--rows", "pfedsam", *words]) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_the_list_of_rows_needs_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--list-rows"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(ROWS)


def case(patient: str, both: int, predicted: int, reference: int, **more: Any) -> dict[str, Any]:
    return {
        "site": "north", "model": "global", "patient": patient, "case": f"{patient}-{both}-{predicted}",
        "name": "organ", "both": both, "predicted": predicted, "reference": reference,
        "hd95": None, "nsd": None, "unit": "",
    } | more  # fmt: skip


def test_a_patients_cases_are_pooled_and_empty_ones_counted() -> None:
    scores = [
        case("a", 10, 20, 20, hd95=2.0, nsd=0.5, unit="mm"),
        case("a", 30, 30, 30, hd95=4.0, nsd=1.0, unit="mm"),
        case("a", 0, 8, 0),
        case("b", 0, 0, 0),
        case("c", 1, 1, 1, hd95=1.0, nsd=1.0, unit="mm"),
        case("c", 1, 1, 1, hd95=1.0, nsd=1.0, unit="pixel"),
        case("a", 0, 0, 9, model="alone"),
    ]
    record = {"seed": 7, "scores": scores}
    a, b, c = patient_scores(record, "row", "global")
    assert (a.patient, a.dice, a.hd95, a.nsd, a.unit) == ("a", 80 / 108, 3.0, 0.75, "mm")
    assert (a.row, a.seed, a.empty, a.marked) == ("row", 7, 1, 1)
    assert (b.dice, b.hd95, b.unit, b.empty, b.marked) == (None, None, "", 1, 0)
    assert (c.dice, c.hd95, c.nsd, c.unit) == (1.0, None, None, "mixed")
    assert model_in(record, "blend") == "deployed"
    record["scores"].append(case("a", 1, 1, 1, model="blend"))
    assert model_in(record, "blend") == "blend"


def test_experts_are_compared_on_what_all_have_a_dice_of() -> None:
    def experts(of: str, marked: int) -> list[dict[str, Any]]:
        model = f"experts of {of}"
        return [case("a", 80, 100, 100, model=model), case("b", 0, marked, 0, model=model)]

    site = case("a", 1, 1, 1)["site"]
    record = {"seed": 0, "scores": [*experts("north", 0), *experts("valley", 9)]}
    assert exchange_table([record]) == {site: {"experts of north": 0.8, "experts of valley": 0.8}}
    record["scores"] = [score for score in record["scores"] if score["patient"] == "b"]
    assert exchange_table([record]) == {}, "and nothing is there where nobody has one"


def test_masks_that_changed_between_runs_are_refused(listing: Path, tmp_path: Path) -> None:
    protocol = small(tmp_path, sites_from_file(listing), ["fedavg-lora", "pfedsam"])
    runs = [run for run in runs_of(protocol) if run.fold == 0]
    for run, reference in zip(runs, (20, 21), strict=True):
        scores = [case("a", 10, 20, reference, model=model) for model in ("global", "alone")]
        record = {"version": 1, "id": run.id, "settings": {}, "parameters": {}, "hardware": {}, "rounds": []}
        record["began"] = f"2026-11-{reference}"
        path = run_path(tmp_path, run.id)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(to_bytes(record | {"scores": scores}))
    assert len(records_of(tmp_path, runs[:1])) == 1
    with pytest.raises(
        SettingsError,
        match=f"1 masks have changed.*run of 2026-11-20 .{runs[0].id}.*2026-11-21 .{runs[1].id}",
    ):
        records_of(tmp_path, runs[::-1])


def test_a_newcomers_run_is_known_by_the_newcomers_patients_too(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "three", n_sites=3, patients=6, slices=1, size=48)
    sites, rows = sites_from_file(tmp_path / "three" / "sites.toml"), chosen(["pfedsam"])
    few, all_of_them = (
        make_protocol(tmp_path, sites, rows, SMALL, count=2, seeds=[0], experiment="onboarding", patients=n)
        for n in (1, None)
    )
    folds = replace(all_of_them.folds, sites=all_of_them.folds.sites | {"north": few.folds.sites["north"]})
    mixed = replace(all_of_them, folds=folds)
    one, other = (next(r for r in runs_of(p) if r.unseen == "north") for p in (mixed, all_of_them))
    assert one.id != other.id


def test_a_model_trained_alone_sends_nothing_and_a_kept_copy_counts() -> None:
    reply = {"bytes_up": 100, "bytes_down": 200}
    record = {
        "seed": 0, "fold": 0, "seconds": 5.0, "recalled": {"seconds": 2.0}, "peak_memory_mb": 1.0,
        "parameters": {"shared": 1000, "personal": 50, "copy": True},
        "rounds": [
            {"kind": "train", "replies": {"a": reply, "b": reply | {"bytes_up": 300}}},
            {"kind": "close", "replies": {"a": reply | {"bytes_up": 9}}},
        ],
        "settings": settings_of(ROWS["ditto"], BASE, 2) | {"evaluation.alone": True},
    }  # fmt: skip
    alone, shared, own = (facts_of(record, "r", model) for model in ("alone", "global", "personal"))
    assert (alone.trained, alone.shared, alone.bytes_up, alone.alone_steps) == (1000, 0, 0.0, TOTAL)
    assert (shared.trained, shared.shared, shared.personal, shared.bytes_up) == (1000, 1000, 0, 200.0)
    assert (own.trained, own.shared, own.personal, own.bytes_down) == (1050, 1000, 1050, 200.0)
    assert (own.global_steps, own.personal_steps, own.seconds) == (60, 4 * 4 + 8, 7.0)


def test_what_is_left_takes_as_long_as_the_same_rows_took(listing: Path, tmp_path: Path) -> None:
    runs = runs_of(small(tmp_path, sites_from_file(listing), ["local", "pfedsam"]))
    made = [Outcome(run, "made", seconds=s) for run, s in zip(runs[:2], (10.0, 30.0), strict=True)]
    assert time_left([Outcome(runs[0], "there")], runs[1:]) is None
    assert time_left(made[:1], runs[1:]) == 30.0
    assert time_left(made, runs[2:]) == 40.0


def test_a_pooled_row_of_one_label_map_keeps_background(listing: Path, tmp_path: Path) -> None:
    from pfedsam_flower.data.labels import labels_of
    from pfedsam_flower.experiments.pooling import pooled_site, unpooled_name

    first, second = sites_from_file(listing)
    second = second.model_copy(update={"labels": second.labels + ",background=7"})
    classes = ("organ", "lesion")
    site = pooled_site([first, second], tmp_path, str(tmp_path), classes)
    assert labels_of(site, classes).classes == labels_of(first, classes).classes
    assert labels_of(site, classes).background == {7}
    assert unpooled_name("north:a:b") == ("north", "a:b")


def test_two_sites_behind_one_hospital(listing: Path, tmp_path: Path) -> None:
    sites = sites_from_file(listing)
    classes = ("organ", "lesion")
    (merged,) = merged_sites(sites, ["harbour", "north"], tmp_path, classes)
    assert merged.site == "north-and-harbour"
    assert len(find_cases(merged)) == sum(len(find_cases(site)) for site in sites)
    assert len({case.patient for case in find_cases(merged)}) == 8
    elsewhere = [sites[0], sites[1].model_copy(update={"masks": "masks/."})]
    (other,) = merged_sites(elsewhere, ["harbour", "north"], tmp_path, classes)
    assert other.masks != merged.masks, "a run is known by it"
    for names in (["north"], ["north", "south"]):
        with pytest.raises(SettingsError, match="PFS-101"):
            merged_sites(sites, names, tmp_path, classes)


def test_unknown_methods_are_left_to_the_plan(listing: Path, tmp_path: Path) -> None:
    rows = {"mine": Row("", {"method": "pfedsan"})}
    protocol = make_protocol(tmp_path, sites_from_file(listing), rows, SMALL, count=2, seeds=[0])
    with pytest.raises(PfedsamError, match="did you mean pfedsam"):
        runs_of(protocol)


def test_a_spread_row_takes_the_same_personal_steps_in_all_rounds() -> None:
    late = {"rounds": 8, "training.local-steps": 0, "training.personal-from": 9, "training.closing-steps": 40}
    flat = settings_of(ROWS["interleaved"], late, 4)
    assert (flat["training.local-steps"], flat["training.closing-steps"]) == (4, 8)
    assert flat["training.personal-from"] == 1
    assert (
        steps_taken(flat, "personal")[1] == steps_taken(settings_of(ROWS["pfedsam"], late, 4), "personal")[1]
    )


def test_without_a_closing_round_the_rounds_take_its_steps() -> None:
    late = {"rounds": 8, "training.local-steps": 0, "training.personal-from": 9, "training.closing-steps": 42}
    flat = settings_of(ROWS["no-closing"], late, 4)
    assert (flat["training.local-steps"], flat["training.closing-steps"]) == (6, 0)
    assert steps_taken(flat, "personal")[1] == 48


@pytest.mark.parametrize("name", ["reverse-distillation", "both-distillation", "global-first"])
def test_where_the_personalised_model_teaches_it_has_been_trained(name: str) -> None:
    late = {"rounds": 8, "training.local-steps": 0, "training.personal-from": 9, "training.closing-steps": 40}
    flat = settings_of(ROWS[name], late, 4)
    assert flat["training.personal-from"] == 1
    assert flat["training.local-steps"] > 0
