"""Which sites may take part: names, node ids and keys, in the coordinator's file and in Flower's table.

Flower admits a SuperNode by its key and forgets the name that it was registered under: its list has node ids
alone. So the file is what says that a node is the site *north*. Flower is asked first and the file written
afterwards; `overview` shows where the two differ.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import FederationError
from ..federation.enrolled import Enrolled, Register, read_enrolled
from ..site.files import locked, write_whole
from . import flower
from .certificates import AUTHORITY, read_certificate
from .keys import check_site_name, key_words, read_public_key
from .proxies import direct, without_proxies
from .words import COUNT, differing

REGISTER = "enrolled.json"
UNREGISTERED = "unregistered"


@dataclass(frozen=True)
class Row:
    """A SuperNode as the coordinator's file and Flower see it.

    Attributes:
        site: empty for a node that Flower admits and the file does not have.
        status: ``registered``, ``online``, ``offline``, ``unregistered``, or ``unknown`` to Flower.
    """

    site: str
    node_id: int
    status: str
    words: str
    enrolled: datetime | None
    revoked: datetime | None

    @property
    def remark(self) -> str:
        """What is wrong with it; empty when file and Flower agree."""
        admitted = self.status not in (UNREGISTERED, "unknown")
        if not self.site:
            return "not enrolled here, and yet admitted: revoke it, with --node" if admitted else ""
        if self.revoked:
            return "revoked, and yet admitted: revoke it again, with --node" if admitted else ""
        if self.status == "unknown":
            return "the SuperLink has forgotten it: enrol the same key again"
        return "" if admitted else "shut out by other means: revoke it here too"


def enrol(folder: Path, superlink: str, site: str, key_file: Path, heard: str) -> Enrolled:
    """Admits a site's key, if the words that the site read out are those of the key.

    A key that is enrolled, and that the SuperLink has forgotten with its database, is admitted again.

    Args:
        folder: of the certificates; the register is kept there.
        superlink: HOST:PORT where the SuperLink answers the coordinator.
        heard: the words as the site read them out.

    Raises:
        SettingsError: PFS-102 when a site may not be called so.
        FederationError: PFS-508 when words differ or name or key are taken; PFS-507 when Flower refuses.
        StoreError: PFS-605, PFS-603, PFS-604 for key, register, folder.
    """
    check_site_name(site)
    key = read_public_key(key_file)
    _check_words(heard, key, key_file)
    with _open(folder) as register, _flower(folder, superlink) as call:
        old = register.of(site)
        if old and (old.key != key or old.node_id in flower.nodes(**call)):
            raise FederationError(
                "PFS-508",
                f"{site} is enrolled already",
                hint=f"for a new key, first: pfedsam revoke {folder} --site {site}",
            )
        if taken := next((one for one in register.sites if one.key == key and one is not old), None):
            raise FederationError(
                "PFS-508",
                f"this is the key of {taken.site}" + (", and it was revoked" if taken.revoked else ""),
                where=str(key_file),
                hint="every site makes a key of its own, and a new one after a revocation: pfedsam site-key",
            )
        new = Enrolled(site=site, node_id=_register(key, site, key_file, call), key=key, enrolled=_now())
        _write(folder, [*(one for one in register.sites if one is not old), new])
    return new


def revoke(folder: Path, superlink: str, *, site: str = "", node_id: int = 0) -> tuple[int, bool]:
    """Shuts a site out, by its name or its node id; its key cannot be enrolled again.

    Returns:
        The node id, and whether Flower had admitted it until now.

    Raises:
        FederationError: PFS-508 when there is no such site or node; PFS-507 when Flower refuses.
        StoreError: PFS-603, PFS-604, PFS-605 for register and folder.
    """
    with _open(folder) as register:
        one = register.of(site) if site else next((o for o in register.sites if o.node_id == node_id), None)
        if one is None and site:
            names = ", ".join(sorted(o.site for o in register.sites if not o.revoked)) or "none"
            raise FederationError("PFS-508", f"no site {site!r} is enrolled", hint=f"enrolled are: {names}")
        node_id = one.node_id if one else node_id
        with _flower(folder, superlink) as call:
            status = flower.nodes(**call).get(node_id)
            if one is None and status is None:
                raise FederationError("PFS-508", f"neither Flower nor the register has a node {node_id}")
            admitted = status not in (None, UNREGISTERED)
            if admitted:
                flower.unregister_node(node_id, **call)
        if one and not one.revoked:
            ended = one.model_copy(update={"revoked": _now()})
            _write(folder, [ended if o is one else o for o in register.sites])
    return node_id, admitted


def overview(folder: Path, superlink: str) -> list[Row]:
    """Every SuperNode that the register or Flower knows, sites first, in the order in which they came.

    Raises:
        FederationError: PFS-507 when the SuperLink does not answer.
        StoreError: PFS-603, PFS-604, PFS-605 for register and folder.
    """
    with _open(folder) as register, _flower(folder, superlink) as call:
        found = flower.nodes(**call)
    rows = [
        Row(o.site, o.node_id, found.pop(o.node_id, "unknown"), key_words(o.key), o.enrolled, o.revoked)
        for o in register.sites
    ]
    return rows + [Row("", node_id, status, "", None, None) for node_id, status in found.items()]


def read_register(folder: Path) -> Register:
    """The coordinator's file; an empty register when there is none yet.

    Raises:
        StoreError: PFS-603 when it is damaged.
    """
    return read_enrolled(folder / REGISTER) or Register()


def _register(key: str, site: str, key_file: Path, call: dict[str, Any]) -> int:
    public = call["cwd"] / "site.pub"
    public.write_text(f"{key}\n", encoding="ascii")
    try:
        return flower.register_node(public, site, **call)
    except FederationError as error:
        if "already in use" not in error.message:
            raise
        raise FederationError(
            "PFS-508",
            "Flower has had this key before, under a name that it does not tell",
            where=str(key_file),
            hint="let the site make a new key; 'pfedsam enrol FOLDER' lists what is admitted, known or not",
        ) from error


def _write(folder: Path, sites: list[Enrolled]) -> None:
    plain = Register(sites=tuple(sites)).model_dump(mode="json")
    write_whole(folder / REGISTER, (json.dumps(plain, indent=2) + "\n").encode())


def _check_words(heard: str, key: str, key_file: Path) -> None:
    wrong = differing(heard, key_words(key))
    if not heard.strip():
        raise FederationError(
            "PFS-508",
            "the key is not enrolled without the words of its site",
            where=str(key_file),
            hint="call the site on a number that you have from elsewhere, let it read out its "
            f"{COUNT} words (pfedsam words), and give them with --words",
        )
    if wrong:
        places = ", ".join(map(str, wrong))
        raise FederationError(
            "PFS-508",
            f"the words that were read out are not those of this key: number {places} of {COUNT}",
            where=str(key_file),
            hint="a slip of the tongue is one word; otherwise this is not the file that the site made",
            counts={"words": len(wrong)},
        )


@contextmanager
def _open(folder: Path) -> Iterator[Register]:
    """The register, for this process alone; nothing is made where there are no certificates."""
    read_certificate(folder / AUTHORITY)
    with locked(folder, wait_s=10.0):
        yield read_register(folder)


@contextmanager
def _flower(folder: Path, superlink: str) -> Iterator[dict[str, Any]]:
    """Environment and working folder for Flower's commands: over TLS, no proxy, nothing sent elsewhere."""
    with tempfile.TemporaryDirectory(prefix="pfs-") as name:
        home = Path(name)
        flower.write_connection(home, superlink, folder / AUTHORITY)
        host = superlink.rpartition(":")[0].strip("[]")
        quiet = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "FLWR_HOME": name}
        env = without_proxies(os.environ) | quiet | direct({}, host)
        yield {"env": env, "cwd": home}


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
