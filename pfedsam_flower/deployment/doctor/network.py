"""Can the SuperLink be reached from here, is it the right one, and do the clocks agree.

Flower 1.41 and 1.42 speak HTTP on one port (``/v1/fleet/`` for SuperNodes, ``/v1/control/`` for the flwr
command, ``/health``), so everything here is asked with plain HTTP requests that change nothing: gRPC's
health service is offered on another port only where the SuperLink was started with one.
"""

import ipaddress
import re
import socket
import ssl
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from time import perf_counter, time

from cryptography import x509

from .certificates import RENEW, dates, names, title
from .subject import Outcome, failed, ok, skipped, warning

LIMIT_S = 5.0
FAST_S, SLOW_S = 5.0, 305.0
"""A SuperNode's signed time may be so far ahead of the SuperLink's clock, or behind it (flwr 1.42,
``SYSTEM_TIME_TOLERANCE`` and ``TIMESTAMP_TOLERANCE``); outside, it is refused and ends."""
NOTABLE_S = 30.0

HEALTH, FLEET, CONTROL = "/health", "/v1/fleet/activate-node", "/v1/control/list-runs"
ADDRESS = re.compile(r"^(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+)):(?P<port>\d{1,5})$")


@dataclass(frozen=True)
class Link:
    """How a SuperLink is reached."""

    host: str
    port: int
    insecure: bool
    roots: Path | None

    @property
    def on_this_machine(self) -> bool:
        """Whether the address is a loopback one."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def context(self) -> ssl.SSLContext:
        """TLS as a SuperNode would do it: with the given CA certificates, or the system's."""
        return ssl.create_default_context(cafile=str(self.roots) if self.roots else None)


@dataclass(frozen=True)
class Answer:
    """A reply's status and Date header, and this machine's clock (UNIX seconds) before and after."""

    status: int
    date: str
    asked: float
    answered: float


def link_of(address: str, insecure: bool, roots: Path | None) -> Link:
    """HOST:PORT as Flower wants it.

    Raises:
        ValueError: it is something else, for example a URL.
    """
    found = ADDRESS.match(address)
    if not found or not 0 < int(found["port"]) < 65536:
        raise ValueError(f"{address!r} is not HOST:PORT (no https://, no path)")
    return Link(found["six"] or found["name"], int(found["port"]), insecure, roots)


def reach(address: str, insecure: bool, roots: Path | None) -> Outcome:
    """Name and port: does anything accept a connection there."""
    try:
        link = link_of(address, insecure, roots)
    except ValueError as error:
        return failed(str(error), "give the coordinator's address, for example fl.example.org:443")
    start = perf_counter()
    try:
        with socket.create_connection((link.host, link.port), LIMIT_S) as connection:
            peer = connection.getpeername()[0]
    except socket.gaierror:
        return failed(f"the name {link.host} is not known here", "check its spelling, and this network's DNS")
    except TimeoutError:
        return failed(
            f"{address} does not answer within {LIMIT_S:g} s",
            f"a firewall drops it: have outgoing connections to TCP port {link.port} allowed",
        )
    except OSError as error:
        return failed(f"{address} refuses: {error.strerror}", "ask the coordinator if the SuperLink runs")
    return ok(f"{address} ({peer}) accepts connections, after {1000 * (perf_counter() - start):.0f} ms")


def tls(link: Link) -> Outcome:
    """The handshake that a SuperNode would do; what is wrong with the certificate, if it fails."""
    if link.insecure:
        if link.on_this_machine:
            return ok("not encrypted, as --insecure says; right on this machine only")
        return failed(
            f"everything to and from {link.host} would travel unencrypted",
            "start the SuperLink with certificates, and give --root-certificates instead of --insecure",
        )
    try:
        context = link.context
    except OSError as error:  # ssl.SSLError is one
        return failed(
            f"{link.roots} cannot be used as CA certificates: {error.strerror or error}",
            "get the CA's certificate from the coordinator again",
        )
    try:
        certificate, version = _handshake(link, context)
    except ssl.SSLCertVerificationError as error:
        return _not_trusted(link, error)
    except ssl.SSLError as error:
        return failed(
            f"no TLS is spoken at {link.host}:{link.port} ({error.reason or error})",
            "ask the coordinator for the port that has TLS; --insecure is for rehearsals on one machine",
        )
    except OSError as error:
        return failed(f"the connection ended during the handshake: {error}", "ask the coordinator")
    found = dates(certificate, datetime.now(UTC))
    text = f"{version}; {found.text}; it is for {', '.join(names(certificate))}"
    return Outcome(found.status, text, found.remedy)


def _handshake(link: Link, context: ssl.SSLContext) -> tuple[x509.Certificate, str]:
    with (
        socket.create_connection((link.host, link.port), LIMIT_S) as connection,
        context.wrap_socket(connection, server_hostname=link.host) as secured,
    ):
        shown = secured.getpeercert(binary_form=True)
        assert shown is not None  # a server always shows one
        return x509.load_der_x509_certificate(shown), secured.version() or "TLS"


def _not_trusted(link: Link, error: ssl.SSLCertVerificationError) -> Outcome:
    """Why a certificate was not accepted; it is fetched once more, unchecked, only to be named."""
    unchecked = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
    try:
        certificate, _ = _handshake(link, unchecked)
    except OSError:
        return failed(f"the certificate is not accepted: {error.verify_message}", RENEW)
    found = dates(certificate, datetime.now(UTC))
    if found.status == "failed":
        return found
    if "mismatch" in error.verify_message:
        return failed(
            f"the certificate is for {', '.join(names(certificate)) or 'no name'}, not for {link.host}",
            "use one of these names as the address, or have one issued for this name",
        )
    return failed(
        f"{title(certificate)} at {link.host} is not vouched for by {link.roots or 'the CAs of this system'} "
        f"({error.verify_message})",
        "get the CA's certificate from the coordinator and compare it on the phone (pfedsam words): "
        "either the file is another CA's, or somebody stands in between",
    )


def ask(link: Link, path: str) -> Answer:
    """A GET request, without any proxy.

    Raises:
        OSError, HTTPException: no answer, or none in HTTP.
    """
    connection: HTTPConnection
    if link.insecure:
        connection = HTTPConnection(link.host, link.port, timeout=LIMIT_S)
    else:
        connection = HTTPSConnection(link.host, link.port, timeout=LIMIT_S, context=link.context)
    with closing(connection):
        connection.connect()
        asked = time()
        connection.request("GET", path)
        reply = connection.getresponse()
        return Answer(reply.status, reply.getheader("Date") or "", asked, time())


def flower(link: Link) -> Outcome:
    """Whether it is a SuperLink that answers there, itself or behind a reverse proxy."""
    try:
        health, fleet = ask(link, HEALTH).status, ask(link, FLEET).status
    except (OSError, HTTPException) as error:
        text = f"no answer in HTTP from {link.host}:{link.port}: {error or type(error).__name__}"
        return failed(text, "ask the coordinator for the SuperLink's port")
    if fleet in (502, 503, 504):
        text = f"a proxy answers ({fleet}), the SuperLink behind it does not"
        return failed(text, "the coordinator has to start it, or to mend the proxy's configuration")
    # Known paths answer a GET with 405, because they want a POST; unknown ones with 404.
    if fleet == 404:
        text = "a web server answers, but Flower's interface for sites (/v1/fleet/) is not there"
        return failed(text, "ask the coordinator for the address; a proxy must pass /v1/fleet/ on as it is")
    if health == 200:
        return ok("a SuperLink answers")
    return ok("a SuperLink answers, through a proxy that does not show /health")


def exposure(link: Link) -> Outcome:
    """Whether the interface by which runs are started can be reached from here, where it should not be."""
    if link.on_this_machine:
        return skipped("asked on the SuperLink's own machine, where the flwr command needs it")
    try:
        status = ask(link, CONTROL).status
    except (OSError, HTTPException) as error:
        return failed(f"no answer: {error or type(error).__name__}", "ask again")
    if status in (403, 404):
        return ok("Flower's control interface cannot be reached from here")
    return warning(
        "Flower's control interface (/v1/control/) can be reached from here; it asks for no password, and "
        "whoever reaches it can have code run at every site",
        "the coordinator puts a reverse proxy in front that passes /v1/fleet/ alone, and binds the SuperLink "
        "to 127.0.0.1",
    )


def clock(link: Link, ask: Callable[[Link, str], Answer] = ask) -> Outcome:
    """This machine's clock against the Date header of what answers (the proxy, where there is one)."""
    try:
        answer = ask(link, HEALTH)
    except (OSError, HTTPException) as error:
        return failed(f"no answer: {error or type(error).__name__}", "ask again")
    try:
        said = parsedate_to_datetime(answer.date).timestamp()
    except ValueError:
        return skipped("the answer has no Date header: the difference cannot be measured from here")
    low, high = behind(said, answer)
    middle, error_s = (low + high) / 2, (high - low) / 2
    way = "behind" if middle > 0 else "ahead of"
    text = f"this clock is {abs(middle):.1f} ± {error_s:.1f} s {way} that of {link.host} (Date header)"
    remedy = "let both machines keep their time by NTP"
    limits = f"Flower accepts {FAST_S:g} s ahead to {SLOW_S:g} s behind"
    if high < -FAST_S or low > SLOW_S:
        return failed(f"{text}; {limits}", remedy)
    if low < -FAST_S or abs(middle) > NOTABLE_S:
        return warning(f"{text}; {limits}", remedy)
    return ok(text)


def behind(said: float, answer: Answer) -> tuple[float, float]:
    """Smallest and largest number of seconds that this clock can be behind the server's.

    Args:
        said: the Date header as UNIX seconds. It is cut to whole seconds, and uvicorn renews it once a
            second, so the server's clock stood less than 2 s after it, between asking and answering.
    """
    return said - answer.answered, said + 2 - answer.asked
