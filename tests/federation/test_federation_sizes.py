"""What a site counts for and how far its change goes: nobody's word is taken."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from federation_light import NAMES, Fate, World, play, site_delta, told

from pfedsam_flower.aggregation.norms import FACTOR, norm_bounds
from pfedsam_flower.errors import FederationError, SettingsError
from pfedsam_flower.federation.plan import read_plan
from pfedsam_flower.settings.run import AggregationSettings
from pfedsam_flower.settings.sources import default_flat

Change = Callable[[dict[str, Any], np.ndarray], tuple[dict[str, Any], np.ndarray]]
HONEST = np.mean([site_delta(name, 1) for name in ("harbour", "north")], axis=0, dtype=np.float64)
NEVER = 1e12


def saying(**words: Any) -> Change:
    return lambda said, delta: (said | words, delta)


def of_norm(norm: float) -> Change:
    def change(said: dict[str, Any], delta: np.ndarray) -> tuple[dict[str, Any], np.ndarray]:
        return said, (delta * (norm / np.linalg.norm(delta))).astype(np.float32)

    return change


def world(**fates: Fate) -> World:
    return World({name: fates.get(name, Fate()) for name in NAMES})


def left_out(folder: Path) -> list[tuple[str, str]]:
    return [(e["site"], e["code"]) for e in told(folder, "left-out")]


@pytest.mark.parametrize("n", [2, 4, 10**6, 10**9])
def test_a_reply_counts_for_what_hello_said_or_is_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, n: int
) -> None:
    found = world(valley=Fate(sends=saying(n_train_patients=n)))
    final = play(monkeypatch, tmp_path, found, n_rounds=1, minimum_sites=2)
    assert left_out(tmp_path) == [("valley", "PFS-408")]
    (event,) = told(tmp_path, "left-out")
    assert event["text"].startswith(f"PFS-408 {n} training patients, it said 3 before")
    np.testing.assert_allclose(final, HONEST, rtol=1e-6)


def test_a_number_of_samples_is_that_of_the_first_reply(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def grow(said: dict[str, Any], delta: np.ndarray) -> tuple[dict[str, Any], np.ndarray]:
        return said | {"n_train_samples": 9 if delta[1] == 1 else 10**9}, delta

    rule = AggregationSettings(weights="samples")
    found = world(valley=Fate(sends=grow))
    play(monkeypatch, tmp_path, found, minimum_sites=2, aggregation=rule)
    assert left_out(tmp_path) == [("valley", "PFS-408")]
    assert "1000000000 training samples, it said 9 before" in told(tmp_path, "left-out")[0]["text"]


def test_a_run_that_goes_on_knows_what_was_said_before_it_stopped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    play(monkeypatch, tmp_path, world(), n_rounds=1)
    grown = world(valley=Fate(joins={"n_train_patients": 1000}))
    play(monkeypatch, tmp_path, grown, n_rounds=2, minimum_sites=2)
    (event,) = told(tmp_path, "refused")
    assert (event["site"], event["code"]) == ("valley", "PFS-408")
    assert event["text"].endswith(": 1000 training patients, 3 before")
    assert told(tmp_path, "round-end")[-1]["sites"] == ["harbour", "north"]


def test_a_site_may_have_more_data_when_nothing_has_been_trained(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    play(monkeypatch, tmp_path, world(), n_rounds=0)
    grown = world(
        valley=Fate(joins={"n_train_patients": 4}, sends=saying(n_train_patients=4, n_train_samples=12))
    )
    play(monkeypatch, tmp_path, grown, n_rounds=1)
    assert told(tmp_path, "round-end")[0]["sites"] == list(NAMES)


def test_nobody_joins_with_more_patients_than_a_hospital_has(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Raw(World):  # the record itself would not let such a number out
        def _over_the_wire(self, message: Any, site: str, direction: str) -> Any:
            words = message.content.config_records["words"] if message.has_content() else {}
            if direction == "up" and site == "valley" and b'n_train_patients":3' in words.get("json", b""):
                words["json"] = words["json"].replace(b'n_train_patients":3', b'n_train_patients":1000000000')
            return super()._over_the_wire(message, site, direction)

    found = Raw({name: Fate() for name in NAMES})
    play(monkeypatch, tmp_path, found, n_rounds=1, minimum_sites=2)
    assert {(e["code"]) for e in told(tmp_path, "refused")} == {"PFS-404"}
    assert told(tmp_path, "round-end")[0]["sites"] == ["harbour", "north"]


def test_who_nearly_decides_alone_is_named_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    large = Fate(joins={"n_train_patients": 900}, sends=saying(n_train_patients=900))
    play(monkeypatch, tmp_path, world(valley=large))
    (event,) = told(tmp_path, "heavy")
    assert (event["site"], event["times"]) == ("valley", 300.0)
    assert event["text"] == "counts for 900 of 906 patients"


@pytest.mark.parametrize("norm", [700.0, 999.9])
def test_a_change_far_larger_than_the_others_is_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, norm: float
) -> None:
    found = world(valley=Fate(sends=of_norm(norm)))
    final = play(monkeypatch, tmp_path, found, n_rounds=1, minimum_sites=2)
    (event,) = told(tmp_path, "left-out")
    assert (event["site"], event["code"]) == ("valley", "PFS-409")
    assert event["norm"] == pytest.approx(norm)
    median = np.median([np.linalg.norm(site_delta(name, 1)) for name in ("harbour", "north")])
    assert event["bound"] == pytest.approx(FACTOR * median)
    np.testing.assert_allclose(final, HONEST, rtol=1e-6)
    assert told(tmp_path, "round-end")[0]["sites"] == ["harbour", "north"]


def test_of_two_sites_the_larger_one_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = World({"harbour": Fate(), "valley": Fate(sends=of_norm(999.0))})
    with pytest.raises(FederationError, match=r"1 of at least 2 sites; .*refused: valley \(PFS-409\)"):
        play(monkeypatch, tmp_path, found, n_rounds=1, minimum_sites=2, sites=("harbour", "valley"))
    assert not (tmp_path / "round-0001").exists()


def test_long_before_it_is_left_out_a_change_is_spoken_of(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    play(monkeypatch, tmp_path, world(valley=Fate(sends=of_norm(300.0))), n_rounds=1)
    (event,) = told(tmp_path, "conspicuous")
    assert event["site"] == "valley"
    assert "the delta's norm is 300, the largest allowed in this round" in event["text"]
    assert not told(tmp_path, "left-out")


@pytest.mark.parametrize("order", [{"harbour": 9.0}, {"north": 9.0}, {"valley": 9.0}])
def test_the_decision_does_not_depend_on_who_answers_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, order: dict[str, float]
) -> None:
    fates = {name: Fate(delays={1: order.get(name, 1.0)}) for name in NAMES}
    fates["valley"].sends = of_norm(900.0)
    final = play(monkeypatch, tmp_path, World(fates), n_rounds=1, minimum_sites=2)
    assert left_out(tmp_path) == [("valley", "PFS-409")]
    np.testing.assert_allclose(final, HONEST, rtol=1e-6)


def test_weights_and_norms_stand_in_the_history(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    play(monkeypatch, tmp_path, world(), n_rounds=1)
    trained = [e for e in told(tmp_path, "reply") if e["kind"] == "train"]
    assert {
        e["site"]: (e["weight"], e["n_train_patients"], e["n_train_samples"]) for e in trained
    } == dict.fromkeys(NAMES, (3, 3, 9))
    for event in trained:
        assert event["delta_norm"] == pytest.approx(float(np.linalg.norm(site_delta(event["site"], 1))))


def test_bounds_of_one_two_three_and_more() -> None:
    assert norm_bounds({"a": 0.5}, 0.1, 1000.0) == {"a": 1000.0}
    # of two, the one that sends nothing cannot have the other left out below the floor
    assert norm_bounds({"a": 0.5, "b": 0.0}, 2.0, 1000.0) == {"a": 2.0, "b": 3.0}
    two = norm_bounds({"a": 0.5, "b": 999.9}, 2.0, 1000.0)
    assert (two["a"], two["b"]) == (1000.0, 3.0)
    three = norm_bounds({"a": 0.5, "b": 0.5, "c": 999.9}, 2.0, 1000.0)
    assert (three["a"], three["c"]) == (1000.0, 3.0)
    five = norm_bounds(dict(zip("abcde", (0.5, 0.5, 0.5, 999.9, 999.9), strict=True)), 2.0, 1000.0)
    assert five["d"] == five["e"] == 3.0
    assert max(five["a"], five["d"]) <= 1000.0


def test_history_lines_are_json_with_the_bound(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = world(valley=Fate(sends=of_norm(999.9)))
    play(monkeypatch, tmp_path, found, n_rounds=1, minimum_sites=2)
    for line in (tmp_path / "history.jsonl").read_text().splitlines():
        assert isinstance(json.loads(line), dict)


@pytest.mark.parametrize("rule", ["median", "trimmed-mean", "clipped-mean"])
def test_a_rule_that_bears_a_hostile_site_needs_three(rule: str) -> None:
    flat = default_flat() | {"aggregation.rule": rule, "federation.minimum-sites": 2}
    with pytest.raises(SettingsError, match="set federation.minimum-sites to 3 or more"):
        read_plan(flat)
    assert read_plan(flat | {"federation.minimum-sites": 3})[0].aggregation.rule == rule


def test_with_the_median_no_weight_and_no_direction_of_one_site_decides(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def other_way(said: dict[str, Any], delta: np.ndarray) -> tuple[dict[str, Any], np.ndarray]:
        return said | {"n_train_patients": 900}, -delta

    bad = Fate(joins={"n_train_patients": 900}, sends=other_way)
    rule = AggregationSettings(rule="median")
    final = play(monkeypatch, tmp_path, world(valley=bad), n_rounds=1, aggregation=rule)
    honest = np.stack([site_delta(name, 1) for name in ("harbour", "north")])
    assert (final >= honest.min(axis=0)).all()
    assert (final <= honest.max(axis=0)).all()
    assert {e["weight"] for e in told(tmp_path, "reply") if e["kind"] == "train"} == {1}
