"""What the doctor's tests ask: an authority, and small servers on loopback."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pfedsam_flower.deployment.doctor import network
from pfedsam_flower.deployment.doctor.network import Link

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
