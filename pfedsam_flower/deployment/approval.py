"""Which bundle may run here with which settings: what was asked for, and what somebody has allowed.

Both lie in the site's control folder: ``requests/<hash>/`` with the bundle and the settings, and
``approvals.json``. The hash is of bundle and settings together, so a change in either is asked for anew.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ..errors import ConsentError, StoreError
from ..settings.site import SiteSettings
from ..site.consent import control_folder
from ..site.files import write_whole
from . import rights
from .bundles import digest_of

KEPT = 20
"""Requests that nobody has allowed are kept up to this number, so that nobody can fill the site's disk."""
SHORTEST = 16
"""Digits that name a request to look at. To allow one takes all of them: whoever submits runs could make two
that begin alike."""
LARGEST_BUNDLE, LARGEST_SETTINGS = 10 * 1024 * 1024, 1024 * 1024
"""Bytes; Flower itself builds no larger bundle."""


@dataclass(frozen=True)
class Request:
    """A bundle that wanted to run here with these settings; ``since`` is when that was first."""

    hash: str
    bundle: str
    settings: dict[str, Any]
    run: str
    since: str


@dataclass(frozen=True)
class Approval:
    """That a request is allowed. Times are UTC in ISO form; ``expires`` "" is until it is withdrawn."""

    request: Request
    approved: str
    expires: str

    def holds(self, now: datetime) -> bool:
        """Whether it has not expired."""
        return not self.expires or now < datetime.fromisoformat(self.expires)


def request_hash(bundle: str, settings: Mapping[str, Any]) -> str:
    """SHA-256 of the bundle's hash and the settings, 64 hex digits."""
    whole = json.dumps([bundle, dict(settings)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(whole.encode()).hexdigest()


def check_approved(site: SiteSettings, bundle: bytes, settings: Mapping[str, Any], run: str) -> str:
    """The hash of an approved request; one that is not approved is kept for ``pfedsam site review``.

    Raises:
        ConsentError: PFS-701.
        StoreError: PFS-603, PFS-604; PFS-608 when somebody else could have written the approvals.
    """
    rights.refuse(rights.of_approvals(site), site.state)
    asked = request_hash(digest_of(bundle), settings)
    approval = approvals(site).get(asked)
    if approval is not None and approval.holds(datetime.now(UTC)):
        return asked
    if len(bundle) > LARGEST_BUNDLE or len(json.dumps(settings)) > LARGEST_SETTINGS:
        raise ConsentError(
            "PFS-701", f"a bundle of {len(bundle)} bytes, or its settings, are too large to keep"
        )
    _keep(site, Request(asked, digest_of(bundle), dict(settings), run, _now()), bundle)
    short = asked[:SHORTEST]
    said = f"its approval expired on {approval.expires[:10]}" if approval else "nobody has approved it"
    raise ConsentError("PFS-701", f"{short}: {said}", hint=f"pfedsam site review FILE {short}")


def approve(site: SiteSettings, whole: str, days: float | None) -> Approval:
    """Allows the request with this hash.

    Args:
        whole: all of it: what was reviewed, and nothing that only begins alike.
        days: after which it expires; 0 withdraws at once; None: until it is withdrawn.

    Raises:
        ConsentError: PFS-707 when it is not clear which request is meant.
        StoreError: PFS-603, PFS-604; PFS-608 where others could write approvals, too.
    """
    if days != 0:  # withdrawing is always possible
        rights.refuse(rights.of_approvals(site), site.state)
    if len(whole) != hashlib.sha256().digest_size * 2:
        raise ConsentError(
            "PFS-707",
            f"{whole!r} is not the whole hash, 64 digits",
            hint="'pfedsam site review FILE HASH' shows it in full, with the command that allows it",
        )
    request = find(site, whole)
    expires = "" if days is None else (datetime.now(UTC) + timedelta(days=days)).isoformat(timespec="seconds")
    approval = Approval(request, _now(), expires)
    _write(site, approvals(site) | {request.hash: approval})
    return approval


def withdraw_all(site: SiteSettings) -> int:
    """Forgets every approval and returns how many there were.

    Raises:
        StoreError: PFS-603, PFS-604.
    """
    n = len(approvals(site))
    _write(site, {})
    return n


def approvals(site: SiteSettings) -> dict[str, Approval]:
    """All approvals by hash, expired ones too.

    Raises:
        StoreError: PFS-603 when the file cannot be read: nothing is approved then.
    """
    path = control_folder(site) / "approvals.json"
    try:
        rows = json.loads(path.read_bytes())
        return {
            row["request"]["hash"]: Approval(Request(**row["request"]), row["approved"], row["expires"])
            for row in rows
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        hint = "remove the file and approve again"
        raise StoreError("PFS-603", "the approvals cannot be read", where=str(path), hint=hint) from error


def requests(site: SiteSettings) -> list[Request]:
    """What was asked for here, newest first."""
    found = []
    for path in (control_folder(site) / "requests").glob("*/request.json"):
        try:
            found.append(Request(**json.loads(path.read_bytes())))
        except (OSError, ValueError, TypeError):
            continue  # cut off by a crash: it is asked for again
    return sorted(found, key=lambda one: one.since, reverse=True)


def find(site: SiteSettings, digits: str) -> Request:
    """The one request whose hash begins with these hex digits.

    Raises:
        ConsentError: PFS-707.
    """
    if len(digits) < SHORTEST:
        raise ConsentError("PFS-707", f"{digits!r} is too short; name {SHORTEST} digits of the hash or more")
    fitting = [one for one in requests(site) if one.hash.startswith(digits.lower())]
    if len(fitting) != 1:
        said = f"{len(fitting)} requests begin with {digits}"
        raise ConsentError("PFS-707", said, hint="pfedsam site review FILE lists them")
    return fitting[0]


def bundle_of(site: SiteSettings, request: Request) -> bytes:
    """The bundle as it came.

    Raises:
        StoreError: PFS-603 when it is gone or is another one by now.
    """
    path = _folder(site, request.hash) / "bundle.fab"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StoreError("PFS-603", "the bundle is missing", where=str(path)) from error
    if digest_of(content) != request.bundle:
        raise StoreError("PFS-603", "the bundle is not the one that came", where=str(path))
    return content


def changes(settings: Mapping[str, Any], before: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """(key, before, now) of every setting that differs; None where there is none."""
    keys = sorted({*settings, *before})
    return [(k, before.get(k), settings.get(k)) for k in keys if before.get(k) != settings.get(k)]


def _keep(site: SiteSettings, request: Request, bundle: bytes) -> None:
    folder = _folder(site, request.hash)
    if (folder / "request.json").exists():
        return
    write_whole(folder / "bundle.fab", bundle)
    write_whole(folder / "request.json", json.dumps(asdict(request), indent=1).encode())
    allowed = approvals(site)
    for old in [one for one in requests(site) if one.hash not in allowed][KEPT:]:
        shutil.rmtree(_folder(site, old.hash), ignore_errors=True)


def _folder(site: SiteSettings, hash_: str) -> Path:
    return control_folder(site) / "requests" / hash_


def _write(site: SiteSettings, rows: Mapping[str, Approval]) -> None:
    content = json.dumps([asdict(row) for row in rows.values()], indent=1)
    write_whole(control_folder(site) / "approvals.json", content.encode())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
