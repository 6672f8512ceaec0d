"""Progress and verdict of a run: what is read while it goes on, what is shown, and when it counts as done."""

import io
import json
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from pfedsam_flower.cli import launch as launching
from pfedsam_flower.cli import render
from pfedsam_flower.errors import FederationError
from pfedsam_flower.reports.history import collect

START = {"event": "start", "federation": "demo", "method": "pfedsam", "first_round": 1, "rounds": 2,
         "bytes_per_message": 1_000_000, "expected": ["north", "valley"]}  # fmt: skip
JOINED = [{"event": "site", "site": s, "n_train_patients": 6} for s in ("north", "valley")]
BEGIN = {"event": "round-start", "round": 1, "kind": "train", "sites": ["north", "valley"]}
REPLY = {"event": "reply", "round": 1, "kind": "train", "site": "north", "wait_s": 7.25,
         "metrics": {"validation.dice.global": 0.5, "validation.dice.alone": 0.25},
         "seconds": {"load": 1.0, "local": 2.5}, "bytes_up": 1000, "bytes_down": 2_000_000}  # fmt: skip
LEFT_OUT = {
    "event": "left-out",
    "round": 1,
    "site": "valley",
    "code": "PFS-403",
    "text": "PFS-403 not finite",
}
END = {"event": "end", "status": "completed", "text": ""}


class Link:
    """A rehearsal in which the coordinator writes its next events each time somebody asks for the status."""

    def __init__(
        self, folder: Path, history: Path, parts: list[list[dict]], statuses: list[tuple[str, str]]
    ) -> None:
        self.folder, self.history, self.parts, self.statuses = folder, history, parts, statuses

    def run(self, app, config) -> int:
        return 1

    def status(self, run_id: int) -> tuple[str, str]:
        if self.parts:
            self.history.parent.mkdir(parents=True, exist_ok=True)
            with self.history.open("a") as file:
                file.writelines(json.dumps(event) + "\n" for event in self.parts.pop(0))
        return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]

    def last_words(self, run_id: int) -> str:
        return "    Killed"

    def check(self) -> None:
        pass


@pytest.fixture
def play(tmp_path, monkeypatch):
    """play(parts, statuses) launches a run that goes so, and returns the reason of its failure or ""."""
    monkeypatch.setattr(launching, "POLL_S", 0)
    monkeypatch.setattr(launching, "STATUS_EVERY_S", 0)
    monkeypatch.setattr(launching, "app_folder", lambda: Path("app"))
    flat = {"coordinator.folder": str(tmp_path / "runs"), "federation.name": "demo"}

    def run(parts, statuses):
        link = Link(tmp_path, tmp_path / "runs" / "demo" / "history.jsonl", parts, statuses)

        @contextmanager
        def rehearsal(folder, sites, engine):
            yield link

        monkeypatch.setattr(launching, "rehearsal", rehearsal)
        return launching.launch([SimpleNamespace(site="north")], flat, tmp_path, "deployment")

    return run


RUNNING, DONE = ("running", "N/A"), ("finished:completed", "N/A")


def test_a_run_is_good_when_flower_and_its_history_say_so(play, capsys):
    assert play([[START, *JOINED], [BEGIN, REPLY], [END]], [RUNNING, RUNNING, RUNNING, DONE]) == ""
    said = capsys.readouterr().out
    assert "north joined" in said
    assert "run completed" in said


def test_a_serverapp_that_ends_well_without_an_end_event_is_no_success(play):
    assert "Killed" in play([[START]], [RUNNING, DONE])


def test_the_reason_is_the_history_s_where_it_has_one(play):
    end = {"event": "end", "status": "failed", "text": "PFS-501 too few sites (answered 1, needed 2)"}
    assert play([[START, end]], [("finished:failed", "ServerApp failed with exception")]) == end["text"]


def test_a_serverapp_that_never_wrote_is_judged_by_flower(play):
    assert (
        play([], [RUNNING, ("finished:failed", "PFS-505 has already finished")])
        == "PFS-505 has already finished"
    )


def test_an_earlier_end_in_the_same_folder_is_not_this_run_s_end(play, capsys):
    assert play([[START, END]], [RUNNING, DONE]) == ""
    capsys.readouterr()
    assert play([], [RUNNING, ("finished:failed", "PFS-505 has already finished")]).startswith("PFS-505")
    assert "run completed" not in capsys.readouterr().out


def test_a_run_that_flower_does_not_begin_has_a_limit(play, monkeypatch):
    monkeypatch.setattr(launching, "STATUS_LIMIT_S", 0)
    with pytest.raises(FederationError, match="the run is still pending"):
        play([], [("pending", "N/A")])


def test_half_a_line_is_read_when_it_is_whole(tmp_path):
    file = tmp_path / "history.jsonl"
    assert launching.tail(file, 0) == ([], 0)
    file.write_bytes(b'{"event": "end"}\n{"event": "st')
    events, offset = launching.tail(file, 0)
    assert events == [{"event": "end"}]
    with file.open("ab") as more:
        more.write(b'art"}\n')
    assert launching.tail(file, offset) == ([{"event": "start"}], file.stat().st_size)


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (START, "run of federation demo: method pfedsam, rounds 1 to 2, 1.0 MB per message"),
        (JOINED[0], "north joined: 6, ?, ? patients to train, validate, test"),
        (BEGIN, "round 1 begins: north, valley"),
        (REPLY, "round 1: north answered after 7.2 s; validation Dice alone 0.250, global 0.500, personal –"),
        (LEFT_OUT, "round 1: valley left out: PFS-403 not finite"),
        ({"event": "lost", "round": 2, "site": "a", "reason": "silent"}, "round 2: a lost: silent"),
        ({"event": "refused", "site": "a", "text": "PFS-203 too few"}, "a refused: PFS-203 too few"),
        (
            {"event": "filtered", "round": 1, "site": "a", "keys": ["x", "y"]},
            "round 1: a sent 2 personal key(s)",
        ),
        (
            {"event": "round-end", "round": 3, "kind": "close", "seconds": 4.0},
            "closing round ends after 4.0 s",
        ),
        (
            {"event": "late", "round": 2, "site": "a", "seconds": 71.2},
            "round 2: a answered too late, 71 s after",
        ),
        (
            {"event": "below-quorum", "text": "1 of at least 2 sites; wait", "missing": ["a"], "round": 1},
            "round 1: too few sites: 1 of at least 2 sites; wait; missing: a",
        ),
        ({"event": "below-quorum", "text": "0 of", "missing": []}, "too few sites: 0 of; missing: not named"),
        (END, "run completed"),
    ],
)
def test_each_event_is_one_line(event, said):
    line = render.event_line(event)
    assert line.startswith(said)
    assert "\n" not in line


def test_unknown_events_are_not_shown():
    assert render.event_line({"event": "weather"}) is None


def test_states_of_sites_follow_the_events():
    events = [START, JOINED[0], BEGIN, REPLY, LEFT_OUT]
    states = []
    for count in range(1, len(events) + 1):
        history = collect(events[:count])
        states.append(tuple(render.state(history, site) for site in history.sites.values()))
    assert states == [
        ("not here yet", "not here yet"),
        ("waiting", "not here yet"),
        ("working", "not here yet"),
        ("answered", "not here yet"),
        ("answered", "not here yet"),
    ]
    history = collect([START, *JOINED, BEGIN, LEFT_OUT])
    assert render.state(history, history.sites["valley"]) == "left out"


def test_rows_hold_newest_dice_seconds_and_bytes():
    rows = render.progress_rows(collect([START, *JOINED, BEGIN, REPLY]))
    assert rows[0] == ("north", "answered", "1", "0.250", "0.500", "–", "3.5", "2.0 MB")
    assert rows[1] == ("valley", "working", "–", "–", "–", "–", "–", "0 B")


@pytest.mark.parametrize("width", [60, 100, 200])
def test_the_live_view_shows_every_site_and_no_markup_of_others(width):
    text = io.StringIO()
    odd = LEFT_OUT | {"text": "[bold]not finite[/bold] [x"}
    view = render.live_view(collect([START, *JOINED, BEGIN, REPLY, odd]))
    Console(file=text, width=width, force_terminal=True, color_system=None).print(view)
    assert "demo: round 1 of 2" in text.getvalue()
    assert "north" in text.getvalue()
    assert "answered" in text.getvalue()
    assert "left out: [bold]not finite[/bold] [x" in " ".join(text.getvalue().split())


def test_progress_on_a_terminal_is_live_and_ends_with_the_last_state(monkeypatch):
    out = Console(file=io.StringIO(), force_terminal=True, width=120)
    monkeypatch.setattr(render, "console", lambda: out)
    history = collect([START, *JOINED, BEGIN])
    with render.progress(history) as show:
        history.rounds[-1].replies["north"] = REPLY
        show(REPLY)
    assert "answered" in out.file.getvalue()


def test_the_final_table_fits_into_80_columns():
    text = io.StringIO()
    closing = {"round": 2, "kind": "close", "site": "valley"}
    metrics = {f"test.dice.{m}": 0.5 for m in ("alone", "global", "personal", "deployed")} | {
        "mix.alone": 0.25,
        "mix.global": 0.0,
        "mix.personal": 0.75,
    }
    history = collect([START, *JOINED, {"event": "reply", **closing, "metrics": metrics}])
    Console(file=text, width=80).print(render.final_table(history))
    lines = text.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in text.getvalue()
    assert "a 0.25 g 0.00 p 0.75" in text.getvalue()
    assert any(line.startswith("mean ") for line in lines)


FAILED = {"event": "end", "status": "failed", "text": "PFS-501 too few sites"}
ABSENT = BEGIN | {"sites": ["north"], "absent": ["valley"]}
CLOSING = {"event": "round-start", "round": 3, "kind": "close", "sites": ["north", "valley"]}
CLOSED = REPLY | {"round": 3, "kind": "close"}
WAITS = {"event": "refused", "site": "valley", "code": "PFS-701",
         "text": "PFS-701 waiting for approval at the site"}  # fmt: skip


@pytest.mark.parametrize(
    ("events", "states"),
    [
        ([FAILED], ("absent", "absent")),
        ([JOINED[0], FAILED], ("stopped", "absent")),
        ([*JOINED, ABSENT, REPLY, FAILED], ("answered", "absent")),
        ([*JOINED, BEGIN, REPLY, FAILED], ("answered", "stopped")),
        ([*JOINED, BEGIN, REPLY, LEFT_OUT, FAILED], ("answered", "left out")),
        ([*JOINED, BEGIN, REPLY, CLOSING, CLOSED, END], ("finished", "stopped")),
        ([*JOINED, CLOSING | {"absent": ["valley"]}, CLOSED, END], ("finished", "absent")),
        ([*JOINED, END], ("finished", "finished")),  # the preflight alone
        ([JOINED[0], WAITS, FAILED], ("stopped", "refused")),
        ([*JOINED, ABSENT], ("working", "not here")),
        # a start knows nothing of who was there before
        ([*JOINED, BEGIN, REPLY, FAILED, START], ("not here", "not here")),
        ([JOINED[0], WAITS, FAILED, START], ("not here", "not here yet")),
        ([JOINED[0], WAITS, JOINED[1], BEGIN], ("working", "working")),
        ([JOINED[0], WAITS, BEGIN, REPLY | {"site": "valley"}], ("working", "not here yet")),
    ],
)
def test_nobody_is_finished_or_waits_who_does_not(events, states):
    history = collect([START, *events])
    assert tuple(render.state(history, site) for site in history.sites.values()) == states


def test_what_a_site_waited_for_is_told_of_the_past_when_the_run_has_ended():
    waits = "waiting for approval at the site"
    assert render.troubles(collect([START, WAITS])) == [f"valley refused: PFS-701 {waits}"]
    ended = render.troubles(collect([START, WAITS, FAILED]))
    assert ended == [f"valley had refused when the run ended: PFS-701 {waits}"]
    assert render.troubles(collect([START, WAITS, FAILED, START])) == []
