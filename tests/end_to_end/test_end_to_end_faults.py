"""One trial of the campaign of faults; benchmarks/faults has the long one."""

import http.client
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from benchmarks.faults.drawing import KINDS, Fault, draw
from benchmarks.faults.processes import CLOCK, free_port
from benchmarks.faults.relay import Relay
from benchmarks.faults.trial import trial, undisturbed
from pfedsam_flower.data.phantoms import write_phantoms

SITES = ["harbour", "north", "valley"]
FAULTS = [
    # without the second fault Flower would wait a minute for the first one's heartbeat
    Fault("kill clientapp", "north", "round 1", delay_s=1.0, lasts_s=0, amount=0),
    Fault("kill supernode", "north", "round 1", delay_s=4.0, lasts_s=0, amount=0),
    Fault("cut link", "harbour", "round 2", delay_s=1.0, lasts_s=4.0, amount=0),
]


@pytest.mark.timeout(590)
def test_killed_at_one_site_and_cut_off_at_another_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    sites = write_phantoms(tmp_path / "sites", n_sites=3, patients=3, slices=1, size=64)
    expected = undisturbed(sites, tmp_path / "undisturbed")
    assert sorted(expected["shared"]) == ["round-0000", "round-0001", "round-0002"]
    assert sorted(expected["personal"]) == SITES
    outcome = trial(0, 0, FAULTS, sites, expected, tmp_path / "trial", threading.Event())
    assert not outcome.result.startswith("FAILED"), outcome.line()
    assert sorted(outcome.injected) == sorted(fault.kind for fault in FAULTS)


def test_the_seed_draws_every_kind_at_every_site_and_moment() -> None:
    trials = [draw(0, number, SITES) for number in range(300)]
    assert trials == [draw(0, number, SITES) for number in range(300)]
    faults = [fault for one in trials for fault in one]
    assert {fault.kind for fault in faults} == set(KINDS)
    for name, kind in KINDS.items():
        mine = [fault for fault in faults if fault.kind == name]
        assert {fault.moment for fault in mine} == set(kind.moments)
        assert {fault.site for fault in mine} == (set(SITES) if kind.at_site else {""})


class Inbox(BaseHTTPRequestHandler):
    """Answers every POST with 200 and keeps its path and body."""

    protocol_version = "HTTP/1.1"
    got: list[tuple[str, bytes]]

    def do_POST(self) -> None:
        self.got.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def inbox() -> Iterator[tuple[Relay, list[tuple[str, bytes]]]]:
    """A relay in front of an HTTP server, and what has come there."""
    got: list[tuple[str, bytes]] = []
    handler = type("Handler", (Inbox,), {"got": got})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        relay = Relay(free_port(), server.server_address[1])
        try:
            yield relay, got
        finally:
            relay.close()
            server.shutdown()


def send(relay: Relay, *requests: tuple[str, bytes]) -> bool:
    """Whether all were answered, on one connection."""
    link = http.client.HTTPConnection("127.0.0.1", relay.port, timeout=20)
    try:
        for path, body in requests:
            link.request("POST", path, body)
            assert link.getresponse().read() == b""
        return True
    except ConnectionError:
        return False
    finally:
        link.close()


PULL, PUSH, OBJECT = "/v1/fleet/pull-messages", "/v1/fleet/push-messages", "/v1/fleet/push-object"
Seen = tuple[Relay, list[tuple[str, bytes]]]


def test_a_relay_passes_everything_on_until_it_is_cut_and_again_when_it_is_mended(inbox: Seen) -> None:
    relay, got = inbox
    sent = [(PULL, b""), (PUSH, bytes(range(256)) * 4000), (OBJECT, b"\r\n\r\n")]
    assert send(relay, *sent)
    assert got == sent
    relay.cut(silently=False)
    assert not send(relay, *sent)
    assert got == sent
    relay.mend()
    assert send(relay, (PULL, b"more"))
    assert got == [*sent, (PULL, b"more")]


def test_through_a_silent_relay_nothing_passes_until_it_is_mended(inbox: Seen) -> None:
    relay, got = inbox
    relay.cut(silently=True)
    waiting = threading.Thread(target=send, args=(relay, (PULL, b"1")))
    waiting.start()
    waiting.join(1.0)
    assert waiting.is_alive()
    assert got == []
    relay.mend()
    waiting.join(20)
    assert got == [(PULL, b"1")]


def test_a_slow_relay_takes_its_time(inbox: Seen) -> None:
    relay, got = inbox
    relay.bytes_per_s = 50_000
    begin = time.monotonic()
    assert send(relay, (PUSH, bytes(50_000)))
    assert time.monotonic() - begin >= 1.0
    assert len(got) == 1


def test_pushes_come_twice_and_once_more_later_in_another_order_and_nothing_else_does(inbox: Seen) -> None:
    relay, got = inbox
    first = [(PULL, b""), *((path, b"%d" % n) for n in range(6) for path in (OBJECT, PUSH))]
    assert send(relay, *first)
    relay.doubled = True
    assert send(relay, (PULL, b"x"), (PUSH, b"new"))
    assert got == [*first, (PULL, b"x"), (PUSH, b"new"), (PUSH, b"new")]
    del got[:]
    relay.push_again(seed=1)
    until = time.monotonic() + 20
    while len(got) < 13 and time.monotonic() < until:
        time.sleep(0.05)
    assert sorted(got) == sorted([*first[1:], (PUSH, b"new")])
    assert got != [*first[1:], (PUSH, b"new")]


def test_a_push_whose_answer_is_lost_has_come_all_the_same(inbox: Seen) -> None:
    relay, got = inbox
    relay.unanswered = True
    assert send(relay, (PULL, b"1"))
    assert not send(relay, (PUSH, b"2"))
    assert got == [(PULL, b"1"), (PUSH, b"2")]


def test_both_clocks_of_a_process_are_shifted(tmp_path: Path) -> None:
    (tmp_path / "clock").write_text("3600")
    env = os.environ | {"PYTHONPATH": str(CLOCK), "FAULTS_CLOCK": str(tmp_path / "clock")}
    code = "import datetime, time; print(time.time(), datetime.datetime.now(datetime.UTC).timestamp())"
    said = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    for shown in said.stdout.split():
        assert float(shown) - time.time() == pytest.approx(3600, abs=60)
