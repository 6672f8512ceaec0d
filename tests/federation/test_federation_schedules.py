"""The federation's rules under seeded schedules of faults; ``python -m benchmarks.schedules`` has many more.

A failing seed replays exactly: ``python -m benchmarks.schedules --first 4711 --count 1``.
"""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from federation_light import NAMES, Fate, World, told
from federation_light import play as light

from benchmarks.schedules.disk import TROUBLES
from benchmarks.schedules.fate import WEATHER
from benchmarks.schedules.play import play, play_all
from pfedsam_flower.contract.messages import RoundReply
from pfedsam_flower.errors import StoreError
from pfedsam_flower.federation import history, one_round, rounds
from pfedsam_flower.federation.history import RunFolder
from pfedsam_flower.reports.history import read_events
from pfedsam_flower.site import files, store
from pfedsam_flower.site import rounds as site_rounds
from pfedsam_flower.site.store import Personal

N_SEEDS = 60


def test_runs_end_with_the_bits_of_an_undisturbed_one_whatever_is_injected() -> None:
    injected: Counter[str] = Counter()
    for outcome in play_all(range(N_SEEDS)):
        assert outcome.wrong == [], f"seed {outcome.seed}"
        injected.update(outcome.injected)
    who = ("coordinator", "site")
    wanted = {*WEATHER, *(f"{w}'s disk {row}" for w in who for row in TROUBLES)}
    wanted |= {f"{w} killed {where}" for w in who for where in ("in writing", "elsewhere")}
    assert wanted - set(injected) == set()


def test_a_seed_replays_exactly(tmp_path: Path) -> None:
    one, two = (play(7, tmp_path / name) for name in ("one", "two"))
    assert one == two
    assert len(one.trace) > 20


def counted_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    real = rounds.PFedSAMStrategy.aggregate
    monkeypatch.setattr(rounds.PFedSAMStrategy, "aggregate", lambda self: real(self) * np.float32(1.0001))


def trained_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "stored_reply", lambda *a: None)


def nothing_synced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "sync_folder", lambda folder: None)


def written_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def write(path: Path, content: bytes, mode: int = 0o600) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.os.fdopen(files.os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            file.write(content)

    for module in (store, history, site_rounds):
        monkeypatch.setattr(module, "write_whole", write)


def half_lines_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "_cut_half_a_line", lambda file: None)


def the_lost_are_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_round.OpenRound, "_lost", lambda *a: None)


@pytest.mark.parametrize(
    "fault",
    [
        counted_twice,
        trained_twice,
        nothing_synced,
        written_in_place,
        half_lines_stay,
        the_lost_are_not_named,
    ],
)
def test_the_schedules_find_a_fault_in_the_rules(monkeypatch: pytest.MonkeyPatch, fault: Any) -> None:
    fault(monkeypatch)
    assert any(play_all([seed])[0].wrong for seed in range(N_SEEDS))


def test_of_a_round_that_is_whole_it_is_known_who_took_part(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = RunFolder.save_round

    def save(self: RunFolder, number: int, packed: np.ndarray) -> str:
        assert [event["round"] for event in told(tmp_path, "round-end")][-1] == number
        return real(self, number, packed)

    monkeypatch.setattr(RunFolder, "save_round", save)
    light(monkeypatch, tmp_path, World({name: Fate() for name in NAMES}))
    assert sorted(path.name for path in tmp_path.glob("round-*")) == ["round-0001", "round-0002"]


def test_a_request_that_comes_late_takes_nothing_away(tmp_path: Path) -> None:
    """The site was away in round 2 and has done round 3; then the request for round 2 reaches it."""
    bound = {"site": "north"}
    for number in (1, 3):
        kept = Personal({"experts": torch.tensor([number])})
        words = {"kind": "train", "site": "north", "round": number, "contract": "c", "broadcast": "b" * 64}
        store.record(tmp_path, bound, kept, RoundReply(**words), None, "")
    with pytest.raises(StoreError, match="of round 3 and later, the run asks for round 2") as caught:
        store.load_before(tmp_path, bound, 2)
    assert caught.value.code == "PFS-602"
    found = store.newest(tmp_path, bound)
    assert found is not None
    assert found[0] == 3


def test_what_a_killed_process_left_half_written_goes_with_the_next_round(tmp_path: Path) -> None:
    (tmp_path / ".personal-0001-bbbbbbbb.safetensors.4711.part").write_bytes(b"half")
    words = {"kind": "train", "site": "north", "round": 1, "contract": "c", "broadcast": "b" * 64}
    store.record(tmp_path, {"site": "north"}, Personal(), RoundReply(**words), None, "")
    assert not list(tmp_path.glob(".*.part"))


def test_half_a_line_that_a_crash_left_is_cut_before_the_next(tmp_path: Path) -> None:
    kept = RunFolder(tmp_path)
    kept.log("start", first_round=1)
    path = tmp_path / "history.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:20])
    kept.log("end", status="failed")
    assert [event["event"] for event in read_events(path)] == ["start", "end"]
    path.write_bytes(whole[:20])
    kept.log("end", status="failed")
    assert [event["event"] for event in read_events(path)] == ["end"]


def test_a_history_that_cannot_be_written_has_a_named_reason(tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").mkdir()
    with pytest.raises(StoreError, match="history cannot be written") as caught:
        RunFolder(tmp_path).log("start")
    assert caught.value.code == "PFS-604"
    assert str(tmp_path) not in caught.value.public()
