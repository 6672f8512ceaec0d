"""One trial of the campaign of faults; benchmarks/faults has the long one."""

import os
import socket
import socketserver
import subprocess
import sys
import threading
import time
from contextlib import suppress
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
    trials = [draw(0, number, SITES) for number in range(100)]
    assert trials == [draw(0, number, SITES) for number in range(100)]
    faults = [fault for one in trials for fault in one]
    assert {fault.kind for fault in faults} == set(KINDS)
    for name, kind in KINDS.items():
        mine = [fault for fault in faults if fault.kind == name]
        assert {fault.moment for fault in mine} == set(kind.moments)
        assert {fault.site for fault in mine} == (set(SITES) if kind.at_site else {""})


class Echo(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(self.rfile.readline())


def test_a_relay_passes_everything_on_until_it_is_cut_and_again_when_it_is_mended() -> None:
    def answer() -> bytes:
        """What comes back; b"" after a reset."""
        with suppress(ConnectionError), socket.create_connection(("127.0.0.1", relay.port), 10) as link:
            link.sendall(b"hello\n")
            return link.recv(100)
        return b""

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        relay = Relay(free_port(), server.server_address[1])
        try:
            assert answer() == b"hello\n"
            relay.cut(silently=False)
            assert answer() == b""
            relay.mend()
            assert answer() == b"hello\n"
        finally:
            relay.close()
            server.shutdown()


def test_both_clocks_of_a_process_are_shifted(tmp_path: Path) -> None:
    (tmp_path / "clock").write_text("3600")
    env = os.environ | {"PYTHONPATH": str(CLOCK), "FAULTS_CLOCK": str(tmp_path / "clock")}
    code = "import datetime, time; print(time.time(), datetime.datetime.now(datetime.UTC).timestamp())"
    said = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    for shown in said.stdout.split():
        assert float(shown) - time.time() == pytest.approx(3600, abs=60)
