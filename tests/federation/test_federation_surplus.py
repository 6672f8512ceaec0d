"""What is not agreed on does not get into the history, whatever record it comes in, and the site is named."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from federation_light import NAMES, Fate, World, play, site_delta, told
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord

from pfedsam_flower.contract.measures import MEASURES, agreed
from pfedsam_flower.contract.messages import HelloReply, RoundReply, decode
from pfedsam_flower.contract.text import LONGEST_NAME, one_line, printable
from pfedsam_flower.errors import ContractError

HONEST = np.mean([site_delta(name, 1) for name in NAMES], axis=0, dtype=np.float64)
PERSON = "Erika Mustermann, 1957-03-02"


def world(**fates: Fate) -> World:
    return World({name: fates.get(name, Fate()) for name in NAMES})


def history_text(folder: Path) -> str:
    return (folder / "history.jsonl").read_text()


def array(*values: float) -> Array:
    return Array(np.array(values, np.float32))


@pytest.mark.parametrize(
    ("record", "event", "names"),
    [
        (ArrayRecord({"shared": array(1, 2, 3, 4)}), "filtered", ["more/shared"]),
        (ArrayRecord({"blocks.4.lmoe.down": array(1)}), "filtered", ["more/blocks.4.lmoe.down"]),
        (MetricRecord({PERSON: 1.0}), "dropped", [f"more/{PERSON}"]),
        (ConfigRecord({"note": "x" * 1000}), "dropped", ["more/note"]),
        (ConfigRecord({}), "dropped", ["more"]),
    ],
)
def test_a_record_that_is_not_agreed_on_is_dropped_and_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, record: Any, event: str, names: list[str]
) -> None:
    final = play(monkeypatch, tmp_path, world(valley=Fate(adds={"more": record})), n_rounds=1)
    np.testing.assert_allclose(final, HONEST, rtol=1e-6)
    found = told(tmp_path, event)
    assert [(e["round"], e["site"], e.get("keys", e.get("names")), e["n"]) for e in found] == [
        (1, "valley", names, 1),
        (2, "valley", names, 1),
    ]


def test_an_array_that_comes_with_a_closing_reply_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Late(World):
        def _added(self, name: str, message: Any) -> Any:
            if "arrays" not in message.content:
                message.content["arrays"] = ArrayRecord({"shared": array(1, 2, 3, 4)})
            return message

    play(monkeypatch, tmp_path, Late({name: Fate() for name in NAMES}), n_rounds=1)
    assert {(e["round"], e["site"], *e["keys"]) for e in told(tmp_path, "filtered")} == {
        (2, name, "shared") for name in NAMES
    }


def test_three_hundred_thousand_numbers_leave_a_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    many = {f"patient {i}": float(i) for i in range(300_000)} | {"validation.dice.global": 0.5}
    fate = Fate(sends=lambda said, delta: (said | {"metrics": many}, delta))
    final = play(monkeypatch, tmp_path, world(valley=fate), n_rounds=1)
    np.testing.assert_allclose(final, HONEST, rtol=1e-6)
    (event,) = told(tmp_path, "dropped")
    assert (event["site"], event["n"], len(event["names"])) == ("valley", 300_000, 5)
    reply = next(e for e in told(tmp_path, "reply") if e["site"] == "valley")
    assert reply["metrics"] == {"validation.dice.global": 0.5}
    assert len(history_text(tmp_path)) < 20_000


@pytest.mark.parametrize(
    ("metrics", "n"),
    [
        ({PERSON: 1.0}, 1),
        ({"test.dice.global.patient-17": 0.5}, 1),
        ({"Validation.Dice.Global": 0.5}, 1),
        ({"validation.dice.global": 7.0, "mix.alone": -0.1, "loss.global": -1.0}, 3),
        ({"x" * 10_000: 0.0}, 1),
    ],
)
def test_numbers_without_a_row_or_with_an_impossible_value_are_dropped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, metrics: dict[str, float], n: int
) -> None:
    fate = Fate(sends=lambda said, delta: (said | {"metrics": metrics}, delta))
    play(monkeypatch, tmp_path, world(valley=fate), n_rounds=1)
    (event,) = told(tmp_path, "dropped")
    assert event["n"] == n
    assert all(len(name) <= LONGEST_NAME for name in event["names"])
    assert next(e for e in told(tmp_path, "reply") if e["site"] == "valley")["metrics"] == {}


def test_all_numbers_of_the_table_pass() -> None:
    whole = dict.fromkeys(MEASURES, 1.0)
    assert agreed(whole) == (whole, [])


def test_what_is_wrong_with_a_message_is_said_without_its_content() -> None:
    body = json.dumps({f"{PERSON} {i}\x1b[2J": "x" * 100 for i in range(10_000)}).encode()
    with pytest.raises(ContractError) as caught:
        decode(HelloReply, body)
    assert len(caught.value.local()) < 1500
    assert "xxx" not in caught.value.local()
    assert "\x1b" not in caught.value.local()
    with pytest.raises(ContractError, match="no text in UTF-8|Invalid JSON"):
        decode(RoundReply, b"\xff\xfe")


def test_words_without_end_are_not_parsed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import pfedsam_flower.federation.strategy as strategy

    monkeypatch.setattr(strategy, "LARGEST_REPLY", 2000)
    fate = Fate(sends=lambda said, delta: (said | {"metrics": {"x" * 3000: 0.0}}, delta))
    play(monkeypatch, tmp_path, world(valley=fate), n_rounds=1, minimum_sites=2)
    assert {(e["site"], e["code"]) for e in told(tmp_path, "left-out")} == {("valley", "PFS-404")}


def test_an_array_of_too_many_bytes_is_not_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def swell(said: dict[str, Any], delta: np.ndarray) -> tuple[dict[str, Any], np.ndarray]:
        return said, np.zeros(100_000, np.float32)

    play(monkeypatch, tmp_path, world(valley=Fate(sends=swell)), n_rounds=1, minimum_sites=2)
    (event,) = told(tmp_path, "left-out")
    assert event["code"] == "PFS-402"
    assert "has 400128 bytes, agreed are 4 float32" in event["text"]


def test_foreign_text_is_one_printable_line() -> None:
    hostile = "\x1b[2J\x1b]0;owned\x07fine\r\nround 9: all is well\u202e\u2028\u200bx\x9b31m"
    said = one_line(hostile)
    assert said.isprintable()
    assert one_line(said) == said
    assert len(one_line("x" * 10_000)) == 300
    assert one_line(one_line("\x1b" * 10_000)) == one_line("\x1b" * 10_000)
    assert printable("a\tb\x1b") == "a\tb\\x1b"
    assert one_line("Universitätsklinikum 北京") == "Universitätsklinikum 北京"


@pytest.mark.parametrize(
    "words",
    [
        {"seconds": {"global": 1e300}},
        {"seconds": {"load": -1.0}},
        {"round": 10**300},
        {"contract": "\x1b[2J\nround"},
    ],
)
def test_no_field_can_fill_a_screen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: dict[str, Any]
) -> None:
    class Raw(World):  # the record itself would not let such words out
        def _over_the_wire(self, message: Any, site: str, direction: str) -> Any:
            if direction == "up" and site == "valley" and message.has_content():
                record = message.content.config_records["words"]
                said = json.loads(record["json"])  # type: ignore[arg-type]
                if said.get("kind") == "train":
                    record["json"] = json.dumps(said | words).encode()
            return super()._over_the_wire(message, site, direction)

    play(monkeypatch, tmp_path, Raw({name: Fate() for name in NAMES}), n_rounds=1, minimum_sites=2)
    (event,) = told(tmp_path, "left-out")
    assert event["site"] == "valley"
    assert event["code"] in ("PFS-401", "PFS-404")
    assert len(event["text"]) < 500
    assert event["text"].isprintable()
