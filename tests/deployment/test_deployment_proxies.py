"""Web proxies of the environment: read as Flower's client does, told without passwords, dropped whole."""

import os
from collections.abc import Mapping

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfedsam_flower.deployment import proxies
from pfedsam_flower.errors import SettingsError

SUPERLINK = "https://fl.example.org:8443/health"
NAMES = [f"{kind}_PROXY" for kind in ("HTTP", "HTTPS", "ALL", "NO", "GRPC", "FTP")]


@pytest.mark.parametrize(
    ("env", "hop"),
    [
        ({}, "fl.example.org:8443"),
        ({"https_proxy": "http://me:secret@proxy:3128"}, "proxy:3128"),
        ({"HTTPS_PROXY": "proxy:3128"}, "proxy:3128"),
        ({"Https_Proxy": "proxy:3128"}, "proxy:3128"),
        ({"ALL_PROXY": "http://proxy:3128"}, "proxy:3128"),
        ({"http_proxy": "http://proxy:3128"}, "fl.example.org:8443"),
        ({"grpc_proxy": "http://proxy:3128"}, "fl.example.org:8443"),
        ({"https_proxy": "", "HTTPS_PROXY": "proxy:3128"}, "fl.example.org:8443"),
        ({"https_proxy": "a:1", "HTTPS_PROXY": "b:2"}, "a:1"),
        ({"https_proxy": "a:1", "ALL_PROXY": "b:2"}, "a:1"),
        ({"https_proxy": "a:1", "no_proxy": "fl.example.org"}, "fl.example.org:8443"),
        ({"https_proxy": "a:1", "NO_PROXY": ".example.org"}, "fl.example.org:8443"),
        ({"https_proxy": "a:1", "NO_PROXY": "fl.example.org", "no_proxy": "other"}, "a:1"),
        ({"https_proxy": "a:1", "no_proxy": "*"}, "fl.example.org:8443"),
    ],
)
def test_the_first_hop_is_that_of_flowers_client(env: dict[str, str], hop: str) -> None:
    assert proxies.first_hop(SUPERLINK, env) == (hop.split(":")[0], int(hop.split(":")[1]))


def test_a_network_in_no_proxy_exempts_nothing() -> None:
    """httpx takes 10.0.0.0/8 for a name; curl would not."""
    env = {"http_proxy": "a:1", "no_proxy": "10.0.0.0/8"}
    assert proxies.first_hop("http://10.0.0.7:8000/", env) == ("a", 1)
    assert proxies.first_hop("http://10.0.0.7:8000/", env | proxies.direct(env, "10.0.0.7")) == (
        "10.0.0.7",
        8000,
    )


variables = st.dictionaries(
    st.sampled_from([*NAMES, *map(str.lower, NAMES), "Https_proxy", "All_Proxy"]),
    st.sampled_from(["", "http://a:1", "b:2", "http://me:secret@c:3"]),
)


@given(variables, st.sampled_from(["http", "https"]))
def test_the_variable_that_is_named_holds_the_proxy_that_is_used(env: dict[str, str], scheme: str) -> None:
    env = {name: value for name, value in env.items() if name.lower() != "no_proxy"}
    name = proxies.for_scheme(scheme, env)
    hop = proxies.first_hop(f"{scheme}://fl.example.org:8443/", env)
    if name:
        assert f"{hop[0]}:{hop[1]}" == env[name].rpartition("/")[2].rpartition("@")[2]
    else:
        assert hop == ("fl.example.org", 8443)


@given(variables)
def test_hosts_that_are_exempted_are_asked_directly(env: dict[str, str]) -> None:
    env = {k: "other.org" if k.lower() == "no_proxy" and v else v for k, v in env.items()}
    after = env | proxies.direct(env, "127.0.0.1", "localhost", "fl.example.org")
    assert proxies.first_hop("http://127.0.0.1:80/", after) == ("127.0.0.1", 80)
    assert proxies.first_hop(SUPERLINK, after) == ("fl.example.org", 8443)
    assert ("other.org" in after["no_proxy"]) == bool(proxies.variable_of("no", env))


@given(variables)
def test_nothing_of_them_is_left_for_processes_on_loopback(env: dict[str, str]) -> None:
    assert proxies.without_proxies(env | {"PATH": "/bin", "PROXY": "x"}) == {"PATH": "/bin", "PROXY": "x"}


@given(variables)
def test_this_processs_own_environment_stays_as_it_is(env: dict[str, str]) -> None:
    before = dict(os.environ)
    proxies.first_hop(SUPERLINK, env)
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("http://proxy:3128", "http://proxy:3128"),
        ("http://me:sec/r@t@proxy:3128", "http://***@proxy:3128"),
        ("me:secret@proxy:3128", "***@proxy:3128"),
        ("secret@proxy", "***@proxy"),
    ],
)
def test_passwords_are_not_told(value: str, shown: str) -> None:
    assert proxies.hidden(value) == shown
    assert proxies.sentence({"https_proxy": value, "NO_PROXY": "b"}) == f"https_proxy={shown}, NO_PROXY=b"


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"ALL_PROXY": "socks5://me:secret@proxy:1080"}, "cannot use a SOCKS proxy"),
        ({"all_proxy": "socks5h://me:secret@proxy:1080", "no_proxy": "fl.example.org"}, "SOCKS"),
        ({"http_proxy": "socks5://me:secret@proxy:1080"}, "SOCKS"),
        ({"all_proxy": "socks4://me:secret@proxy:1080"}, "cannot read a proxy's address"),
        ({"http_proxy": "http://me:secret@proxy:port"}, "cannot read a proxy's address"),
        ({"http_proxy": "me:secret@proxy:1", "no_proxy": "[::1]"}, "cannot read a proxy's address"),
    ],
)
def test_what_flowers_client_would_end_at_is_said(env: Mapping[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        proxies.first_hop(SUPERLINK, env)
    assert "secret" not in str(caught.value)
    assert next(iter(env)) in str(caught.value)


def test_flowers_client_is_still_the_one_that_is_asked_with(monkeypatch: pytest.MonkeyPatch) -> None:
    from flwr.supercore.protobuf.client import ProtobufClient

    made: list[dict[str, object]] = []
    monkeypatch.setattr(httpx, "Client", lambda **options: made.append(options))
    ProtobufClient("http://127.0.0.1:1")
    assert [sorted(options) for options in made] == [["follow_redirects", "timeout", "verify"]]
