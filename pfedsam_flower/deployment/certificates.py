"""The federation's certificate authority and the SuperLink's certificate, for TLS.

A site trusts this authority alone, not those of its operating system: nobody else can issue a certificate
for the SuperLink that a site would take. Times are UTC.
"""

import ipaddress
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..errors import SettingsError, StoreError
from ..site.files import locked, write_whole
from .keys import one_certificate

AUTHORITY, AUTHORITY_KEY = "ca.crt", "ca.key"
CERTIFICATE, KEY = "superlink.crt", "superlink.key"
AUTHORITY_DAYS, CERTIFICATE_DAYS = 3650, 397
LOOPBACK = ("localhost", "127.0.0.1")
"""Always in the certificate: the SuperLink's own programs reach it there."""

LABEL = r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)"
DNS_NAME = re.compile(rf"(?=.{{1,253}}$){LABEL}(\.{LABEL})*")


@dataclass(frozen=True)
class Certificates:
    """What a folder of certificates holds."""

    folder: Path
    authority: x509.Certificate
    certificate: x509.Certificate

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names and addresses that the SuperLink's certificate is for."""
        names = self.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return tuple(str(name.value) for name in names)


def make_certificates(folder: Path, hosts: list[str], *, now: datetime | None = None) -> Certificates:
    """Writes a new authority and a certificate for ``hosts``, loopback included.

    Args:
        folder: receives ``ca.crt`` (for every site), ``ca.key``, ``superlink.crt``, ``superlink.key``;
            only the owner may read the keys.
        hosts: DNS names or IP addresses under which sites reach the SuperLink.
        now: the time of issue, for tests.

    Raises:
        SettingsError: PFS-104 when a host cannot stand in a certificate.
        StoreError: PFS-605 when one of the files is there already; PFS-604 when the folder cannot be used.
    """
    now = now or datetime.now(UTC)
    names = _names(hosts)
    with locked(folder):
        for name in (AUTHORITY, AUTHORITY_KEY, CERTIFICATE, KEY):
            if (folder / name).exists():
                raise StoreError(
                    "PFS-605",
                    f"there is a {name} already; nothing was written",
                    where=str(folder),
                    hint="--renew issues a new certificate from the same authority; for a new authority, "
                    "which every site must then be given, name another folder",
                )
        authority_key, key = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP384R1())
        authority = _authority(authority_key, now)
        certificate = _certificate(key.public_key(), names, authority, authority_key, now)
        write_whole(folder / AUTHORITY_KEY, _pem(authority_key))
        write_whole(folder / AUTHORITY, authority.public_bytes(serialization.Encoding.PEM), 0o644)
        write_whole(folder / KEY, _pem(key))
        write_whole(folder / CERTIFICATE, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    return Certificates(folder, authority, certificate)


def renew_certificate(folder: Path, hosts: list[str], *, now: datetime | None = None) -> Certificates:
    """Replaces ``superlink.crt`` by one with new dates, for the same key, from the same authority.

    Args:
        hosts: as above; empty: those of the present certificate.

    Raises:
        SettingsError: PFS-104.
        StoreError: PFS-605 when a file is missing, damaged, does not belong to the others, or the authority
            has expired; PFS-604 when the folder cannot be used.
    """
    now = now or datetime.now(UTC)
    with locked(folder):
        old = read_certificates(folder)
        one_certificate(folder / AUTHORITY)
        names = _names(hosts or list(old.hosts))
        keys = [_private_key(folder / name) for name in (AUTHORITY_KEY, KEY)]
        for key, issued in zip(keys, (old.authority, old.certificate), strict=True):
            if key.public_key() != issued.public_key():
                raise StoreError("PFS-605", "keys and certificates do not belong together", where=str(folder))
        if old.authority.not_valid_after_utc <= now:
            raise StoreError(
                "PFS-605",
                f"the authority has expired on {old.authority.not_valid_after_utc:%Y-%m-%d}",
                where=str(folder / AUTHORITY),
                hint="make a new one in another folder and give its ca.crt to every site",
            )
        certificate = _certificate(keys[1].public_key(), names, old.authority, keys[0], now)
        write_whole(folder / CERTIFICATE, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    return Certificates(folder, old.authority, certificate)


def read_certificates(folder: Path) -> Certificates:
    """The authority and the certificate of a folder.

    Raises:
        StoreError: PFS-605 when a file is missing or not a certificate.
    """
    return Certificates(folder, read_certificate(folder / AUTHORITY), read_certificate(folder / CERTIFICATE))


def read_certificate(path: Path) -> x509.Certificate:
    """The first certificate of a PEM file.

    Raises:
        StoreError: PFS-605.
    """
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StoreError("PFS-605", "this is no certificate that can be read", where=str(path)) from error


def _private_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """An unencrypted private key on an elliptic curve.

    Raises:
        StoreError: PFS-605 when it is missing or something else.
    """
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise StoreError("PFS-605", "this is no private key that can be read", where=str(path)) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise StoreError("PFS-605", "the private key is of another kind", where=str(path))
    return key


def _names(hosts: list[str]) -> list[x509.GeneralName]:
    """Each host once, loopback last.

    Raises:
        SettingsError: PFS-104 with every host that cannot be used.
    """
    problems: list[str] = []
    names: list[x509.GeneralName] = []
    for host in dict.fromkeys([*hosts, *LOOPBACK]):
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            if DNS_NAME.fullmatch(host) and not host.rpartition(".")[2].isdigit():
                names.append(x509.DNSName(host.lower()))
            else:
                problems.append(f"{host!r} is no DNS name and no IP address (no port, no https://, no *)")
        else:
            names.append(x509.IPAddress(address))
            if address.is_unspecified:
                problems.append(f"{host} is where a program listens, not an address that a site can reach")
    if not hosts:
        problems.append("no host is named")
    if problems:
        raise SettingsError(
            "PFS-104",
            "a certificate cannot be made for these hosts: " + "; ".join(problems),
            hint="name what sites will type, for example --host fl.example.org --host 192.0.2.10",
            counts={"faults": len(problems)},
        )
    return names


def _authority(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"pFedSAM federation, {now:%Y-%m-%d}")])
    usage = _usage(key_cert_sign=True, crl_sign=True)
    builder = (
        _builder(subject, subject, key.public_key(), now, now + timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
    )
    return builder.sign(key, hashes.SHA384())


def _certificate(
    key: ec.EllipticCurvePublicKey,
    names: list[x509.GeneralName],
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    now: datetime,
) -> x509.Certificate:
    """The SuperLink's certificate; it does not outlive its authority."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pFedSAM SuperLink")])
    until = min(now + timedelta(days=CERTIFICATE_DAYS), authority.not_valid_after_utc)
    issuer_id = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        _builder(subject, authority.subject, key, now, until)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_id), critical=False
        )
    )
    return builder.sign(authority_key, hashes.SHA384())


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # a site's clock may be a little slow
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(**allowed: bool) -> x509.KeyUsage:
    kinds = "digital_signature content_commitment key_encipherment data_encipherment key_agreement"
    kinds += " key_cert_sign crl_sign encipher_only decipher_only"
    return x509.KeyUsage(**{kind: allowed.get(kind, False) for kind in kinds.split()})


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
