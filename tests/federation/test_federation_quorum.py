"""Too few sites, late sites, sites that come back: what the coordinator does, how long, and what it says."""

from pathlib import Path

import numpy as np
import pytest
from federation_light import NAMES, Fate, World, play, site_delta, told

from pfedsam_flower.errors import FederationError
from pfedsam_flower.federation.one_round import public_part

NEVER = 1e12


def world(**fates: Fate) -> World:
    return World({name: fates.get(name, Fate()) for name in NAMES})


def mean_of(*per_round: tuple[str, ...]) -> np.ndarray:
    """The shared parameters after rounds with these participants; every site counts for the same."""
    shared = np.zeros(4, np.float32)
    for number, names in enumerate(per_round, 1):
        shared = shared + np.mean([site_delta(name, number) for name in names], axis=0, dtype=np.float64)
    return np.asarray(shared, np.float32)


def test_undisturbed_every_site_is_asked_once_a_round(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = world()
    np.testing.assert_allclose(play(monkeypatch, tmp_path, found), mean_of(NAMES, NAMES), rtol=1e-6)
    trained = {key: n for key, n in found.asked.items() if key[1] in ("train", "close")}
    assert trained == {(name, "close" if r == 3 else "train", r): 1 for name in NAMES for r in (1, 2, 3)}
    assert not told(tmp_path, "below-quorum")


def test_stop_ends_the_run_at_the_start_deadline_with_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = world(valley=Fate(away=((0, NEVER),)))
    with pytest.raises(FederationError, match=r"2 of at least 3 sites; .*absent: valley"):
        play(monkeypatch, tmp_path, found)
    assert 100 <= found.now < 110


def test_wait_waits_for_a_site_that_comes_hours_later(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = world(valley=Fate(away=((0, 7200),)))
    play(monkeypatch, tmp_path, found, below_quorum="wait")
    assert found.now < 7300
    (below,) = told(tmp_path, "below-quorum")
    assert (below["action"], below["missing"], below["present"]) == ("wait", ["valley"], ["harbour", "north"])
    assert told(tmp_path, "round-end")[0]["sites"] == list(NAMES)


def test_wait_keeps_the_answers_of_the_others_when_a_site_leaves_within_a_round(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = world(valley=Fate(away=((10, 3600),), delays={2: 30.0}))
    final = play(monkeypatch, tmp_path, found, below_quorum="wait")
    np.testing.assert_allclose(final, mean_of(NAMES, NAMES), rtol=1e-6)
    assert found.asked["north", "train", 2] == found.asked["harbour", "train", 2] == 1
    assert found.asked["valley", "train", 2] == 2
    assert {(e["site"], e["round"], e["reason"]) for e in told(tmp_path, "lost")} == {
        ("valley", 2, "Flower's error 5")
    }
    assert [(e["round"], e["missing"]) for e in told(tmp_path, "below-quorum")] == [(2, ["valley"])]
    assert 3600 < found.now < 3800


@pytest.mark.parametrize("policy", ["wait", "retry"])
def test_a_site_that_never_comes_back_ends_the_run_after_the_limit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, policy: str
) -> None:
    found = world(valley=Fate(away=((10, NEVER),), delays={2: 30.0}))
    with pytest.raises(FederationError, match="absent: valley") as caught:
        play(monkeypatch, tmp_path, found, below_quorum=policy, quorum_wait_s=5000.0)
    assert caught.value.code == "PFS-501"
    assert 5000 < found.now < 5000 + 1500
    assert [e["round"] for e in told(tmp_path, "round-end")] == [1]


def test_retry_asks_everybody_again_those_whose_answer_was_left_out_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = world(harbour=Fate(refuses=(("train", "PFS-604", (0, 400)),)))
    final = play(monkeypatch, tmp_path, found, below_quorum="retry")
    np.testing.assert_allclose(final, mean_of(NAMES, NAMES), rtol=1e-6)
    assert found.asked["north", "train", 1] == found.asked["harbour", "train", 1] > 1
    left_out = {(e["site"], e["code"]) for e in told(tmp_path, "left-out")}
    assert left_out == {("harbour", "PFS-604")}
    assert {e["action"] for e in told(tmp_path, "below-quorum")} == {"retry"}


def test_a_site_that_refused_in_the_round_is_named_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = world(harbour=Fate(refuses=(("train", "PFS-604", (0, NEVER)),)))
    with pytest.raises(
        FederationError, match=r"present: north, valley; refused: harbour \(PFS-604\)"
    ) as caught:
        play(monkeypatch, tmp_path, found)
    assert caught.value.hint.startswith("correct what the refused sites' own logs name, then")


def test_what_flower_says_of_a_lost_site_is_kept_as_far_as_it_is_public(tmp_path: Path) -> None:
    said = "<class 'RuntimeError'>:<'PFS-604 a folder cannot be written (free mb 3)'> at /data/hospital/state"
    assert public_part(said) == "PFS-604 a folder cannot be written (free mb 3)"
    assert public_part("Traceback in /data/hospital") == ""
    assert public_part(None) == ""


def test_a_late_answer_is_not_taken_and_the_site_that_sent_it_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = world(valley=Fate(delays={1: 700.0}), north=Fate(delays={2: 300.0}))
    final = play(monkeypatch, tmp_path, found, minimum_sites=2)
    np.testing.assert_allclose(final, mean_of(("harbour", "north"), NAMES), rtol=1e-6)
    (late,) = told(tmp_path, "late")
    assert (late["site"], late["round"]) == ("valley", 1)
    assert 700 <= late["seconds"] < 705
    assert [e["missing"] for e in told(tmp_path, "round-end")] == [["valley"], [], []]
    assert [e["site"] for e in told(tmp_path, "lost")] == ["valley"]


def test_an_absent_site_is_named_at_the_start_of_the_round_and_joins_the_next(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = world(valley=Fate(away=((0, 105),)), north=Fate(delays={1: 20.0}))
    play(monkeypatch, tmp_path, found, minimum_sites=2)
    starts = told(tmp_path, "round-start")
    assert starts[0]["absent"] == ["valley"]
    assert "valley" not in starts[0]["sites"]
    assert starts[1]["sites"] == list(NAMES)


@pytest.mark.parametrize("code", ["PFS-701", "PFS-704"])
def test_a_site_that_does_not_want_to_yet_is_asked_again_every_minute(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str
) -> None:
    found = world(valley=Fate(refuses=(("hello", code, (0, 1800)),)))
    play(monkeypatch, tmp_path, found, below_quorum="wait")
    assert [(e["site"], e["code"]) for e in told(tmp_path, "refused")] == [("valley", code)]
    assert 25 < found.asked["valley", "query", 0] < 32
    assert 1800 < found.now < 1900
    assert told(tmp_path, "round-end")[0]["sites"] == list(NAMES)


def test_below_quorum_a_site_that_refused_the_round_for_now_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = world(valley=Fate(refuses=(("train", "PFS-704", (0, 1800)),)))
    play(monkeypatch, tmp_path, found, below_quorum="wait")
    assert {(e["site"], e["code"]) for e in told(tmp_path, "left-out")} == {("valley", "PFS-704")}
    assert found.asked["north", "train", 1] == 1
    assert 1800 < found.now < 1900


def test_a_refused_site_that_is_started_again_under_the_same_node_id_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    refuses = (("hello", "PFS-203", (0.0, 20.0)),)
    found = world(valley=Fate(refuses=refuses, away=((15, 30),)), north=Fate(delays={1: 60.0}))
    play(monkeypatch, tmp_path, found, minimum_sites=2, start_deadline_s=10.0)
    assert [e["code"] for e in told(tmp_path, "refused")] == ["PFS-203"]
    assert told(tmp_path, "round-end")[0]["sites"] == list(NAMES)


def test_with_names_a_site_is_who_its_key_says_and_a_stranger_gets_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fates = {
        "harbour": Fate(),
        "north": Fate(),
        "valley": Fate(says="north"),
        "stranger": Fate(says="valley"),
    }
    found = World(fates)
    known = {100: "harbour", 101: "north", 102: "valley"}
    final = play(monkeypatch, tmp_path, found, names=lambda: known, minimum_sites=2)
    np.testing.assert_allclose(final, mean_of(("harbour", "north"), ("harbour", "north")), rtol=1e-6)
    refused = {e["site"]: (e["code"], e["text"]) for e in told(tmp_path, "refused")}
    assert refused["valley"][0] == refused["node 103"][0] == "PFS-509"
    assert "enrolled as valley, it says that it is north" in refused["valley"][1]
    assert not any(site == "stranger" for site, _, _ in found.sent)
    assert told(tmp_path, "round-end")[0]["sites"] == ["harbour", "north"]


def test_a_site_that_is_enrolled_while_the_run_waits_joins_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = world()

    def names() -> dict[int, str]:
        return {100: "harbour", 101: "north"} | ({102: "valley"} if found.now > 50 else {})

    play(monkeypatch, tmp_path, found, names=names)
    assert [e["site"] for e in told(tmp_path, "refused")] == ["node 102"]
    assert told(tmp_path, "round-end")[0]["sites"] == list(NAMES)
