"""Certificates: for whom, until when. No check of a chain: that is what a TLS connection is for."""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from ...errors import StoreError
from ..keys import one_certificate
from .subject import Outcome, Role, failed, ok, warning

SOON = timedelta(days=30)
RENEW = "have a new one issued, and put it in place of the old one on every machine that has it"


def read(path: Path) -> list[x509.Certificate]:
    """The certificates of a PEM file.

    Raises:
        ValueError: none in it, or not PEM.
        OSError: cannot be read.
    """
    return x509.load_pem_x509_certificates(path.read_bytes())


def title(certificate: x509.Certificate) -> str:
    """The common name of its holder, or the whole name."""
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(names[0].value) if names else certificate.subject.rfc4514_string() or "no name"


def names(certificate: x509.Certificate) -> list[str]:
    """The host names and addresses that it is for."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    hosts = found.get_values_for_type(x509.DNSName)
    return [*hosts, *map(str, found.get_values_for_type(x509.IPAddress))]


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether it may sign others."""
    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except x509.ExtensionNotFound:
        return False


def dates(certificate: x509.Certificate, now: datetime) -> Outcome:
    """Its dates against ``now`` (with a time zone)."""
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    who = title(certificate)
    if now < start:
        return failed(f"{who} is valid from {start:%Y-%m-%d %H:%M} UTC only", "check this machine's clock")
    if now > end:
        return failed(f"{who} expired on {end:%Y-%m-%d}", RENEW)
    days = (end - now).days
    if end - now < SOON:
        return warning(f"{who} expires in {days} days, on {end:%Y-%m-%d}", RENEW)
    return ok(f"{who} is valid until {end:%Y-%m-%d}, {days} days more")


def files(roots: Path | None, others: tuple[Path, ...], role: Role, now: datetime | None = None) -> Outcome:
    """Every certificate of the given files: readable, dates, and what it may be used for.

    Args:
        roots: the file that a SuperNode gets as ``--root-certificates``.
        others: further files, a SuperLink's own certificate for example.
    """
    now = now or datetime.now(UTC)
    outcomes = []
    for path in ([roots] if roots else []) + list(others):
        try:
            found = read(path)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it holds no PEM certificate"
            outcomes.append(failed(f"{path} cannot be read: {reason}", "fetch the file again"))
            continue
        if path == roots:
            outcomes += _alone(path)
        for certificate in found:
            outcomes.append(dates(certificate, now))
            if path == roots and not is_authority(certificate):
                text = f"{title(certificate)} in {path} is no authority's certificate"
                outcomes.append(failed(text, "give the CA's certificate, not the SuperLink's own"))
            if role == "coordinator" and path != roots and not is_authority(certificate):
                outcomes += _names(certificate)
    return worst(outcomes)


def _alone(path: Path) -> list[Outcome]:
    try:
        one_certificate(path)
    except StoreError as error:
        return [failed(f"{path}: {error.message}", error.hint)]
    return []


def _names(certificate: x509.Certificate) -> list[Outcome]:
    if str(ipaddress.IPv4Address("127.0.0.1")) in names(certificate):
        return []
    return [
        warning(
            f"{title(certificate)} is for {', '.join(names(certificate)) or 'no name'}, not for 127.0.0.1",
            "if the SuperLink listens on 127.0.0.1 its own processes connect to it there: "
            "issue it with IP:127.0.0.1 beside its public name",
        )
    ]


def worst(outcomes: list[Outcome]) -> Outcome:
    """All sentences of the worst kind that occurs, and their remedies, each once."""
    for status in ("failed", "warning", "ok"):
        chosen = [one for one in outcomes if one.status == status]
        if chosen:
            remedies = dict.fromkeys(one.remedy for one in chosen if one.remedy)
            return Outcome(chosen[0].status, "; ".join(one.text for one in chosen), "; ".join(remedies))
    raise ValueError("no outcome to choose from")
