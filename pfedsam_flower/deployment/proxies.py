"""Web proxies that the environment names, taken as Flower's HTTP client takes them.

Flower 1.42 asks a SuperLink, and its own processes on 127.0.0.1, with httpx, which reads ``http_proxy``,
``https_proxy``, ``all_proxy`` and ``no_proxy`` through Python's ``urllib``: in any letter case, the lower one
first, and one that is set to nothing counts as not set. gRPC's own variables (``grpc_proxy``) play no part.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from ..errors import SettingsError

KINDS = ("http", "https", "all")
OWN_PROCESSES = ("127.0.0.1", "localhost")
"""What must not go through a proxy: Flower's processes on one machine speak to each other there."""


def is_proxy_variable(name: str) -> bool:
    """Whether Python, and so Flower's client, takes a variable of this name for one about proxies."""
    return name.lower().endswith("_proxy")


def without_proxies(env: Mapping[str, str]) -> dict[str, str]:
    """The environment for processes that speak on loopback only: no such variable, whatever its kind."""
    return {name: value for name, value in env.items() if not is_proxy_variable(name)}


def variable_of(kind: str, env: Mapping[str, str]) -> str:
    """Name of the variable that holds this kind of proxy (``http``, ``https``, ``all``, ``no``); or ""."""
    alike = [name for name in env if name.lower() == f"{kind}_proxy"]
    lower = [name for name in alike if name.endswith("_proxy")]
    if lower and not env[lower[-1]]:
        return ""
    return next((name for name in reversed([*alike, *lower]) if env[name]), "")


def for_scheme(scheme: str, env: Mapping[str, str]) -> str:
    """Name of the variable whose proxy is for addresses of this scheme, as far as no_proxy lets it; or ""."""
    return variable_of(scheme, env) or variable_of("all", env)


def direct(env: Mapping[str, str], *hosts: str) -> dict[str, str]:
    """Both spellings of no_proxy, with these hosts beside those that are exempt already."""
    there = env.get(variable_of("no", env), "")
    names = [*filter(None, map(str.strip, there.split(",")))]
    return dict.fromkeys(("NO_PROXY", "no_proxy"), ",".join(dict.fromkeys([*names, *hosts])))


def to_exempt(env: Mapping[str, str], *hosts: str) -> str:
    """What to do so that these hosts are asked directly."""
    return f"set no_proxy={direct(env, *hosts)['no_proxy']} where Flower is started"


def hidden(value: str) -> str:
    """A proxy's address without user and password."""
    scheme, mark, rest = value.rpartition("://")
    user, at, host = rest.rpartition("@")
    return scheme + mark + ("***@" if at else "") + host


def sentence(env: Mapping[str, str]) -> str:
    """Every variable that counts, with its value; "" where there is none."""
    names = filter(None, (variable_of(kind, env) for kind in (*KINDS, "no")))
    return ", ".join(f"{name}={hidden(env[name])}" for name in names)


@contextmanager
def client(env: Mapping[str, str], verify: Any, timeout_s: float) -> Iterator[httpx.Client]:
    """Flower's HTTP client (``flwr.supercore.protobuf.client``), as a process with this environment has it.

    Args:
        verify: a TLS context, or False where nothing is encrypted.

    Raises:
        SettingsError: PFS-102 when it cannot be made, and a SuperNode would end at its start.
    """
    kept = {name: value for name, value in os.environ.items() if is_proxy_variable(name)}
    _replace({name: value for name, value in env.items() if is_proxy_variable(name)})
    try:  # it reads the environment when it is made, and no more
        made = httpx.Client(verify=verify, timeout=timeout_s, follow_redirects=True)
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise _unusable(env, error) from error
    finally:
        _replace(kept)
    with made:
        yield made


def first_hop(url: str, env: Mapping[str, str]) -> tuple[str, int]:
    """Host and port that the client connects to for this address: its own, or a proxy's. Nothing is sent.

    Raises:
        SettingsError: PFS-102 as ``client``.
    """

    def stop(event: str, info: dict[str, Any]) -> None:
        if event == "connection.connect_tcp.started":
            raise _Stopped(info["host"], info["port"])

    with client(env, False, 1.0) as asking:
        try:
            asking.get(url, extensions={"trace": stop})
        except _Stopped as found:
            return found.where
    raise AssertionError("httpx connects before it answers")


class _Stopped(Exception):
    def __init__(self, host: bytes | str, port: int) -> None:
        self.where = (host.decode() if isinstance(host, bytes) else host, port)
        super().__init__(self.where)


def _replace(variables: Mapping[str, str]) -> None:
    for name in [name for name in os.environ if is_proxy_variable(name)]:
        del os.environ[name]
    os.environ.update(variables)


def _unusable(env: Mapping[str, str], error: Exception) -> SettingsError:
    named = sentence(env)
    if isinstance(error, ImportError):
        text = f"Flower's HTTP client cannot use a SOCKS proxy here, and would end at its start: {named}"
        hint = "unset the variable where Flower is started, or name an HTTP proxy there"
    else:
        text = f"Flower's HTTP client cannot read a proxy's address, and would end at its start: {named}"
        hint = "write it as http://HOST:PORT, and exempt hosts by their names alone, separated by commas"
    return SettingsError("PFS-102", text, hint=hint)
