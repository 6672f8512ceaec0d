"""What the hospital allows at the moment: pause, leave, hours, amounts in a day. Looked at for every message.

The signs are files in the site's state folder, so that they hold whatever process looks, and a hand can set
them: an empty file called ``STOP`` is enough.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import ConsentError, StoreError
from ..settings.site import SiteSettings
from . import journal
from .files import write_whole

STOP = "STOP"
LEFT = "LEFT"
MB = 1_000_000
FRUITLESS = ("PFS-403", "PFS-506", "PFS-510")
"""Not finite, failed, too little memory: there may have been hours of work before."""
WorkKey = tuple[str, str, int, str, str]


def control_folder(site: SiteSettings) -> Path:
    """Where approvals, signs and the SuperNode's files of a site lie; no federation can be called so."""
    return Path(site.state) / "_site" / site.site


def journals(site: SiteSettings) -> list[Path]:
    """All journals of the site, one per federation, and one of messages that belong to none."""
    return sorted(Path(site.state).glob(f"*/{site.site}/sent.jsonl"))


def stop_files(site: SiteSettings) -> tuple[Path, Path]:
    """The sign of this site, set by ``pause``; and the one for every site with this state folder."""
    return control_folder(site) / STOP, Path(site.state) / STOP


def pause(site: SiteSettings) -> Path:
    """Sets the sign that stops all work, also what is being done, and returns where it is.

    Raises:
        StoreError: PFS-604 when it cannot be written.
    """
    sign = stop_files(site)[0]
    write_whole(sign, b"")
    return sign


def resume(site: SiteSettings) -> list[Path]:
    """Removes the signs of ``pause`` and ``leave``; returns those that still stand, set by hand for all.

    Raises:
        StoreError: PFS-604 when a sign cannot be removed.
    """
    own, common = stop_files(site)
    for sign in (own, control_folder(site) / LEFT):
        try:
            sign.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError("PFS-604", f"cannot be removed: {error.strerror}", where=str(sign)) from error
    return [common] if common.exists() else []


def leave(site: SiteSettings) -> None:
    """Sets the sign that the site has left.

    Raises:
        StoreError: PFS-604 when it cannot be written.
    """
    write_whole(control_folder(site) / LEFT, b"")


def check_willing(site: SiteSettings) -> None:
    """Nothing to do while neither sign is set.

    Raises:
        ConsentError: PFS-702 paused, PFS-703 left.
    """
    left = control_folder(site) / LEFT
    if left.exists():
        raise ConsentError(
            "PFS-703", f"{site.site} has left", where=str(left), hint="see pfedsam site resume"
        )
    for sign in stop_files(site):
        if sign.exists():
            hint = "pfedsam site resume" if sign == stop_files(site)[0] else "remove the file to go on"
            raise ConsentError("PFS-702", f"{site.site} is paused", where=str(sign), hint=hint)


@dataclass(frozen=True)
class Work:
    """A round that is asked for.

    Attributes:
        key: what makes it the same round when it is asked for again, see ``work_key``.
        n_bytes: about how much its reply will hold.
    """

    key: WorkKey
    n_bytes: int


def work_key(federation: str, words: dict[str, Any], settings: str) -> WorkKey:
    """Federation, kind, round, digests of broadcast and settings; of a request and its reply alike."""
    kind, number = str(words.get("kind")), int(words.get("round", 0))
    return federation, kind, number, str(words.get("broadcast")), settings


def check_patients(site: SiteSettings, n_train: int) -> None:
    """Nothing to do while the site has as many patients to train on as it asks of itself.

    Raises:
        ConsentError: PFS-706; the number itself is not told.
    """
    if n_train < site.minimum_patients:
        raise ConsentError(
            "PFS-706", f"{n_train} patients to train on; minimum-patients is {site.minimum_patients}"
        )


def check_round(site: SiteSettings, work: Work, now: datetime) -> None:
    """Nothing to do while the round is within the site's hours and amounts.

    A round that was answered today may be answered again: it is not worked on twice, though it is sent twice.
    With other settings it is another round.

    Args:
        now: with the site's time zone.

    Raises:
        ConsentError: PFS-704, PFS-705, PFS-708.
    """
    if not (site.hours or site.rounds_a_day or site.mb_a_day or site.broadcasts_a_round):
        return
    entries = [entry for path in journals(site) for entry in journal.read(path)]
    _check_broadcasts(site, work, entries)
    today = sent_on(now, entries)
    rounds = [entry for entry in today if entry.get("kind") in ("train", "close")]
    done = {_key_of(entry) for entry in rounds if not entry["words"].get("refusal")}
    n_rounds = len(done) + sum(_failed(entry["words"].get("refusal")) for entry in rounds)
    n_bytes = sum(int(entry.get("bytes", 0)) for entry in today)
    if site.mb_a_day and n_bytes + work.n_bytes > site.mb_a_day * MB:
        raise ConsentError(
            "PFS-705",
            f"{n_bytes / MB:.1f} MB have left today, and this reply has {work.n_bytes / MB:.1f} MB; "
            f"mb-a-day is {site.mb_a_day:g}",
        )
    if work.key in done:
        return
    if site.rounds_a_day and n_rounds >= site.rounds_a_day:
        raise ConsentError(
            "PFS-705", f"{n_rounds} rounds were worked on today; rounds-a-day is {site.rounds_a_day}"
        )
    if not within(site.hours, now.hour):
        raise ConsentError("PFS-704", f"it is {now:%H:%M}, and hours is {site.hours}")


def _key_of(entry: dict[str, Any]) -> WorkKey:
    return work_key(str(entry.get("federation")), entry["words"], str(entry.get("settings")))


def _check_broadcasts(site: SiteSettings, work: Work, entries: list[dict[str, Any]]) -> None:
    """Of all days: each further broadcast is another question to the same patients."""
    worked = [
        _key_of(entry)
        for entry in entries
        if entry.get("kind") in ("train", "close")
        and isinstance(entry.get("words"), dict)
        and isinstance(entry["words"].get("round", 0), int)
        and (not entry["words"].get("refusal") or _failed(entry["words"]["refusal"]))
    ]
    same = {key for key in worked if key[:3] == work.key[:3]}
    if site.broadcasts_a_round and work.key not in same and len(same) >= site.broadcasts_a_round:
        raise ConsentError(
            "PFS-708",
            f"round {work.key[2]} of {work.key[0]} was worked on with {len(same)} different shared "
            f"parameters or settings; broadcasts-a-round is {site.broadcasts_a_round}",
            hint="ask the coordinator why it asks again; then raise broadcasts-a-round",
        )


def _failed(refusal: Any) -> bool:
    """Whether a round was worked on and came to nothing; other refusals come before the work."""
    return isinstance(refusal, dict) and refusal.get("code") in FRUITLESS


def sent_on(day: datetime, entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Entries of journals with the date of ``day``, by its time zone; odd lines are left to ``site sent``."""
    found = []
    for entry in entries:
        try:
            when = datetime.fromisoformat(entry["time"]).astimezone(day.tzinfo)
            numbers = (entry.get("bytes", 0), entry["words"].get("round", 0))
        except (KeyError, TypeError, ValueError, AttributeError):
            continue
        if when.date() == day.date() and all(isinstance(number, int) for number in numbers):
            found.append(entry)
    return found


def within(hours: str, hour: int) -> bool:
    """Whether an hour of the day (0..23) is within ``18-6`` or the like; the end is not; "" is always."""
    if not hours:
        return True
    first, last = (int(part) for part in hours.split("-"))
    return first <= hour < last if first < last else hour >= first or hour < last
