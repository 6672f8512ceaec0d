"""The site's door: every message of a run comes in and goes out here.

In: is the site willing, and is this within its own limits. Out: what leaves is in the journal first, refusals
and error texts too. One of Flower's mods, so that no part of the app can go round it.
"""

import json
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from logging import ERROR, WARNING
from typing import Any

from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import ClientAppCallable, Mod
from flwr.common.logger import log

from ..contract.messages import HelloReply, PreflightReply, Record, Refusal, RoundReply
from ..contract.software import software
from ..errors import ConsentError, ContractError, PfedsamError
from ..settings.site import SiteSettings
from ..settings.sources import settings_digest
from ..site import consent, journal
from ..site.paths import journal_path
from .preflight import PREFLIGHT
from .records import content, packed_of, wire_bytes

LAUNCHER = "PFEDSAM_LAUNCHER"
"""Set by ``pfedsam site start``: a bundle may only run if the launcher has admitted it."""
ADMITTED = "PFEDSAM_ADMITTED"
"""Set by the launcher, in the process that works on one message: what was approved."""

FEDERATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
PUBLIC = re.compile(r"PFS-\d{3} [^\n/\\]*")
WhichSite = Callable[[Context], SiteSettings]


def door(which: WhichSite, closed: PfedsamError | None = None) -> Mod:
    """The mod for an app whose site ``which`` tells; a ``closed`` one answers all with that refusal."""

    def through(message: Message, context: Context, call: ClientAppCallable) -> Message:
        site = _known(which, context)
        if site is None:  # the app will say what is wrong with the site's settings
            try:
                return call(message, context)
            except ConsentError as error:
                raise RuntimeError(error.public()) from None
        asked = words_in(message)
        try:
            if closed is not None:
                raise closed
            check_in(message, asked, site)
            reply = call(message, context)
            said = words_in(reply)
            _check_patients(message, said, site)
        except ConsentError as error:
            log(WARNING, "%s: %s", site.site, error.local())
            reply = refusal(message, asked, site, error)
            said = words_in(reply)
        except Exception as error:
            shown = _public(error)
            text = f"{type(shown)}:<'{shown}'>"  # as Flower sends it
            _note(site, asked, context, "error", {"text": text}, len(text.encode()))
            raise shown from None
        _note(site, asked, context, _kind(message), said, wire_bytes(reply))
        return reply

    return through


def closed_app(which: WhichSite, error: PfedsamError) -> ClientApp:
    """An app that answers every message with this refusal, and does nothing else."""

    def refuse(message: Message, context: Context) -> Message:
        raise error

    app = ClientApp(mods=[door(which, error)])
    app.query()(refuse)
    app.query(PREFLIGHT)(refuse)
    app.train()(refuse)
    return app


def words_in(message: Message) -> dict[str, Any]:
    """The words of a message, whatever they are; {} when there are none that can be read in one way only."""
    try:
        body: Any = message.content.config_records["words"]["json"]
        found = json.loads(body, object_pairs_hook=_once_each)
    except (KeyError, TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):  # another reader might take the other one
        raise ValueError("a name stands twice")
    return found


def settings_in(words: dict[str, Any]) -> dict[str, Any]:
    """The run's settings as a request brought them; {} when there are none."""
    flat = words.get("settings")
    return flat if isinstance(flat, dict) else {}


def check_in(message: Message, asked: dict[str, Any], site: SiteSettings) -> None:
    """Nothing to do while the site allows the message.

    Raises:
        ConsentError: PFS-701 … PFS-705.
    """
    if os.environ.get(LAUNCHER) and not os.environ.get(ADMITTED):
        raise ConsentError("PFS-701", "this app was not started by the site's launcher", where="PATH")
    consent.check_willing(site)
    kind = _kind(message)
    alone = "PFEDSAM_IN_PROCESS" not in os.environ and "PFEDSAM_SITES" not in os.environ
    if kind == "hello" and alone and not os.environ.get(LAUNCHER):
        log(
            WARNING,
            "%s: approval is off, every run is worked on; `pfedsam site start` turns it on",
            site.site,
        )
    if kind in ("train", "close"):
        try:
            packed = packed_of(message)
            key = consent.work_key(_federation(asked), asked, settings_digest(settings_in(asked)))
        except (ContractError, TypeError, ValueError):
            return  # the app will say what is wrong with the request
        size = 0 if packed is None or kind == "close" else packed.nbytes
        consent.check_round(site, consent.Work(key, size), datetime.now().astimezone())


def _check_patients(message: Message, said: dict[str, Any], site: SiteSettings) -> None:
    n = said.get("n_train_patients")
    if isinstance(n, int) and not said.get("refusal") and n < site.minimum_patients:
        raise ConsentError(
            "PFS-706",
            f"{n} patients to train on; minimum-patients is {site.minimum_patients}",
        )


def refusal(message: Message, asked: dict[str, Any], site: SiteSettings, error: PfedsamError) -> Message:
    """The reply that says why the site does not do what it was asked; the public text only."""
    kind = _kind(message)
    said = Refusal(code=error.code, text=error.public())
    reply: Record
    if kind == "preflight":
        reply = PreflightReply(site=site.site, refused=error.code)
    elif kind == "hello":
        none = dict.fromkeys(("n_train_patients", "n_validation_patients", "n_test_patients"), 0)
        reply = HelloReply(site=site.site, software=software(), refusal=said, **none)
    else:
        reply = RoundReply(
            kind="close" if kind == "close" else "train",
            site=site.site,
            round=_number(asked),
            contract=str(asked.get("contract", "")),
            broadcast=str(asked.get("broadcast", "")),
            refusal=said,
        )
    return Message(content(reply), reply_to=message)


def _kind(message: Message) -> str:
    """``hello``, ``preflight``, ``train`` or ``close``."""
    category, _, action = message.metadata.message_type.partition(".")
    if category == "query":
        return "preflight" if action == PREFLIGHT else "hello"
    return "close" if words_in(message).get("kind") == "close" else "train"


def _number(asked: dict[str, Any]) -> int:
    number = asked.get("round")
    return number if isinstance(number, int) and number > 0 else 1


def _public(error: Exception) -> RuntimeError:
    """The error whose text Flower may send: code and title, nothing else."""
    if isinstance(error, RuntimeError) and PUBLIC.fullmatch(str(error)):
        return error  # the app has seen to it
    log(ERROR, "%s", error.local() if isinstance(error, PfedsamError) else repr(error), exc_info=error)
    known = error if isinstance(error, PfedsamError) else PfedsamError("PFS-506", type(error).__name__)
    return RuntimeError(known.public())


def _known(which: WhichSite, context: Context) -> SiteSettings | None:
    try:
        return which(context)
    except PfedsamError:
        return None


def _federation(asked: dict[str, Any]) -> str:
    """The federation's name, or "" where it is none that may be a folder's name."""
    name = settings_in(asked).get("federation.name")
    return name if isinstance(name, str) and FEDERATION.fullmatch(name) else ""


def _note(
    site: SiteSettings, asked: dict[str, Any], context: Context, kind: str, said: dict[str, Any], n_bytes: int
) -> None:
    """One line in the journal: when, for whom, how much, and the very words."""
    federation = _federation(asked)
    path = journal_path(site, federation) if federation else consent.control_folder(site) / "sent.jsonl"
    again = kind in ("train", "close") and any(entry.get("words") == said for entry in journal.read(path))
    entry = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "federation": federation,
        "run": str(context.run_id),
        "kind": kind,
        "round": said.get("round", 0),
        "again": again,
        "bytes": n_bytes,
        "settings": settings_digest(settings_in(asked)),
        "approval": os.environ.get(ADMITTED, ""),
        "words": said,
    }
    try:
        journal.append(path, entry)
    except PfedsamError as error:
        log(ERROR, "%s", error.local())
        raise RuntimeError(error.public()) from None
