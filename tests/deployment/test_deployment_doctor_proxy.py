"""The doctor behind a web proxy on loopback: asked through it, or told why not, and by which variable."""

import os
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from deployment_servers import SUPERLINK, Authority, plain, served

from pfedsam_flower.deployment.doctor import CHECKS, examine, network
from pfedsam_flower.deployment.doctor.network import Link
from pfedsam_flower.deployment.doctor.subject import subject_of
from pfedsam_flower.deployment.proxies import is_proxy_variable


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture(autouse=True)
def no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in filter(is_proxy_variable, [*os.environ]):
        monkeypatch.delenv(name)


@contextmanager
def web_proxy(refusal: int = 0) -> Iterator[tuple[dict[str, str], list[str]]]:
    """Variables that name a proxy on loopback, and what it was asked for; ``refusal``: its only answer."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            asked.append(f"CONNECT {self.path}")
            if refusal:
                self.send_error(refusal)
                return
            self.send_response(200)
            self.end_headers()
            with socket.create_connection(("127.0.0.1", int(self.path.rpartition(":")[2]))) as there:
                ways = {self.connection: there, there: self.connection}
                while True:
                    for one in select.select([*ways], [], [], 5)[0]:
                        if not (data := one.recv(65536)):
                            return
                        ways[one].sendall(data)

        def do_GET(self) -> None:
            asked.append(f"GET {self.path}")
            if refusal:
                self.send_error(refusal)
                return
            _, _, host, path = self.path.split("/", 3)
            there = HTTPConnection("127.0.0.1", int(host.rpartition(":")[2]))
            there.request("GET", f"/{path}")
            reply = there.getresponse()
            self.send_response_only(reply.status)
            self.send_header("Date", reply.headers["Date"])
            self.send_header("Content-Length", "0")
            self.end_headers()
            there.close()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda request, address: None  # type: ignore[method-assign]
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    address = f"http://me:secret@127.0.0.1:{server.server_port}"
    try:
        yield {"http_proxy": address, "HTTPS_PROXY": address, "no_proxy": "127.0.0.1"}, asked
    finally:
        server.shutdown()
        server.server_close()


def through(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


NETWORK = ("proxy", "address", "tls", "superlink", "exposure", "clock")


@pytest.mark.parametrize("secured", [True, False])
def test_behind_a_web_proxy_everything_is_asked_through_it(
    secured: bool, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody knows fl.example.org here: only the proxy reaches it.
    with (
        served(SUPERLINK, authority.issue("fl.example.org") if secured else None) as port,
        web_proxy() as (
            variables,
            asked,
        ),
    ):
        through(variables, monkeypatch)
        roots = authority.roots if secured else None
        subject = subject_of(
            None, None, {}, superlink=f"fl.example.org:{port}", roots=roots, insecure=not secured
        )
        checks = {name: CHECKS[name] for name in NETWORK if secured or name != "tls"}
        found = {one.name: one for one in examine(subject, checks)}
    name = "HTTPS_PROXY" if secured else "http_proxy"
    assert [one.status for one in found.values() if one.name != "exposure"] == ["ok"] * (len(checks) - 1)
    assert found["exposure"].status == "warning"  # the proxy of this test lets every path through
    assert f"({name})" in found["address"].text
    assert f"through the web proxy 127.0.0.1:{variables[name].rpartition(':')[2]}" in found["superlink"].text
    assert name in found["proxy"].text
    assert not any("secret" in one.text + one.remedy for one in found.values())
    assert {line.split()[0] for line in asked} == ({"CONNECT"} if secured else {"GET"})


def test_a_proxy_that_is_not_there_fails_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    with web_proxy() as (variables, _):
        pass
    through(variables | {"no_proxy": "example.org"}, monkeypatch)
    with served(SUPERLINK) as port:
        found = network.reach(f"127.0.0.1:{port}", True, None)
        assert found.status == "failed"
        assert "(http_proxy)" in found.text
        assert "set no_proxy=example.org,127.0.0.1" in found.remedy
        own = network.proxy(variables | {"no_proxy": "example.org"})
        assert (own.status, "set no_proxy=example.org,127.0.0.1,localhost" in own.remedy) == ("failed", True)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert network.reach(f"127.0.0.1:{port}", True, None).status == "ok"
        assert network.flower(plain(port)).text == "a SuperLink answers"


@pytest.mark.parametrize("refusal", [403, 407, 502])
def test_a_proxy_that_does_not_let_it_through_is_told_from_the_superlink(
    refusal: int, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    with web_proxy(refusal) as (variables, _):
        through(variables, monkeypatch)
        for found in (
            network.tls(Link("fl.example.org", 8443, False, authority.roots)),
            network.flower(Link("fl.example.org", 8443, True, None)),
        ):
            assert found.status == "failed"
            assert "which does not let it through" in found.text
            assert str(refusal) in found.text
            assert "set no_proxy=127.0.0.1,fl.example.org" in found.remedy


def test_what_site_start_adds_counts_where_it_is_what_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    file = tmp_path / "north.toml"
    file.write_text('site = "north"\ndata = "d"\nstate = "s"\nsuperlink = "127.0.0.1:8000"\n')
    checks = {"proxy": CHECKS["proxy"]}
    for address, status in (
        ("", "ok"),
        ("127.0.0.1:9000", "failed"),
    ):  # another one: by hand, not by the file
        subject = subject_of(file, None, {}, superlink=address, insecure=True)
        assert [one.status for one in examine(subject, checks)] == [status]


def test_what_site_start_sets_by_itself_is_no_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pfedsam_flower.deployment.site_process import environment

    monkeypatch.setenv("PATH", "/usr/bin")
    monkeypatch.delenv("FLWR_TELEMETRY_ENABLED", raising=False)
    file = tmp_path / "north.toml"
    checks = {name: CHECKS[name] for name in ("programs", "environment")}
    for superlink, status in (("fl.example.org:8443", ["ok", "ok"]), ("", ["failed", "warning"])):
        file.write_text(f'site = "north"\ndata = "d"\nstate = "s"\nsuperlink = "{superlink}"\n')
        subject = subject_of(file, None, {})
        assert [one.status for one in examine(subject, checks)] == status
        if superlink:
            started = environment(subject.known_site(), dict(os.environ))
            assert {k: v for k, v in subject.environment.items() if k != "PATH"}.items() <= started.items()
