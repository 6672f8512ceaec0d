"""What nobody agreed on, what cannot be read and what is too much is refused, and written down first."""

import json
from pathlib import Path
from typing import Any

import pytest
from federation_asking import PACKED, ask, grid_of, hello, raw, refusal_of, train
from flwr.app import Array, ArrayRecord, Message

from pfedsam_flower.contract.messages import PreflightReply, PreflightRequest, Record, RoundReply, encode
from pfedsam_flower.errors import CODES, ConsentError
from pfedsam_flower.federation import door
from pfedsam_flower.federation.client import this_site
from pfedsam_flower.federation.records import content, words_of
from pfedsam_flower.settings.site import SiteSettings
from pfedsam_flower.site.sent import entries


def altered(words: Record, **changes: Any) -> bytes:
    return json.dumps(json.loads(encode(words)) | changes).encode()


LIMITS = [{"rounds_a_day": 1}, {"mb_a_day": 0.5}, {"hours": "0-1"}, {"hours": "23-24"}]


@pytest.mark.parametrize("rule", LIMITS)
@pytest.mark.parametrize("number", ["1.0", "1", 1.0, True, None, [1], 10**30])
def test_no_spelling_of_a_round_goes_past_the_limits(
    flat: dict[str, Any], sites: list[SiteSettings], rule: dict[str, Any], number: Any
) -> None:
    site = sites[0].model_copy(update=rule)
    reply = raw(grid_of(site), "train", altered(train(flat), round=number), PACKED)
    assert reply.has_error()
    assert reply.error.reason.endswith(f"<'PFS-404 {CODES['PFS-404']}'>")
    assert [(line["kind"], line["words"]["text"]) for line in entries(site)] == [
        ("error", reply.error.reason)
    ]


def test_a_key_given_twice_goes_past_no_limit(flat: dict[str, Any], sites: list[SiteSettings]) -> None:
    body = encode(train(flat)).replace(b'"round":1', b'"round":1,"round":2')
    assert raw(grid_of(sites[0]), "train", body, PACKED).has_error()


@pytest.mark.parametrize("sign", ["", "STOP"])
@pytest.mark.parametrize(
    "kind",
    [
        "evaluate",
        "evaluate.default",
        "train.again",
        "query.other",
        "query.PREFLIGHT",
        "reconnect",
        "train.x.y",
    ],
)
def test_a_message_that_nobody_agreed_on_is_written_down_before_it_is_refused(
    flat: dict[str, Any], sites: list[SiteSettings], kind: str, sign: str
) -> None:
    site = sites[0]
    if sign:
        Path(site.state).mkdir()
        (Path(site.state) / sign).touch()
    grid = grid_of(site)
    message = Message(content(hello(flat)), dst_node_id=100, message_type="query")
    message.metadata.__dict__["_message_type"] = kind
    with pytest.raises(RuntimeError) as caught:
        grid.client_app(message, grid.contexts[100])
    code = "PFS-702" if sign else "PFS-404"
    assert str(caught.value) == f"{code} {CODES[code]}"
    (line,) = entries(site)
    assert str(caught.value) in line["words"]["text"]


@pytest.mark.parametrize("sign", ["", "STOP"])
@pytest.mark.parametrize("kind", ["query", "query.preflight", "train"])
@pytest.mark.parametrize(
    "body",
    [b"[" * 200_000, b"\xff", b"{}", "{}", None, b"7", b'{"settings": {}, "settings": {}}', b" " * 2_000_000],
    ids=["deep", "no text", "empty", "not bytes", "none", "number", "twice", "long"],
)
def test_words_that_cannot_be_read_are_refused_and_written_down(
    sites: list[SiteSettings], kind: str, body: Any, sign: str
) -> None:
    site = sites[0]
    if sign:
        Path(site.state).mkdir()
        (Path(site.state) / sign).touch()
    reply = raw(grid_of(site), kind, body)
    assert reply.has_error() is (not sign or kind == "train")
    assert len(entries(site)) == 1


def test_an_app_that_is_closed_answers_nothing_unrecorded(sites: list[SiteSettings]) -> None:
    app = door.closed_app(this_site, ConsentError("PFS-701", "nobody has approved it"))
    grid = grid_of(sites[0], app)
    replies = [raw(grid, kind, b"[" * 200_000) for kind in ("evaluate", "train", "query", "query.preflight")]
    assert [reply.has_error() for reply in replies] == [True, True, False, False]
    assert all("PFS-701" in reply.error.reason for reply in replies[:2])
    assert len(entries(sites[0])) == 4


@pytest.mark.parametrize(
    "rule",
    [{"steps_a_round": 1}, {"pixels_a_step": 28 * 28 * 2 - 1}, {"gib_a_step": 0.01}, {"mb_a_message": 0.9}],
)
def test_a_run_that_is_too_large_for_the_site_is_refused_in_every_message(
    flat: dict[str, Any], sites: list[SiteSettings], rule: dict[str, Any]
) -> None:
    grid = grid_of(sites[0].model_copy(update=rule))
    assert refusal_of(ask(grid, train(flat), PACKED), RoundReply) == "PFS-709"
    about_the_run = "mb_a_message" not in rule
    assert refusal_of(ask(grid, hello(flat))) == ("PFS-709" if about_the_run else "")
    request = PreflightRequest(settings=hello(flat).settings, deadline_s=60)
    assert words_of(ask(grid, request), PreflightReply).refused == ("PFS-709" if about_the_run else None)


def test_a_run_at_the_sites_limits_is_worked_on(flat: dict[str, Any], sites: list[SiteSettings]) -> None:
    limits = {"steps_a_round": 2, "pixels_a_step": 28 * 28 * 2, "gib_a_step": 16.0, "mb_a_message": 1.1}
    grid = grid_of(sites[0].model_copy(update=limits))
    assert refusal_of(ask(grid, hello(flat))) == ""
    assert refusal_of(ask(grid, train(flat), PACKED), RoundReply) == "PFS-401"  # it came through to the app


def test_arrays_that_are_too_large_are_not_read_whatever_they_are_called(
    flat: dict[str, Any], sites: list[SiteSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = grid_of(sites[0].model_copy(update={"mb_a_message": 0.5}))
    filled = content(hello(flat))
    filled["other"] = ArrayRecord({"what": Array(PACKED)})
    monkeypatch.setattr(Array, "numpy", lambda self: pytest.fail("it was read"))
    message = Message(filled, dst_node_id=100, message_type="query")
    (reply,) = grid.pull_messages(grid.push_messages([message]))
    assert refusal_of(reply) == "PFS-709"
