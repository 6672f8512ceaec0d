"""The site's gate: what is not approved is neither unpacked nor loaded; a pause breaks off what runs."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flwr.app import Context, Message, RecordDict

from pfedsam_flower.contract.messages import HelloReply, HelloRequest
from pfedsam_flower.deployment import approval
from pfedsam_flower.deployment import gate as door
from pfedsam_flower.deployment.bundles import digest_of
from pfedsam_flower.errors import ConsentError
from pfedsam_flower.federation.in_process import _identify
from pfedsam_flower.federation.records import content, words_of
from pfedsam_flower.settings.site import SiteSettings
from pfedsam_flower.settings.sources import to_flat
from pfedsam_flower.site import consent, journal

BUNDLE = b"not even a zip"
WORDS = HelloRequest(software="1", settings={"federation.name": "test", "rounds": 3})


@pytest.fixture
def site(tmp_path: Path) -> SiteSettings:
    return SiteSettings(site="north", data=str(tmp_path), state=str(tmp_path / "state"))


@pytest.fixture(autouse=True)
def no_admission(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(door.ADMITTED, "left over")


def parts(site: SiteSettings, words: HelloRequest = WORDS) -> tuple[Message, Context]:
    _identify(7)
    message = Message(content(words), dst_node_id=5, message_type="query")
    return message, Context(7, 5, dict(to_flat(site)), RecordDict(), {})


def examined(site: SiteSettings, body: bytes = BUNDLE, said: str = "") -> door.Gate:
    gate = door.Gate()
    gate.examine(*parts(site), 7, SimpleNamespace(content=body, hash_str=said or digest_of(body)))
    return gate


def not_loaded() -> Any:
    pytest.fail("the bundle was loaded")


def refusal(gate: door.Gate, site: SiteSettings) -> str:
    reply = words_of(gate.app(not_loaded)(*parts(site)), HelloReply)
    assert reply.refusal is not None
    return reply.refusal.text


def approve(site: SiteSettings) -> None:
    examined(site)
    (request,) = approval.requests(site)
    approval.approve(site, request.hash, None)


def test_what_nobody_approved_is_answered_by_the_installed_package(site: SiteSettings) -> None:
    assert refusal(examined(site), site) == "PFS-701 waiting for approval at the site"
    (request,) = approval.requests(site)
    assert (request.run, request.settings) == ("7", WORDS.settings)


def test_what_was_approved_is_loaded_and_only_that(site: SiteSettings) -> None:
    approve(site)
    gate = examined(site)
    assert gate.refused is None
    assert gate.app(lambda: lambda message, context: message)(*parts(site)) is not None
    assert refusal(examined(site, BUNDLE + b" "), site).startswith("PFS-701")
    assert refusal(examined(site, BUNDLE, "0" * 64), site).startswith("PFS-701")


@pytest.mark.parametrize("what", ["unpacked", "loaded"])
def test_a_bundle_that_cannot_be_used_is_answered_in_public_words_and_journaled(
    site: SiteSettings, what: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fails(*args: Any) -> Any:
        raise ImportError(f"cannot import from {tmp_path}/SMITH_JOHN")

    approve(site)
    monkeypatch.setenv("FLWR_HOME", str(tmp_path / "flower"))
    gate = examined(site)
    if what == "unpacked":
        assert gate.unpack(fails) is None
    else:
        assert gate.unpack(lambda: "done") == "done"
    with pytest.raises(RuntimeError) as caught:
        gate.app(not_loaded if what == "unpacked" else fails)(*parts(site))
    assert str(caught.value) == "PFS-506 a site failed while it worked on a message"
    (line,) = [one for path in (tmp_path / "state").rglob("sent.jsonl") for one in journal.read(path)]
    assert line["kind"] == "error"
    assert "SMITH" not in str(line)


def test_the_process_knows_what_was_admitted_and_forgets_it(
    site: SiteSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    approve(site)
    assert door.ADMITTED not in os.environ
    examined(site)
    assert os.environ[door.ADMITTED] == approval.requests(site)[0].hash


@pytest.mark.parametrize(("sign", "code"), [("pause", "PFS-702"), ("leave", "PFS-703")])
def test_a_paused_site_loads_nothing_approved_or_not(site: SiteSettings, sign: str, code: str) -> None:
    approve(site)
    getattr(consent, sign)(site)
    assert refusal(examined(site), site).startswith(code)


def test_approvals_that_cannot_be_read_allow_nothing(site: SiteSettings) -> None:
    approve(site)
    (consent.control_folder(site) / "approvals.json").write_text("")
    assert refusal(examined(site), site).startswith("PFS-701")


def test_a_pause_breaks_off_what_runs(site: SiteSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "LOOK_EVERY_S", 0.01)
    approve(site)
    caught = []

    def long_work(message: Message, context: Context) -> Message:
        try:
            consent.pause(site)
            threading.Event().wait(60)
        except ConsentError as error:
            caught.append(error.code)
        return message

    examined(site).app(lambda: long_work)(*parts(site))
    assert caught == ["PFS-702"]


def test_what_is_broken_off_outside_of_the_app_tells_no_path(
    site: SiteSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "LOOK_EVERY_S", 0.01)
    approve(site)

    def long_work(message: Message, context: Context) -> Message:
        consent.pause(site)
        threading.Event().wait(60)
        return message

    reply = words_of(examined(site).app(lambda: long_work)(*parts(site)), HelloReply)
    assert reply.refusal is not None
    assert reply.refusal.text == "PFS-702 the site has paused"
    (path,) = Path(site.state).rglob("sent.jsonl")  # it left, so it is written down
    assert [line["words"]["refusal"]["code"] for line in journal.read(path)] == ["PFS-702"]


def test_the_gate_stands_where_flower_unpacks_and_loads(
    site: SiteSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flower's own function is run to its end, with its network taken away."""
    import importlib

    flower: Any = importlib.import_module("flwr.supernode.runtime.run_clientapp")
    command: Any = importlib.import_module("flwr.supernode.cli.flwr_clientapp")
    message, context = parts(site)
    bundle = SimpleNamespace(content=BUNDLE, hash_str=digest_of(BUNDLE))
    task = SimpleNamespace(run_id=7, fab_id="a/b", fab_version="1")
    replies = []
    for name in (
        "install_from_fab",
        "get_load_client_app_fn",
        "pull_task_input",
        "push_message",
        "flwr_exit",
    ):
        assert hasattr(flower, name), f"Flower has no {name} any more"
    monkeypatch.setattr(flower, "pull_task_input", lambda client: (message, context, task, bundle))
    monkeypatch.setattr(flower, "install_from_fab", lambda *a, **k: pytest.fail("unpacked"))
    monkeypatch.setattr(flower, "get_load_client_app_fn", lambda **k: lambda *which: not_loaded())
    monkeypatch.setattr(flower, "push_message", lambda client, reply, context: replies.append(reply))
    monkeypatch.setattr(flower, "flwr_exit", lambda **k: None)
    monkeypatch.setattr(flower, "register_signal_handlers", lambda **k: None)
    monkeypatch.setattr(flower, "HeartbeatSender", lambda beat: SimpleNamespace(start=lambda: None))
    monkeypatch.setattr(
        command, "flwr_clientapp", lambda: flower.run_clientapp("127.0.0.1:9", "token", insecure=True)
    )
    fetched: list[str] = []
    door.work(lambda: fetched.append("here"))
    assert fetched == ["here"]
    (reply,) = replies
    assert words_of(reply, HelloReply).refusal.code == "PFS-701"
