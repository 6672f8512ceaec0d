"""A hospital's own SuperNode with its gate: nothing unapproved runs, all that leaves is written down."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from federation_wire import recording_proxy
from flwr.proto.message_pb2 import PushObjectRequest
from site_small import SHORT

from pfedsam_flower.cli.__main__ import main
from pfedsam_flower.data.phantoms import write_phantoms
from pfedsam_flower.deployment import flower
from pfedsam_flower.deployment import rehearsal as rehearsals
from pfedsam_flower.deployment.processes import Program, descendants, plain, start
from pfedsam_flower.settings.site import SiteSettings
from pfedsam_flower.settings.sources import default_flat, sites_from_file, to_flat
from pfedsam_flower.site import journal
from pfedsam_flower.site.consent import control_folder

SETTINGS = SHORT | {
    "federation.name": "test",
    "federation.minimum-sites": 1,
    "federation.start-deadline-s": 300.0,
    "evaluation.alone": False,
}
LIMIT_S = 280.0


def wait(until: Callable[[], Any], what: str, program: Program) -> None:
    limit = time.monotonic() + LIMIT_S
    while not until():
        said = plain(program.log.read_text(errors="replace"))[-3000:]
        assert program.process.poll() is None, said
        assert time.monotonic() < limit, f"waited too long for {what}\n{said}"
        time.sleep(0.2)


@contextmanager
def site_start(site: SiteSettings, file: Path, address: str) -> Iterator[Program]:
    """``pfedsam site start``, ended by SIGTERM; nothing of it may be left then."""
    file.write_text(flower.toml(to_flat(site.model_copy(update={"superlink": address}))), encoding="utf-8")
    command = [sys.executable, "-m", "pfedsam_flower", "site", "start", str(file), "--insecure"]
    program = start(
        "site start", command, env=dict(os.environ), cwd=file.parent, log=file.with_suffix(".log")
    )
    try:
        yield program
        program.process.terminate()
        assert program.process.wait(60) == 0
    finally:
        program.process.kill()
        left = descendants(str(control_folder(site)))
        for pid in left:
            os.kill(pid, signal.SIGKILL)
    assert not left


def supernode(site: SiteSettings) -> int | None:
    for pid in descendants(str(control_folder(site))):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(word.endswith(b"flower-supernode") for word in words[:2]):
            return pid
    return None


def pushed_bytes(streams: list[bytearray]) -> int:
    """What was sent in Flower's push-object calls: the bytes of the objects, and no more."""
    total = 0
    for stream in streams:
        at = 0
        while (head := stream.find(b"\r\n\r\n", at)) >= 0:
            first, *lines = bytes(stream[at:head]).split(b"\r\n")
            headers = {k.lower(): v.strip() for k, _, v in (line.partition(b":") for line in lines)}
            length = int(headers.get(b"content-length", b"0"))
            body, at = bytes(stream[head + 4 : head + 4 + length]), head + 4 + length
            if b"push-object" in first:
                total += len(PushObjectRequest.FromString(body).object_content)
    return total


def events(flat: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    path = Path(flat["coordinator.folder"]) / "test" / "history.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [event for event in map(json.loads, lines) if event["event"] == kind]


@pytest.mark.timeout(590)
def test_only_what_the_site_approved_runs_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_phantoms(tmp_path / "sites", n_sites=2, patients=3, slices=1, size=48)
    site = sites_from_file(tmp_path / "sites" / "sites.toml")[0]
    file, control = tmp_path / "north.toml", control_folder(site)
    flat = default_flat() | SETTINGS | {"federation.sites": site.site}
    flat |= {"coordinator.folder": str(tmp_path / "runs")}

    def say(*words: str) -> str:
        capsys.readouterr()
        assert main(["site", *words]) == 0
        return capsys.readouterr().out

    with (
        rehearsals.rehearsal(tmp_path / "link", [], engine="deployment") as link,
        recording_proxy(link.address) as (address, recording),
        site_start(site, file, address) as program,
    ):
        number = link.run(rehearsals.app_folder(), flat)
        wait(lambda: events(flat, "refused"), "the refusal", program)
        refused = events(flat, "refused")[0]
        assert (refused["site"], refused["text"]) == (site.site, "PFS-701 waiting for approval at the site")
        assert not (control / "flower" / "apps").exists(), "the bundle was not even unpacked"

        (row,) = json.loads(say("review", str(file), "--json"))
        assert row["state"] == "waiting"
        shown = say("review", str(file), row["request"]["hash"][:16])
        assert "It has no code of its own; client_app.app:app calls what is installed here." in shown
        assert "build_client_app()" in shown
        say("approve", str(file), row["request"]["hash"], "--expires", "1")
        wait(lambda: events(flat, "end"), "the end", program)  # it was asked again
        assert events(flat, "end")[0]["status"] == "completed"
        wait(lambda: link.status(number)[0] == "finished:completed", "Flower's word", program)
        assert (control / "flower" / "apps").exists()

        killed = supernode(site)
        assert killed
        os.kill(killed, signal.SIGKILL)
        wait(lambda: supernode(site) not in (None, killed), "another SuperNode", program)
        Path(site.state, "STOP").touch()
        flat |= {"coordinator.folder": str(tmp_path / "runs2")}
        link.run(rehearsals.app_folder(), flat)
        wait(lambda: events(flat, "refused"), "the pause to be told", program)
        assert [event["code"] for event in events(flat, "refused")] == ["PFS-702"]
        lines = journal.read(Path(site.state) / "test" / site.site / "sent.jsonl")
        assert sum(line["bytes"] for line in lines) == pushed_bytes(recording.up)

    kinds = [line["kind"] for line in lines]
    assert [kind for kind in kinds if kind != "hello"] == ["preflight", "train", "close"]
    assert {line["approval"] for line in lines if line["kind"] != "hello"} == {row["request"]["hash"]}
    assert json.loads(say("sent", str(file), "--json"))["whole"]
