"""What a run's history says is what the structures, tables and pictures say."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pfedsam_flower.errors import StoreError
from pfedsam_flower.reports import history as histories
from pfedsam_flower.reports import influence, pictures, plots, tables

SITES = ("harbour", "north", "valley")
DEPLOYED = {"harbour": 0.84, "north": 0.81, "valley": 0.78}
ALONE = {"harbour": 0.77, "north": 0.81, "valley": 0.85}
BLEND = {"harbour": 0.0, "north": 0.5, "valley": 1.0}


def reply(number: int, site: str, kind: str = "train") -> dict:
    metrics = {f"validation.dice.{m}": 0.1 * number for m in ("global", "personal", "alone")}
    if kind == "close":
        metrics |= {"test.dice.global": 0.7, "test.dice.personal": 0.8, "test.dice.alone": ALONE[site]}
        metrics |= {
            "test.dice.deployed": DEPLOYED[site],
            "mix.global": 1 - BLEND[site],
            "mix.personal": BLEND[site],
            "test.cases": 8,
        }
    seconds = {"load": 0.5, "local": 3.0, "global": 3.0}
    sizes = {"bytes_up": 1000, "bytes_down": 2000}
    return event("reply", round=number, kind=kind, site=site, metrics=metrics, seconds=seconds, **sizes)


def event(name: str, **values) -> dict:
    return {"time": "2026-11-25T12:00:00Z", "event": name, **values}


def sample(rounds: int = 3, status: str = "completed") -> list[dict]:
    """Three sites; valley is left out in round 2."""
    events = [
        event(
            "start",
            run="7",
            federation="demo",
            method="pfedsam",
            rounds=rounds,
            first_round=1,
            expected=list(SITES),
            bytes_per_message=1_000_000,
        )
    ]
    events += [
        event("site", site=s, n_train_patients=8, n_validation_patients=2, n_test_patients=3) for s in SITES
    ]
    for number in range(1, rounds + 1):
        events.append(event("round-start", round=number, kind="train", sites=list(SITES)))
        for site in SITES:
            out = event("left-out", round=2, site=site, code="PFS-403", text="PFS-403 not finite")
            events.append(out if (number, site) == (2, "valley") else reply(number, site))
        events.append(
            event("round-end", round=number, kind="train", sites=list(SITES), seconds=10.0 + number)
        )
    events.append(event("round-start", round=rounds + 1, kind="close", sites=list(SITES)))
    events += [reply(rounds + 1, site, "close") for site in SITES]
    events.append(event("round-end", round=rounds + 1, kind="close", sites=list(SITES), seconds=9.0))
    return [*events, event("end", status=status, text="")]


def write(folder: Path, events: list[dict], tail: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    text = "".join(json.dumps(e) + "\n" for e in events)
    (folder / "history.jsonl").write_text(text + tail, encoding="utf-8")
    return folder


def test_a_whole_run_is_read(tmp_path):
    history = histories.read_history(write(tmp_path, sample()))
    assert history.status == "completed"
    assert list(history.sites) == list(SITES)
    assert history.sites["north"].patients == {"train": 8, "validation": 2, "test": 3}
    assert [r.number for r in history.training] == [1, 2, 3]
    assert history.rounds[1].missing == {"valley": "PFS-403 not finite"}
    assert history.closing is not None
    assert set(history.closing.replies) == set(SITES)


@given(cut=st.integers(0, 400))
def test_a_last_line_that_is_being_written_is_left_out(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("run")
    write(folder, sample()[:4], json.dumps(reply(1, "north"))[:cut])
    events = histories.read_events(folder / "history.jsonl")
    assert len(events) in (4, 5)
    assert events[:4] == sample()[:4]


def test_a_damaged_line_inside_is_refused_with_its_number(tmp_path):
    write(tmp_path, sample()[:3])
    with (tmp_path / "history.jsonl").open("a") as file:
        file.write('{"event": "rep\n' + json.dumps(sample()[4]) + "\n")
    with pytest.raises(StoreError, match="line 4 of the history is damaged") as caught:
        histories.read_history(tmp_path)
    assert caught.value.code == "PFS-603"


def test_no_history_is_one_sentence(tmp_path):
    with pytest.raises(StoreError, match="no history of a run here"):
        histories.read_history(tmp_path / "nowhere")


def test_unknown_events_and_empty_runs_are_passed_over():
    assert histories.collect([event("weather", sky="blue")]).status == "empty"
    assert histories.collect(sample()[:5]).status == "running"


def test_a_resumed_run_keeps_earlier_rounds_and_redoes_the_later_ones():
    history = histories.collect(
        [
            *sample(status="failed"),
            event("start", federation="demo", rounds=3, first_round=3, expected=list(SITES)),
            event("round-start", round=3, kind="train", sites=["north"]),
        ]
    )
    assert history.status == "running"
    assert [(r.number, r.kind, len(r.replies)) for r in history.rounds] == [
        (1, "train", 3),
        (2, "train", 2),
        (3, "train", 0),
    ]


def test_a_late_reply_takes_the_site_off_the_list_of_missing():
    events = [e for e in sample() if e["event"] != "end"]
    history = histories.collect([*events, reply(2, "valley")])
    assert history.rounds[1].missing == {}


def test_curves_say_the_state_before_the_round_that_measured_it():
    history = histories.collect(sample())
    assert histories.curve(history, "valley", "validation.dice.global") == [
        (0, pytest.approx(0.1)),
        (2, pytest.approx(0.3)),
        (3, pytest.approx(0.4)),
    ]


def test_rows_and_their_mean():
    rows = tables.site_rows(histories.collect(sample()))
    mean = tables.mean_row(rows)
    assert [row.site for row in rows] == list(SITES)
    assert rows[0].gain == pytest.approx(0.07)
    assert mean.patients == (24, 6, 9)
    assert mean.dice == pytest.approx((0.81, 0.7, 0.8, 0.81))
    assert tables.cells(rows[1], 3) == (
        "north", "8", "2", "3", "0.810", "0.700", "0.800", "0.810", "g 0.50 p 0.50", "+0.000",
    )  # fmt: skip


def test_undefined_values_are_dashes_and_a_mean_over_fewer_sites_says_so():
    events = sample()
    closing = next(e for e in events if e.get("kind") == "close" and e.get("site") == "valley")
    closing["metrics"] = {"test.dice.deployed": 0.5, "test.dice.global": float("nan")}
    rows = tables.site_rows(histories.collect(events))
    assert rows[2].dice == (None, None, None, 0.5)
    assert tables.cells(rows[2], 3)[4:] == ("–", "–", "–", "0.500", "–", "–")
    mean = tables.cells(tables.mean_row(rows), 3)
    assert mean[4] == "0.790 (2 of 3)"
    assert mean[-1] == "–"  # the means are not over the same sites


def test_sentences_name_the_site_that_loses_and_those_that_were_missing():
    text = " ".join(tables.sentences(histories.collect(sample())))
    assert "valley is better off alone, -0.070 Dice (0.850 alone, 0.780 deployed)" in text
    assert "1.0 MB" in text
    assert "12.0 s on average (3 rounds)" in text
    assert "valley in round 2 (PFS-403 not finite)" in text


def test_a_run_without_a_closing_round_still_has_a_table():
    history = histories.collect(sample()[:6])
    assert tables.mean_row(tables.site_rows(history)).dice == (None,) * 4
    assert "| valley | 8 | 2 | 3 | – |" in tables.as_markdown(history)
    assert tables.mean_row([]).dice == (None,) * 4
    json.dumps(tables.as_json(history), allow_nan=False)


def test_markdown_and_csv_hold_every_site(tmp_path):
    history = histories.collect(sample())
    markdown, table = tables.write_tables(history, tmp_path)
    assert [line.count("|") for line in markdown.read_text().splitlines() if line.startswith("|")] == [11] * 6
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    assert [row["site"] for row in rows] == [*SITES, "mean"]
    assert float(rows[2]["deployed"]) == DEPLOYED["valley"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["table.csv", "table.md"]


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    with pytest.raises(StoreError, match="cannot be written"):
        tables.write_tables(histories.collect(sample()), tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1e6, "1.0 MB"), (2.5e12, "2500.0 GB")]
)
def test_bytes_are_written_for_people(count, text):
    assert tables.bytes_text(count) == text


def test_curves_are_drawn_once_there_is_something_to_draw(tmp_path):
    assert plots.write_curves(histories.collect(sample()[:5]), tmp_path / "curves.png") is None
    assert not (tmp_path / "curves.png").exists()
    path = plots.write_curves(histories.collect(sample()), tmp_path / "curves.png")
    assert np.asarray(Image.open(path).convert("RGB")).std() > 5


def test_overlays_show_grey_and_colour_images_and_empty_masks(tmp_path):
    reference = np.zeros((24, 32), bool)
    reference[4:12, 0:9] = True  # touches the border
    grey = np.full((24, 32), 120.0, np.float32)
    nothing = np.zeros_like(reference)
    rows = [
        ("grey", grey, reference, {"alone": nothing, "global": reference, "personalised": reference}),
        ("colour", np.stack([grey] * 3, -1), nothing, {"global": nothing}),
    ]
    path = pictures.overlay_figure(rows, tmp_path / "demo.png")
    assert Image.open(path).size[0] > 800
    assert [p.name for p in tmp_path.iterdir()] == ["demo.png"]


def test_dice_of_pictures():
    a = np.array([[True, True, False, False]])
    assert pictures.dice(a, a) == 1.0
    assert pictures.dice(a, ~a) == 0.0
    assert pictures.dice(a, np.array([[True, False, False, False]])) == pytest.approx(2 / 3)
    assert pictures.dice(a & False, a & False) is None


def test_absent_and_late_sites_are_named_with_their_round() -> None:
    start = event("start", first_round=1, rounds=1, expected=list(SITES))
    begin = event("round-start", round=1, kind="train", sites=["north"], absent=["harbour", "valley"])
    late = event("late", round=1, site="valley", seconds=712.4)
    (only,) = histories.collect([start, begin, reply(1, "north"), late]).rounds
    absent = "was not there at its start"
    assert only.missing == {"harbour": absent, "valley": "too late: answered 712 s after it was asked"}
    came = histories.collect([start, begin, reply(1, "harbour"), late | {"site": "harbour"}]).rounds[0]
    assert came.missing == {"valley": absent}, "who comes during the round has answered"


def test_what_each_site_counted_for_is_in_every_report(tmp_path):
    events = sample(rounds=2)
    for e in events:
        if e["event"] == "reply" and e["kind"] == "train":
            e |= {"weight": 6 if e["site"] == "harbour" else 3, "delta_norm": 0.25 * e["round"]}
    events.insert(-1, event("conspicuous", round=1, site="north", text="the delta's norm is 9"))
    history = histories.collect(events)
    assert influence.rows(history) == [
        ("harbour", "2", "6", "67 %", "0.25–0.5", "–"),
        ("north", "2", "3", "33 %", "0.25–0.5", "–"),
        ("valley", "1", "3", "25 %", "0.25–0.25", "2"),
    ]
    markdown, _ = tables.write_tables(history, tmp_path)
    assert "| valley | 1 | 3 | 25 % | 0.25–0.25 | 2 |" in markdown.read_text()
    assert "Conspicuous: north in round 1 (the delta's norm is 9)." in tables.sentences(history)
    second = tables.as_json(history)["averages"][1]
    assert second["sites"]["harbour"] == {"weight": 6, "share": pytest.approx(2 / 3), "norm": 0.5}
    assert second["left-out"] == {"valley": "PFS-403 not finite"}
