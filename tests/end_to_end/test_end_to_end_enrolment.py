"""A real SuperLink with TLS and SuperNode authentication: the enrolled get in until revoked, no one else."""

import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pfedsam_flower.deployment import flower
from pfedsam_flower.deployment.certificates import make_certificates
from pfedsam_flower.deployment.enrolment import enrol, overview, revoke
from pfedsam_flower.deployment.keys import make_site_key
from pfedsam_flower.deployment.processes import MARKER, Program, descendants, end_all, plain, start
from pfedsam_flower.deployment.rehearsal import free_port

LIMIT_S = 180.0


@dataclass
class Link:
    """A SuperLink in a folder of certificates, and the SuperNodes that try to reach it."""

    folder: Path
    port: int = field(default_factory=free_port)
    programs: list[Program] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self, name: str, program: str, *options: str) -> Program:
        env = os.environ | {MARKER: str(self.folder), "FLWR_HOME": str(self.folder / f"flower-{name}")}
        env |= {"PYTHONUNBUFFERED": "1", "PATH": f"{flower.PROGRAMS}{os.pathsep}{os.environ['PATH']}"}
        command = [str(flower.PROGRAMS / program), *options]
        log = self.folder / "logs" / f"{name}.log"
        self.programs.append(start(name, command, env=env, cwd=self.folder, log=log))
        return self.programs[-1]

    def supernode(self, name: str, *options: str) -> Program:
        node = ["--superlink", self.address, "--port", str(free_port()), *options]
        return self.start(name, "flower-supernode", *node)

    def answers(self) -> bool:
        context = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        direct = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        try:
            with direct.open(f"https://{self.address}/health", timeout=2):
                return True
        except (urllib.error.URLError, OSError):
            return False


@pytest.fixture
def link(tmp_path: Path) -> Iterator[Link]:
    folder = tmp_path / "coordinator"
    make_certificates(folder, ["fl.example.org"])
    link = Link(folder)
    link.start(
        "superlink",
        "flower-superlink",
        *("--host", "127.0.0.1", "--port", str(link.port), "--database", str(folder / "state.db")),
        *("--enable-supernode-auth", "--disable-runtime-dependency-installation"),
        *("--ssl-ca-certfile", str(folder / "ca.crt")),
        *("--ssl-certfile", str(folder / "superlink.crt"), "--ssl-keyfile", str(folder / "superlink.key")),
    )
    try:
        wait(link.answers, "the SuperLink", link.programs)
        yield link
    finally:
        end_all(str(folder), link.programs)
    assert descendants(str(folder)) == set()


def said(program: Program) -> str:
    return plain(program.log.read_text(errors="replace"))


def wait(until: Callable[[], bool], what: str, programs: list[Program]) -> None:
    limit = time.monotonic() + LIMIT_S
    while not until():
        told = "\n".join(f"=== {p.name}\n{said(p)[-1500:]}" for p in programs)
        assert time.monotonic() < limit, f"waited too long for {what}\n{told}"
        time.sleep(0.2)


@pytest.mark.timeout(590)
def test_only_an_enrolled_site_gets_in_and_only_until_it_is_revoked(link: Link, tmp_path: Path) -> None:
    superlink, authority = link.programs[0], ("--root-certificates", str(link.folder / "ca.crt"))
    north, stranger = (make_site_key(tmp_path / name, name) for name in ("north", "stranger"))
    node_id = enrol(link.folder, link.address, "north", north.public, north.words).node_id
    activated = f"Activated node_id={node_id}"

    inside = link.supernode("north", *authority, "--auth-supernode-private-key", str(north.private))
    unknown = link.supernode("stranger", *authority, "--auth-supernode-private-key", str(stranger.private))
    bare = link.supernode("plain", "--insecure")
    wait(lambda: activated in said(superlink), "north to be accepted", link.programs)
    wait(lambda: "[code: 2004]" in said(unknown), "the stranger to be refused", link.programs)
    wait(lambda: said(bare).count("Connection attempt failed") > 1, "plain HTTP to fail", link.programs)
    assert "No SuperNode found with the given public key" in said(superlink)
    assert [(row.site, row.node_id, row.status) for row in overview(link.folder, link.address)] == [
        ("north", node_id, "online")
    ]
    assert inside.process.poll() is None

    assert revoke(link.folder, link.address, site="north") == (node_id, True)
    wait(lambda: inside.process.poll() is not None, "north's SuperNode to end", link.programs)
    refused = [
        line for line in said(superlink).splitlines() if "/v1/fleet/" in line and line.endswith(" 401")
    ]
    assert refused, "the SuperLink's log says that the revoked node was turned away"

    again = link.supernode("again", *authority, "--auth-supernode-private-key", str(north.private))
    wait(lambda: "[code: 2004]" in said(again), "the revoked key to be refused", link.programs)
    assert said(superlink).count("Activated node_id=") == 1
