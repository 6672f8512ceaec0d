"""Whole runs over the in-process grid: what is kept, what leaves, what a crash costs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from federation_runs import altered, events, personal_digests, start
from federation_wire import found_in, windows
from flwr.app import Array, ArrayRecord, Context, Message
from safetensors.numpy import load_file

from pfedsam_flower.contract.schema import digest
from pfedsam_flower.errors import StoreError
from pfedsam_flower.federation import rounds, server
from pfedsam_flower.settings.site import SiteSettings
from pfedsam_flower.site import journal


def test_a_run_keeps_what_is_personal_and_shares_the_rest(
    flat: dict[str, Any], sites: list[SiteSettings]
) -> None:
    final, grid = start(flat, sites)
    replies = events(flat, "reply")
    assert len(replies) == 3 * 3
    assert events(flat, "end")[-1]["status"] == "completed"
    for reply in replies[-3:]:
        assert reply["kind"] == "close"
        assert {
            "test.dice.global",
            "test.dice.personal",
            "test.dice.alone",
            "mix.alone",
            "test.dice.deployed",
        } <= set(reply["metrics"])
    folder = Path(flat["coordinator.folder"]) / "test"
    assert digest(load_file(folder / "round-0002" / "shared.safetensors")["shared"]) == digest(final)
    sent = [bytes_ for _, _, bytes_ in grid.sent]
    assert len(sent) == 2 * (3 + 3 + 9)
    whole = b"".join(sent) + b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    secret: set[bytes] = set()
    for site in sites:
        store = Path(site.state) / "test" / site.site / "pfedsam"
        for path in store.glob("personal-*.safetensors"):
            secret |= windows(v for k, v in load_file(path).items() if k != "alone")
        assert any(path.name.startswith("personal-0003") for path in store.iterdir())
        path = Path(site.state) / "test" / site.site / "sent.jsonl"
        lines = journal.read(path)
        assert [line["kind"] for line in lines] == ["hello", "preflight", "train", "train", "close"]
        up = [len(body) for name, direction, body in grid.sent if (name, direction) == (site.site, "up")]
        assert [line["bytes"] for line in lines] == up
        assert journal.broken_at(path) is None
    assert len(secret) > 10_000
    assert not found_in(secret, whole)
    assert b"lmoe" not in whole.replace(b"lmoe.experts", b"").replace(b"lmoe.rank", b"").replace(
        b"lmoe.blocks", b""
    ).replace(b"lmoe.gate", b"")
    for patient_or_path in ("north-p0", str(sites[0].data)):
        assert patient_or_path.encode() not in whole


def test_the_canary_search_would_find_a_leak(flat: dict[str, Any], sites: list[SiteSettings]) -> None:
    secret = np.arange(100, dtype=np.float32) + 0.123

    def leak(reply: Message, context: Context) -> None:
        reply.content["leak"] = ArrayRecord({"image_encoder.blocks.4.mlp.lmoe.down": Array(secret)})

    _, grid = start(flat, sites, altered(leak))
    sought = windows([secret])
    assert found_in(sought, b"".join(bytes_ for _, _, bytes_ in grid.sent)) == sought


def test_an_lmoe_key_is_filtered_and_the_site_named(
    flat: dict[str, Any], sites: list[SiteSettings], tmp_path: Path
) -> None:
    expected, _ = start(flat, sites)
    key = "image_encoder.blocks.4.mlp.lmoe.down"

    def leak(reply: Message, context: Context) -> None:
        if context.node_config["site"] == "harbour":
            reply.content["arrays"] = ArrayRecord(
                dict(reply.content.array_records.get("arrays", {})) | {key: Array(np.ones(3, np.float32))}
            )

    moved = [s.model_copy(update={"state": str(tmp_path / "other")}) for s in sites]
    again = flat | {"coordinator.folder": str(tmp_path / "runs2")}
    found, _ = start(again, moved, altered(leak))
    assert digest(found) == digest(expected)
    assert [(e["site"], e["keys"]) for e in events(again, "filtered")] == [("harbour", [key])] * 3
    for path in Path(again["coordinator.folder"]).rglob("*.safetensors"):
        assert b"lmoe" not in path.read_bytes()


class Killed(BaseException):
    """Stands for a kill: nothing of ours may catch it."""


def test_a_killed_server_resumes_to_the_same_bits(
    flat: dict[str, Any], sites: list[SiteSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flat = flat | {"rounds": 4}
    undisturbed, _ = start(flat, sites)
    expected = personal_digests(sites)
    moved = [s.model_copy(update={"state": str(tmp_path / "other")}) for s in sites]
    again = flat | {"coordinator.folder": str(tmp_path / "runs2")}
    real, calls = rounds.PFedSAMStrategy.admit, []

    def admit(self: Any, site: str, message: Message) -> bool:
        calls.append(site)
        if len(calls) == 8:  # in round 3, two sites have trained and one of them was heard
            raise Killed
        return real(self, site, message)

    monkeypatch.setattr(rounds.PFedSAMStrategy, "admit", admit)
    with pytest.raises(Killed):
        start(again, moved)
    monkeypatch.setattr(rounds.PFedSAMStrategy, "admit", real)
    resumed, _ = start(again, moved)
    assert events(again, "start")[-1]["first_round"] == 3
    assert digest(resumed) == digest(undisturbed)
    assert personal_digests(moved) == expected
    lines = [json.loads(x) for x in (tmp_path / "other/test/harbour/sent.jsonl").read_text().splitlines()]
    assert [(x["round"], x["again"]) for x in lines if x["again"]] == [(3, True)]


def test_a_site_that_restarts_elsewhere_keeps_its_bits(
    flat: dict[str, Any], sites: list[SiteSettings], tmp_path: Path
) -> None:
    undisturbed, _ = start(flat, sites)
    expected = personal_digests(sites)
    moved = [s.model_copy(update={"state": str(tmp_path / "other")}) for s in sites]
    again = flat | {"coordinator.folder": str(tmp_path / "runs2")}
    died: list[int] = []

    def die_once(reply: Message, context: Context) -> None:
        if context.node_config["site"] == "north" and not died:
            died.append(context.node_id)
            raise RuntimeError("the process ended after it had written its state")

    found, _ = start(again, moved, altered(die_once))
    assert [e["site"] for e in events(again, "lost")] == ["north"]
    assert digest(found) == digest(undisturbed)
    assert personal_digests(moved) == expected


@pytest.mark.parametrize("ending", [SystemExit(0), KeyboardInterrupt()])
def test_a_server_that_is_told_to_end_says_so(
    ending: BaseException, flat: dict[str, Any], sites: list[SiteSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(*args: Any) -> None:
        raise ending

    with monkeypatch.context() as patch:
        patch.setattr(server, "run_rounds", ended)
        with pytest.raises(type(ending)):
            start(flat, sites)
    assert events(flat, "end")[-1]["text"].startswith("PFS-507 the ServerApp was ended from outside")


def test_a_damaged_settings_file_is_said_before_a_round(
    flat: dict[str, Any], sites: list[SiteSettings], tmp_path: Path
) -> None:
    folder = Path(flat["coordinator.folder"]) / "test"
    folder.mkdir(parents=True)
    (folder / "settings.json").write_text('{"rounds": ')
    with pytest.raises(StoreError, match="the run's settings cannot be read") as caught:
        start(flat, sites)
    assert caught.value.code == "PFS-603"


@pytest.mark.parametrize("method", ["fedper", "fedavg-ft", "ditto"])
def test_what_other_methods_keep_does_not_leave_either(
    method: str, flat: dict[str, Any], sites: list[SiteSettings]
) -> None:
    two = sites[:2]
    flat = flat | {
        "method": method,
        "rounds": 1,
        "federation.sites": ",".join(site.site for site in two),
        "training.proximal": 0.1,
        "training.closing-steps": 1,
    }
    final, grid = start(flat, two)
    whole = b"".join(bytes_ for _, _, bytes_ in grid.sent)
    secret: set[bytes] = set()
    for site in two:
        store = Path(site.state) / "test" / site.site / method
        (path,) = store.glob("personal-0002-*.safetensors")
        kept = load_file(path)
        secret |= windows(v for k, v in kept.items() if k.startswith("personal/") or k == "own")
        assert ("own" in kept) == (method != "fedper")
    assert len(secret) > 10_000
    assert not found_in(secret, whole)
    assert found_in(windows([final]), whole), "the search would find what did travel"
