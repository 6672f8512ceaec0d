"""The doctor's questions to a SuperLink: small servers on loopback, right and wrong in every way."""

import os
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from pfedsam_flower.deployment.doctor import CHECKS, certificates, examine, network
from pfedsam_flower.deployment.doctor.network import Answer, Link
from pfedsam_flower.deployment.doctor.subject import subject_of
from pfedsam_flower.deployment.proxies import is_proxy_variable

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
SUPERLINK = {"/health": 200, network.FLEET: 405, network.CONTROL: 405}
PROXY = {network.FLEET: 405}


class Authority:
    """A CA, and what it issues, as PEM files."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.key = folder, ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test authority")])
        self.roots = folder / "ca.crt"
        extension = x509.BasicConstraints(ca=True, path_length=None)
        self._write(self.roots, self._signed(self.name, self.key, extension, NOW - DAY, NOW + 400 * DAY))

    def issue(
        self, *hosts: str, start: datetime = NOW - DAY, end: datetime = NOW + 100 * DAY
    ) -> tuple[Path, Path]:
        """(certificate, key) of a server with these names and addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        parts: list[x509.GeneralName] = [
            x509.IPAddress(IPv4Address(h)) if h[0].isdigit() else x509.DNSName(h) for h in hosts
        ]
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a superlink")])
        certificate, secret = self.folder / "server.crt", self.folder / "server.key"
        self._write(certificate, self._signed(name, key, x509.SubjectAlternativeName(parts), start, end))
        secret.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return certificate, secret

    def _signed(
        self,
        name: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        extension: x509.ExtensionType,
        start: datetime,
        end: datetime,
    ) -> x509.Certificate:
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(self.name)
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(start).not_valid_after(end).add_extension(extension, critical=True)
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        builder = builder.add_extension(identifier, critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        return builder.add_extension(issuer, critical=False).sign(self.key, hashes.SHA256())

    def _write(self, path: Path, certificate: x509.Certificate) -> None:
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


@pytest.fixture(autouse=True)
def no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in filter(is_proxy_variable, [*os.environ]):
        monkeypatch.delenv(name)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@contextmanager
def served(
    paths: dict[str, int], pair: tuple[Path, Path] | None = None, *, ahead_s: float = 0
) -> Iterator[int]:
    """The port of a server that answers with these statuses (404 elsewhere), its clock ``ahead_s``."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(paths.get(self.path, 404))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def date_time_string(self, timestamp: float | None = None) -> str:
            return format_datetime(datetime.now(UTC) + timedelta(seconds=ahead_s), usegmt=True)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda request, address: None  # type: ignore[method-assign]
    if pair:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pair)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def plain(port: int) -> Link:
    return Link("127.0.0.1", port, True, None)


# the address


@pytest.mark.parametrize("wrong", ["", "host", "https://host:1", "host:1/p", "host:0", "host:70000", "::1:8"])
def test_what_is_no_address_is_said(wrong: str) -> None:
    assert network.reach(wrong, False, None).status == "failed"
    with pytest.raises(ValueError, match="is not HOST:PORT"):
        network.link_of(wrong, False, None)


def test_an_address_of_the_sixth_version_is_one() -> None:
    assert network.link_of("[::1]:8000", False, None) == Link("::1", 8000, False, None)
    assert network.link_of("[::1]:8000", False, None).on_this_machine


def test_a_port_on_which_nobody_listens_fails() -> None:
    with served({}) as port:
        assert network.reach(f"127.0.0.1:{port}", True, None).status == "ok"
    found = network.reach(f"127.0.0.1:{port}", True, None)
    assert (found.status, "refuses" in found.text) == ("failed", True)


@pytest.mark.parametrize(
    ("raised", "said"), [(TimeoutError(), "firewall"), (network.socket.gaierror(-2, "x"), "DNS")]
)
def test_silence_and_unknown_names_have_their_own_remedies(
    raised: OSError, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(address: object, timeout: object) -> None:
        raise raised

    monkeypatch.setattr(network.socket, "create_connection", refuse)
    found = network.reach("fl.example.org:443", False, None)
    assert (found.status, said in found.remedy) == ("failed", True)


# a web proxy


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


# TLS


def test_a_good_certificate_is_ok_and_its_names_and_dates_are_said(authority: Authority) -> None:
    with served({}, authority.issue("localhost", "127.0.0.1")) as port:
        found = network.tls(Link("localhost", port, False, authority.roots))
    assert found.status == "ok"
    assert "localhost, 127.0.0.1" in found.text
    assert f"{NOW + 100 * DAY:%Y-%m-%d}" in found.text


@pytest.mark.parametrize(
    ("made", "status", "said"),
    [
        (lambda a: a.issue("localhost", end=NOW + 5 * DAY), "warning", "expires in"),
        (lambda a: a.issue("localhost", start=NOW - 9 * DAY, end=NOW - 2 * DAY), "failed", "expired on"),
        (lambda a: a.issue("localhost", start=NOW + 2 * DAY), "failed", "is valid from"),
        (lambda a: a.issue("fl.example.org"), "failed", "is for fl.example.org, not for localhost"),
        (lambda a: None, "failed", "no TLS is spoken"),
    ],
)
def test_what_is_wrong_with_a_certificate_is_said(
    made: Callable[[Authority], tuple[Path, Path] | None], status: str, said: str, authority: Authority
) -> None:
    with served({}, made(authority)) as port:
        found = network.tls(Link("localhost", port, False, authority.roots))
    assert found.status == status
    assert said in found.text


def test_the_certificate_of_a_stranger_is_refused(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with served({}, Authority(tmp_path / "other").issue("localhost")) as port:
        found = network.tls(Link("localhost", port, False, authority.roots))
        assert (found.status, "not vouched for by" in found.text) == ("failed", True)
        assert network.tls(Link("localhost", port, False, None)).status == "failed"
        (tmp_path / "ca.crt").write_text("nonsense")
        assert "cannot be used" in network.tls(Link("localhost", port, False, tmp_path / "ca.crt")).text
        assert "cannot be used" in network.tls(Link("localhost", port, False, tmp_path / "gone.crt")).text


def test_unencrypted_is_for_this_machine_only() -> None:
    assert network.tls(Link("127.0.0.1", 1, True, None)).status == "ok"
    assert network.tls(Link("fl.example.org", 1, True, None)).status == "failed"


# certificate files


def test_files_of_certificates_are_read_and_dated(authority: Authority, tmp_path: Path) -> None:
    good, _ = authority.issue("fl.example.org", "127.0.0.1")
    assert certificates.files(authority.roots, (good,), "coordinator").status == "ok"
    later = NOW + 399 * DAY
    found = certificates.files(authority.roots, (), "site", later)
    assert (found.status, "expires in" in found.text) == ("warning", True)
    found = certificates.files(authority.roots, (good,), "site", later)
    assert (found.status, found.text.startswith("a superlink expired on")) == ("failed", True)
    (tmp_path / "no.crt").write_text("nonsense")
    found = certificates.files(tmp_path / "no.crt", (tmp_path / "gone.crt",), "site")
    assert found.status == "failed"
    assert found.text.count("cannot be read") == 2


def test_a_servers_certificate_is_no_root_and_wants_the_loopback_address(authority: Authority) -> None:
    certificate, _ = authority.issue("fl.example.org")
    found = certificates.files(certificate, (), "site")
    assert (found.status, "is no authority's certificate" in found.text) == ("failed", True)
    found = certificates.files(None, (certificate,), "coordinator")
    assert (found.status, "not for 127.0.0.1" in found.text) == ("warning", True)
    assert certificates.files(None, (certificate,), "site").status == "ok"


# Flower


@pytest.mark.parametrize(
    ("paths", "status", "said"),
    [
        (SUPERLINK, "ok", "a SuperLink answers"),
        (PROXY, "ok", "through a proxy"),
        ({}, "failed", "/v1/fleet/) is not there"),
        ({network.FLEET: 502}, "failed", "a proxy answers (502)"),
    ],
)
def test_a_superlink_is_told_from_other_web_servers(paths: dict[str, int], status: str, said: str) -> None:
    with served(paths) as port:
        found = network.flower(plain(port))
    assert (found.status, said in found.text) == (status, True)
    assert network.flower(plain(port)).status == "failed"  # gone again


def test_an_open_control_interface_is_a_warning() -> None:
    with served(SUPERLINK) as port:
        assert network.exposure(plain(port)).status == "skipped"
        # the same server by a name that does not look like loopback
        assert network.exposure(Link("127.1", port, True, None)).status == "warning"
    with served(PROXY) as port:
        assert network.exposure(Link("127.1", port, True, None)).status == "ok"


@pytest.mark.parametrize(
    ("ahead_s", "status"),
    [(0, "ok"), (-20, "failed"), (-6, "warning"), (60, "warning"), (400, "failed")],
)
def test_the_clock_is_held_against_flowers_window(ahead_s: float, status: str) -> None:
    with served(SUPERLINK, ahead_s=ahead_s) as port:
        found = network.clock(plain(port))
    assert found.status == status, found.text


def test_a_server_without_a_date_is_not_guessed_at() -> None:
    found = network.clock(plain(1), ask=lambda link, path: Answer(200, "", 0.0, 0.1))
    assert (found.status, "cannot be measured" in found.text) == ("skipped", True)


@given(st.floats(-1e4, 1e4), st.floats(0, 3), st.floats(0, 1), st.floats(0, 1), st.floats(1e9, 2e9))
def test_the_true_difference_lies_between_the_ends(
    ahead: float, took: float, when: float, stale: float, asked: float
) -> None:
    """Whenever the server reads its clock, and though its Date header is up to a second old."""
    said = int(asked + when * took + ahead - stale)
    low, high = network.behind(said, Answer(200, "", asked, asked + took))
    assert low - 1e-3 <= ahead <= high + 1e-3
    assert high - low == pytest.approx(2 + took, abs=1e-3)


def test_what_is_known_of_flower_is_still_so() -> None:
    from flwr.common.constant import SYSTEM_TIME_TOLERANCE, TIMESTAMP_TOLERANCE
    from flwr.supercore.routers.health.router import router as health
    from flwr.superlink.routers.control.router import router as control
    from flwr.superlink.routers.fleet.router import router as fleet

    assert (network.FAST_S, network.SLOW_S) == (
        SYSTEM_TIME_TOLERANCE,
        TIMESTAMP_TOLERANCE + SYSTEM_TIME_TOLERANCE,
    )
    for router, path, method in (
        (fleet, network.FLEET, "POST"),
        (control, network.CONTROL, "POST"),
        (health, network.HEALTH, "GET"),
    ):
        methods = {m for r in router.routes if path.endswith(r.path) for m in r.methods}
        assert method in methods, path
        assert (method == "GET") == ("GET" in methods), path


def test_the_network_is_looked_at_in_order(authority: Authority) -> None:
    names = ("certificates", "address", "tls", "superlink", "exposure", "clock")
    checks = {name: CHECKS[name] for name in names}
    with served(SUPERLINK, authority.issue("localhost")) as port:
        subject = subject_of(None, None, {}, superlink=f"localhost:{port}", roots=authority.roots)
        found = [one.status for one in examine(subject, checks)]
        wrong = subject_of(None, None, {}, superlink=f"127.0.0.1:{port}", roots=authority.roots)
        stopped = [one.status for one in examine(wrong, checks)]
    assert found == ["ok", "ok", "ok", "ok", "skipped", "ok"]
    assert stopped == ["ok", "ok", "failed", "skipped", "skipped", "skipped"]
    assert [one.status for one in examine(subject_of(None, None, {}), checks)] == ["skipped"] * 6
