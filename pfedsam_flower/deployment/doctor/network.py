"""Can the SuperLink be reached from here, is it the right one, and do the clocks agree.

Flower 1.41 and 1.42 speak HTTP on one port (``/v1/fleet/`` for SuperNodes, ``/v1/control/`` for the flwr
command, ``/health``), so everything here is asked with HTTP requests that change nothing: gRPC's health
service is offered on another port only where the SuperLink was started with one. They are asked with Flower's
own HTTP client and go its way, through a web proxy where the environment names one.
"""

import socket
import ssl
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from time import perf_counter

import httpx

from .. import proxies
from .certificates import RENEW, dates, names, title
from .link import HEALTH, LIMIT_S, NO_ANSWER, Answer, Link, ask, handshake, link_of
from .subject import Outcome, failed, ok, skipped, warning

FAST_S, SLOW_S = 5.0, 305.0
"""A SuperNode's signed time may be so far ahead of the SuperLink's clock, or behind it (flwr 1.42,
``SYSTEM_TIME_TOLERANCE`` and ``TIMESTAMP_TOLERANCE``); outside, it is refused and ends."""
NOTABLE_S = 30.0
BY_A_WEB_PROXY = (400, 403, 407, 500, 502, 503, 504)
"""Statuses of a web proxy that does not hand on what is asked; a SuperLink has none of them for a GET."""

FLEET, CONTROL = "/v1/fleet/activate-node", "/v1/control/list-runs"


def proxy(env: Mapping[str, str]) -> Outcome:
    """The variables that name web proxies, and whether Flower's own processes find each other despite them.

    Raises:
        SettingsError: PFS-102 when Flower's client cannot use one of them.
    """
    own = proxies.OWN_PROCESSES[0]
    hop, said = proxies.first_hop(f"http://{own}:80/", env), proxies.sentence(env)
    if hop != (own, 80):
        return failed(
            f"{said}: Flower's own processes meet at {own}, and would ask {hop[0]}:{hop[1]} for it",
            f"{proxies.to_exempt(env, *proxies.OWN_PROCESSES)}; 'pfedsam site start' does so by itself",
        )
    return ok(said or "no variable names a web proxy")


def reach(address: str, insecure: bool, roots: Path | None, env: Mapping[str, str] | None = None) -> Outcome:
    """Name and port, of the SuperLink or of the web proxy before it: does anything accept a connection there.

    Raises:
        SettingsError: PFS-102 when Flower's client cannot use the web proxy that the environment names.
    """
    try:
        link = link_of(address, insecure, roots, env)
    except ValueError as error:
        return failed(str(error), "give the coordinator's address, for example fl.example.org:443")
    hop = link.proxy
    host, port = hop or (link.host, link.port)
    there, start = f"{host}:{port}" if hop else address, perf_counter()
    try:
        with socket.create_connection((host, port), LIMIT_S) as connection:
            peer = connection.getpeername()[0]
    except OSError as error:
        found = _silent(error, there, host, port)
        return found if hop is None else _no_proxy_there(link, found)
    took = f"accepts connections, after {1000 * (perf_counter() - start):.0f} ms"
    if hop:
        return ok(f"{address} is asked{link.way}; the proxy {took}")
    return ok(f"{address} ({peer}) {took}")


def _silent(error: OSError, there: str, host: str, port: int) -> Outcome:
    if isinstance(error, socket.gaierror):
        return failed(f"the name {host} is not known here", "check its spelling, and this network's DNS")
    if isinstance(error, TimeoutError):
        return failed(
            f"{there} does not answer within {LIMIT_S:g} s",
            f"a firewall drops it: have outgoing connections to TCP port {port} allowed",
        )
    return failed(f"{there} refuses: {error.strerror}", "ask the coordinator if the SuperLink runs")


def _no_proxy_there(link: Link, found: Outcome) -> Outcome:
    return failed(
        f"{link.host}:{link.port} would be asked{link.way}, as Flower does it, and {found.text}",
        f"mend {link.variable}, or {link.exempt}",
    )


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
        certificate, version = handshake(link, context)
    except httpx.ProxyError as error:
        return _not_let_through(link, str(error))
    except NO_ANSWER as error:
        return _nohandshake(link, error)
    found = dates(certificate, datetime.now(UTC))
    text = f"{version}; {found.text}; it is for {', '.join(names(certificate))}"
    return Outcome(found.status, text, found.remedy)


def _nohandshake(link: Link, error: Exception) -> Outcome:
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _not_trusted(link, cause)
        if isinstance(cause, ssl.SSLError):
            return failed(
                f"no TLS is spoken at {link.host}:{link.port} ({cause.reason or cause})",
                "ask the coordinator for the port that has TLS; --insecure is for rehearsals on one machine",
            )
    text = f"the connection{link.way} ended during the handshake: {error or type(error).__name__}"
    return failed(text, "ask the coordinator" + (f", or {link.exempt}" if link.proxy else ""))


def _not_let_through(link: Link, said: str) -> Outcome:
    return failed(
        f"{link.host}:{link.port} is asked{link.way}, which does not let it through: {said}",
        f"have it pass connections to {link.host}:{link.port} (CONNECT), put user and password into "
        f"{link.variable} if it asks for them, or {link.exempt}",
    )


def _causes(error: BaseException | None) -> "list[BaseException]":
    found = []
    while error is not None:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _not_trusted(link: Link, error: ssl.SSLCertVerificationError) -> Outcome:
    """Why a certificate was not accepted; it is fetched once more, unchecked, only to be named."""
    unchecked = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
    try:
        certificate, _ = handshake(link, unchecked)
    except NO_ANSWER:
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
        f"{title(certificate)} at {link.host} is not vouched for by {link.roots or 'the usual CAs'} "
        f"({error.verify_message})" + (f"; it was asked{link.way}" if link.proxy else ""),
        "get the CA's certificate from the coordinator and compare it on the phone (pfedsam words): "
        "either the file is another CA's, or somebody stands in between",
    )


def flower(link: Link) -> Outcome:
    """Whether it is a SuperLink that answers there, itself or behind a reverse proxy."""
    try:
        health, fleet = ask(link, HEALTH).status, ask(link, FLEET).status
    except NO_ANSWER as error:
        text = f"no answer in HTTP from {link.host}:{link.port}{link.way}: {error or type(error).__name__}"
        remedy = "ask the coordinator for the SuperLink's port"
        return failed(text, f"{remedy}, or {link.exempt}" if link.proxy else remedy)
    if link.proxy and fleet in BY_A_WEB_PROXY:
        return _not_let_through(link, f"status {fleet}")
    if fleet in (502, 503, 504):
        text = f"a proxy answers ({fleet}), the SuperLink behind it does not"
        return failed(text, "the coordinator has to start it, or to mend the proxy's configuration")
    # Known paths answer a GET with 405, because they want a POST; unknown ones with 404.
    if fleet == 404:
        text = "a web server answers, but Flower's interface for sites (/v1/fleet/) is not there"
        return failed(text, "ask the coordinator for the address; a proxy must pass /v1/fleet/ on as it is")
    if health == 200:
        return ok(f"a SuperLink answers{link.way}")
    return ok(f"a SuperLink answers{link.way}, through a proxy that does not show /health")


def exposure(link: Link) -> Outcome:
    """Whether the interface by which runs are started can be reached from here, where it should not be."""
    if link.on_this_machine:
        return skipped("asked on the SuperLink's own machine, where the flwr command needs it")
    try:
        status = ask(link, CONTROL).status
    except NO_ANSWER as error:
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
    except NO_ANSWER as error:
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
