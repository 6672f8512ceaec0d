"""The way to a SuperLink and one question there: with Flower's HTTP client, behind a web proxy too."""

import ipaddress
import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Any

import httpx
from cryptography import x509

from .. import proxies

LIMIT_S = 5.0
HEALTH = "/health"
NO_ANSWER = (OSError, httpx.HTTPError, httpx.InvalidURL)
ADDRESS = re.compile(r"^(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+)):(?P<port>\d{1,5})$")


@dataclass(frozen=True)
class Link:
    """How a SuperLink is reached.

    Attributes:
        env: environment of the process that will ask it; None: this one's.
    """

    host: str
    port: int
    insecure: bool
    roots: Path | None
    env: Mapping[str, str] | None = None

    @property
    def variables(self) -> Mapping[str, str]:
        """The environment that decides the way."""
        return os.environ if self.env is None else self.env

    @property
    def scheme(self) -> str:
        return "http" if self.insecure else "https"

    def url(self, path: str) -> str:
        """The address of a path there."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{path}"

    @property
    def proxy(self) -> tuple[str, int] | None:
        """Host and port of the web proxy that the SuperLink is asked through; None: it is asked directly.

        Raises:
            SettingsError: PFS-102.
        """
        hop = proxies.first_hop(self.url(HEALTH), self.variables)
        return None if hop == (self.host.lower(), self.port) else hop

    @property
    def variable(self) -> str:
        """Name of the environment's variable that names the web proxy."""
        return proxies.for_scheme(self.scheme, self.variables) or "this system's settings"

    @property
    def way(self) -> str:
        """``" through the web proxy HOST:PORT (VARIABLE)"``, or "" where there is none."""
        hop = self.proxy
        return f" through the web proxy {hop[0]}:{hop[1]} ({self.variable})" if hop else ""

    @property
    def exempt(self) -> str:
        """What to set so that no web proxy is asked for this host."""
        return proxies.to_exempt(self.variables, self.host)

    @property
    def on_this_machine(self) -> bool:
        """Whether the address is a loopback one."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def context(self) -> ssl.SSLContext:
        """TLS as Flower's client does it: with the given CA certificates, or httpx's own."""
        if self.roots is None:
            return httpx.create_ssl_context()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cafile=str(self.roots))
        return context


@dataclass(frozen=True)
class Answer:
    """A reply's status and Date header, and this machine's clock (UNIX seconds) before and after."""

    status: int
    date: str
    asked: float
    answered: float


def link_of(address: str, insecure: bool, roots: Path | None, env: Mapping[str, str] | None = None) -> Link:
    """HOST:PORT as Flower wants it.

    Raises:
        ValueError: it is something else, for example a URL.
    """
    found = ADDRESS.match(address)
    if not found or not 0 < int(found["port"]) < 65536:
        raise ValueError(f"{address!r} is not HOST:PORT (no https://, no path)")
    return Link(found["six"] or found["name"], int(found["port"]), insecure, roots, env)


def handshake(link: Link, context: ssl.SSLContext) -> tuple[x509.Certificate, str]:
    """What the SuperLink shows, behind a proxy as without one; the request itself is not sent."""
    secured = ("proxy" if link.proxy else "connection") + ".start_tls.complete"

    def stop(event: str, info: dict[str, Any]) -> None:
        if event == secured:
            raise _Shaken(info["return_value"].get_extra_info("ssl_object"))

    with proxies.client(link.variables, context, LIMIT_S) as asking:
        try:
            asking.get(link.url(HEALTH), extensions={"trace": stop})
        except _Shaken as hands:
            return hands.certificate, hands.version
    raise OSError("there was no handshake")


class _Shaken(Exception):
    def __init__(self, secured: Any) -> None:
        super().__init__()
        self.certificate = x509.load_der_x509_certificate(secured.getpeercert(True))
        self.version = str(secured.version() or "TLS")


def ask(link: Link, path: str) -> Answer:
    """A GET request, the way that a SuperNode's go.

    Raises:
        OSError, httpx.HTTPError: no answer, or none in HTTP.
        SettingsError: PFS-102.
    """
    asked = time()

    def note(event: str, info: dict[str, Any]) -> None:
        nonlocal asked
        if event == "http11.send_request_headers.started":  # connected by then, and let through
            asked = time()

    verify = False if link.insecure else link.context
    with proxies.client(link.variables, verify, LIMIT_S) as asking:
        reply = asking.get(link.url(path), extensions={"trace": note})
        return Answer(reply.status_code, reply.headers.get("Date", ""), asked, time())
