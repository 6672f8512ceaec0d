"""The site's door: what is refused by the site's own rules, and that every answer is in its journal first."""

from pathlib import Path
from typing import Any

import pytest
from federation_asking import PACKED, ask, grid_of, hello, refusal_of, train
from flwr.app import ConfigRecord, Message, RecordDict

from pfedsam_flower.contract.messages import (
    HelloReply,
    PreflightReply,
    PreflightRequest,
    RoundReply,
    RoundRequest,
)
from pfedsam_flower.errors import CODES, ConsentError
from pfedsam_flower.federation import asked, door
from pfedsam_flower.federation.client import build_client_app, this_site
from pfedsam_flower.federation.in_process import _identify
from pfedsam_flower.federation.records import content, words_of
from pfedsam_flower.settings.site import SiteSettings
from pfedsam_flower.site import consent, journal
from pfedsam_flower.site.sent import entries


def test_a_paused_site_says_so_to_every_message(flat: dict[str, Any], sites: list[SiteSettings]) -> None:
    site = sites[0]
    grid = grid_of(site)
    Path(site.state).mkdir()
    (Path(site.state) / "STOP").touch()
    assert refusal_of(ask(grid, hello(flat))) == "PFS-702"
    request = PreflightRequest(settings=hello(flat).settings, deadline_s=60)
    assert words_of(ask(grid, request), PreflightReply).refused == "PFS-702"
    reply = words_of(ask(grid, train(flat, 3), PACKED), RoundReply)
    assert reply.refusal is not None
    assert (reply.refusal.text, reply.round, reply.site) == ("PFS-702 the site has paused", 3, site.site)
    (Path(site.state) / "STOP").unlink()
    assert refusal_of(ask(grid, hello(flat))) == ""


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ({"mb_a_day": 0.9}, "PFS-705"),
        ({"hours": "0-24"}, "PFS-101"),
        ({"rounds_a_day": 1}, "PFS-101"),
        ({}, "PFS-101"),
    ],
)
def test_a_rounds_size_is_known_before_it_is_worked_on(
    flat: dict[str, Any], sites: list[SiteSettings], rule: dict[str, Any], code: str
) -> None:
    """PFS-101: it came through to the app, which does not know one of the settings."""
    grid = grid_of(sites[0].model_copy(update=rule))
    assert refusal_of(ask(grid, train(flat | {"nonsense": 1}), PACKED), RoundReply) == code


def test_too_few_patients_for_its_own_rule(flat: dict[str, Any], sites: list[SiteSettings]) -> None:
    grid = grid_of(sites[0])
    n = words_of(ask(grid, hello(flat)), HelloReply).n_train_patients
    assert n > 0
    enough = grid_of(sites[0].model_copy(update={"minimum_patients": n}))
    assert refusal_of(ask(enough, hello(flat))) == ""
    few = ask(grid_of(sites[0].model_copy(update={"minimum_patients": n + 1})), hello(flat))
    assert refusal_of(few) == "PFS-706"
    assert words_of(few, HelloReply).n_train_patients == 0


@pytest.mark.parametrize("pattern", [r"^(.+)-s[0-9]+$", "^(nothing)$"])
def test_with_too_few_patients_a_preflight_that_is_asked_directly_tells_nothing(
    flat: dict[str, Any], sites: list[SiteSettings], pattern: str
) -> None:
    few = sites[0].model_copy(update={"minimum_patients": 50, "patient": pattern})
    request = PreflightRequest(settings=hello(flat).settings, deadline_s=60)
    reply = words_of(ask(grid_of(few), request), PreflightReply)
    assert reply == PreflightReply(site=few.site, refused="PFS-706")
    assert [line["words"]["refused"] for line in entries(few)] == ["PFS-706"]


def test_every_byte_is_in_the_journal_refusals_and_errors_too(
    flat: dict[str, Any], sites: list[SiteSettings]
) -> None:
    site = sites[0]
    grid = grid_of(site)
    ask(grid, hello(flat))
    ask(grid, hello(flat).model_copy(update={"settings": {"federation.name": "../../elsewhere"}}))
    ask(grid, train(flat | {"nonsense": 1}), PACKED)
    failed = ask(grid, RoundRequest.model_construct(kind="none", round=1))
    assert failed.has_error()
    lines = entries(site)
    assert sorted(line["kind"] for line in lines) == ["error", "hello", "hello", "train"]
    (error,) = [line for line in lines if line["kind"] == "error"]
    assert error["words"]["text"] == failed.error.reason
    assert "PFS-404 a message cannot be read" in failed.error.reason
    up = [len(body) for _, direction, body in grid.sent if direction == "up"]
    assert sum(line["bytes"] for line in lines if line["kind"] != "error") == sum(up[:3])
    assert [path.parent.parent.name for path in consent.journals(site)] == ["_site", "test"]
    assert all(journal.broken_at(path) is None for path in consent.journals(site))


def test_what_cannot_be_written_down_is_not_sent(
    flat: dict[str, Any], sites: list[SiteSettings], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    grid = grid_of(sites[0].model_copy(update={"state": str(tmp_path / "file")}))
    reply = ask(grid, hello(flat))
    assert reply.has_error()
    assert "PFS-604" in reply.error.reason
    assert str(tmp_path) not in reply.error.reason


def test_paths_that_count_from_wherever_it_was_started_are_refused(
    flat: dict[str, Any], sites: list[SiteSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(sites[0].data).parent)
    there = sites[0].model_copy(update={"data": Path(sites[0].data).name})
    reply = ask(grid_of(there), hello(flat))
    assert reply.has_error()
    assert "PFS-102" in reply.error.reason


def test_an_app_that_the_launcher_did_not_admit_refuses_itself(
    flat: dict[str, Any], sites: list[SiteSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(door.LAUNCHER, "1")
    monkeypatch.delenv(door.ADMITTED, raising=False)
    assert refusal_of(ask(grid_of(sites[0]), hello(flat))) == "PFS-701"
    monkeypatch.setenv(door.ADMITTED, "f" * 64)
    assert refusal_of(ask(grid_of(sites[0]), hello(flat))) == ""
    assert [line["approval"] for line in entries(sites[0])] == ["", "f" * 64]


@pytest.mark.parametrize("code", ["PFS-701", "PFS-702"])
def test_a_closed_app_gives_its_reason_in_public_words(
    flat: dict[str, Any], sites: list[SiteSettings], monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    monkeypatch.setenv(door.LAUNCHER, "1")
    monkeypatch.delenv(door.ADMITTED, raising=False)
    app = door.closed_app(this_site, ConsentError(code, "secret", where="/secret"))
    grid = grid_of(sites[0], app)
    assert refusal_of(ask(grid, hello(flat))) == code
    assert refusal_of(ask(grid, train(flat), PACKED), RoundReply) == code
    assert b"secret" not in b"".join(body for _, _, body in grid.sent)
    assert len(entries(sites[0])) == 2


def test_words_that_two_readers_could_take_differently_have_no_settings() -> None:
    _identify(1)
    body = b'{"settings": {"rounds": 1}, "settings": {"rounds": 99}}'
    words = RecordDict({"words": ConfigRecord({"json": body})})
    message = Message(words, dst_node_id=100, message_type="query")
    assert asked.settings_in(asked.words_in(message)) == {}
    once = RecordDict({"words": ConfigRecord({"json": b"{" + body[28:]})})
    message = Message(once, dst_node_id=100, message_type="query")
    assert asked.settings_in(asked.words_in(message)) == {"rounds": 99}


def test_what_goes_wrong_at_the_door_itself_tells_no_path(
    flat: dict[str, Any], sites: list[SiteSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    (Path(sites[0].state) / "other" / sites[0].site / "sent.jsonl").mkdir(parents=True)
    grid = grid_of(sites[0].model_copy(update={"rounds_a_day": 1}))
    reply = ask(grid, train(flat), PACKED)
    assert reply.error.reason == f"<class 'RuntimeError'>:<'PFS-604 {CODES['PFS-604']}'>"
    monkeypatch.setattr(consent, "check_willing", lambda site: Path(site.state, "missing").read_text())
    reply = ask(grid, hello(flat))
    assert reply.error.reason == f"<class 'RuntimeError'>:<'PFS-506 {CODES['PFS-506']}'>"


@pytest.mark.parametrize("launcher", [False, True])
def test_a_plain_supernode_says_that_approval_is_off(
    flat: dict[str, Any],
    sites: list[SiteSettings],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    launcher: bool,
) -> None:
    for name in (door.LAUNCHER, door.ADMITTED):
        monkeypatch.setenv(name, "1") if launcher else monkeypatch.delenv(name, raising=False)
    grid = grid_of(sites[0])
    message = Message(content(hello(flat)), dst_node_id=100, message_type="query")
    build_client_app()(message, grid.contexts[100])
    assert ("approval is off" in caplog.text) is not launcher
