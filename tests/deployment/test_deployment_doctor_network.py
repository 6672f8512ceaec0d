"""The doctor's questions to a SuperLink: small servers on loopback, right and wrong in every way."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from deployment_servers import DAY, NOW, PROXY, SUPERLINK, Authority, plain, served
from hypothesis import given
from hypothesis import strategies as st

from pfedsam_flower.deployment.doctor import CHECKS, certificates, examine, network
from pfedsam_flower.deployment.doctor.network import Answer, Link
from pfedsam_flower.deployment.doctor.subject import subject_of
from pfedsam_flower.deployment.proxies import is_proxy_variable


@pytest.fixture(autouse=True)
def no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in filter(is_proxy_variable, [*os.environ]):
        monkeypatch.delenv(name)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


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
