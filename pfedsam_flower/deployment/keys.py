"""A site's key pair, as Flower's SuperNode authentication wants it: ECDSA on P-384 in OpenSSH's file format.

The key is made at the site, and its private half stays there. The coordinator gets the public half and
compares ten words of it on the phone.
"""

import base64
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ..errors import StoreError
from ..settings.sources import site_from_flat
from ..site.files import locked, write_whole
from .words import words


@dataclass(frozen=True)
class SiteKey:
    """Where a site's key pair lies, and the words of its public half."""

    private: Path
    public: Path
    words: str


def check_site_name(site: str) -> str:
    """``site``, if a site may be called so.

    Raises:
        SettingsError: PFS-102.
    """
    return site_from_flat({"site": site, "data": ".", "state": "."}, "--site").site


def make_site_key(folder: Path, site: str) -> SiteKey:
    """Writes ``<site>.key``, readable by its owner only, and ``<site>.pub``, to be sent to the coordinator.

    Raises:
        SettingsError: PFS-102 when a site may not be called so.
        StoreError: PFS-605 when one of the files is there already; PFS-604 when the folder cannot be used.
    """
    check_site_name(site)
    made = SiteKey(folder / f"{site}.key", folder / f"{site}.pub", "")
    with locked(folder):
        for path in (made.private, made.public):
            if path.exists():
                raise StoreError(
                    "PFS-605",
                    f"there is a {path.name} already; nothing was written",
                    where=str(folder),
                    hint=f"'pfedsam words {made.public}' says its words; for a new key, name another folder",
                )
        key = ec.generate_private_key(ec.SECP384R1())
        line = public_line(key.public_key())
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
        write_whole(made.private, private)
        write_whole(made.public, f"{line} {site}\n".encode(), 0o644)
    return SiteKey(made.private, made.public, key_words(line))


def public_line(key: ec.EllipticCurvePublicKey) -> str:
    """A public key as OpenSSH writes it, without a comment: ``ecdsa-sha2-nistp384 AAAA...``."""
    text = key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return text.decode("ascii")


def read_public_key(path: Path) -> str:
    """The line of an OpenSSH public key file, without its comment.

    Raises:
        StoreError: PFS-605 when it is not the public key of a site.
    """
    try:
        key = serialization.load_ssh_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise _not_a_public_key(path) from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise _not_a_public_key(path)
    return public_line(key)


def key_words(line: str) -> str:
    """The words of a public key: the first 80 bits of the fingerprint that ``ssh-keygen -l`` prints."""
    return words(base64.b64decode(line.split()[1]))


def file_words(path: Path) -> str:
    """The words of a site's public key or of a certificate (those of all its content).

    Raises:
        StoreError: PFS-605 when the file is neither, or holds more than one certificate.
    """
    try:
        is_certificate = b"CERTIFICATE" in path.read_bytes()
    except OSError:
        is_certificate = False
    if not is_certificate:
        return key_words(read_public_key(path))
    return words(one_certificate(path).public_bytes(serialization.Encoding.DER))


def one_certificate(path: Path) -> x509.Certificate:
    """The certificate of a file that holds one and nothing else.

    Who trusts a file trusts every certificate in it, so the words of the first would say nothing of the rest.

    Raises:
        StoreError: PFS-605.
    """
    hint = "it has to be ca.crt as 'pfedsam certs' made it, and its words those of the coordinator"
    try:
        content = path.read_bytes()
        first, *more = x509.load_pem_x509_certificates(content)
    except (OSError, ValueError) as error:
        raise StoreError("PFS-605", "this is not a certificate (PEM)", where=str(path), hint=hint) from error
    alone = first.public_bytes(serialization.Encoding.PEM)
    if more:
        text = f"the file holds {1 + len(more)} certificates: every one of them would be trusted"
        raise StoreError("PFS-605", text, where=str(path), hint=hint)
    if b"".join(content.split()) != b"".join(alone.split()):  # another reader might find one in there
        text = "the file holds something beside the certificate; its PEM block alone may be there"
        raise StoreError("PFS-605", text, where=str(path), hint=hint)
    return first


def _not_a_public_key(path: Path) -> StoreError:
    return StoreError(
        "PFS-605",
        "this is not the public key of a site (OpenSSH format, ECDSA)",
        where=str(path),
        hint="'pfedsam site-key' makes one at the site; its .pub file is wanted",
    )
