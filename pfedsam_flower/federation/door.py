"""The site's door: every message of a run comes in and goes out here.

In: can it be read, is the site willing, and is this within its own limits. Out: what leaves is in the journal
first, refusals and error texts too. It stands before Flower's own choice of a function by the message's type,
so a type that nobody registered is refused here as well, and no part of the app can go round it.
"""

import os
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from logging import ERROR, WARNING
from pathlib import Path
from typing import Any

from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.common.logger import log

from ..contract.messages import (
    HelloReply,
    JournalHead,
    PreflightReply,
    Record,
    Refusal,
    RoundReply,
    RoundRequest,
)
from ..contract.methods import METHODS
from ..contract.software import software
from ..errors import ConsentError, PfedsamError, StoreError
from ..settings.site import SiteSettings
from ..settings.sources import settings_digest
from ..site import consent, generations, journal
from ..site.extent import check_run, check_size
from ..site.paths import journal_path, store_folder
from ..site.whole import check_journals, compare
from .asked import Asked, read, words_in
from .deadline import UNREADABLE_S, ended_after
from .records import arrays_bytes, content, packed_bytes, wire_bytes, words_of

LAUNCHER = "PFEDSAM_LAUNCHER"
"""Set by ``pfedsam site start``: a bundle may only run if the launcher has admitted it."""
ADMITTED = "PFEDSAM_ADMITTED"
"""Set by the launcher, in the process that works on one message: what was approved."""

UNFIT = ("PFS-606", "PFS-607")
"""State or journal are not those that the site has left: the reply says so, as of what is not allowed."""
PUBLIC = re.compile(r"PFS-\d{3} [^\n/\\]*")
WhichSite = Callable[[Context], SiteSettings]


class SiteApp(ClientApp):
    """A ClientApp whose messages all pass the door of the site that ``which`` tells.

    Args:
        closed: answers every message with this refusal instead of working on it.
    """

    def __init__(self, which: WhichSite, closed: PfedsamError | None = None) -> None:
        super().__init__()
        self._which, self._closed = which, closed

    def __call__(self, message: Message, context: Context) -> Message:
        """The answer, which stands in the journal; or ``RuntimeError`` with a public text, which does too."""
        try:
            site = self._which(context)
        except Exception as error:  # without settings there is no site, and no journal
            raise _public(error) from None
        asked = read(message)
        seconds = UNREADABLE_S if asked.words is None else asked.words.deadline_s
        with ended_after(seconds, context, f"{site.site}: {asked.kind or 'a message'}"):
            return self._through(message, context, asked, site)

    def _through(self, message: Message, context: Context, asked: Asked, site: SiteSettings) -> Message:
        try:
            reply = self._answered(message, context, asked, site)
        except Exception as error:
            shown = _public(error)
            text = f"{type(shown)}:<'{shown}'>"  # as Flower sends it
            _note(site, asked, context, "error", {"text": text}, len(text.encode()))
            raise shown from None
        with suppress(PfedsamError):  # then the refusal says what is wrong with the journal
            _stamp(reply, asked, site)
        _note(site, asked, context, asked.kind, words_in(reply), wire_bytes(reply))
        return reply

    def _answered(self, message: Message, context: Context, asked: Asked, site: SiteSettings) -> Message:
        try:
            if self._closed is not None:
                raise self._closed
            check_in(message, asked, site)
            reply = super().__call__(message, context)
            _check_patients(words_in(reply), site)
        except (ConsentError, StoreError) as error:
            if isinstance(error, StoreError) and error.code not in UNFIT:
                raise
            log(WARNING, "%s: %s", site.site, error.local())
            if asked.words is None and asked.kind not in ("hello", "preflight"):
                raise  # a refusal of a round repeats which one it was
            return refusal(message, asked, site, error)
        return reply


def closed_app(which: WhichSite, error: PfedsamError) -> ClientApp:
    """An app that answers every message with this refusal, and does nothing else."""
    return SiteApp(which, error)


def check_in(message: Message, asked: Asked, site: SiteSettings) -> None:
    """Nothing to do while the site allows the message.

    Raises:
        ConsentError: PFS-701 … PFS-705, PFS-708, PFS-709.
        ContractError: PFS-404 it cannot be read.
        StoreError: PFS-603 and PFS-604 state or journal cannot be read, PFS-606, PFS-607.
    """
    if os.environ.get(LAUNCHER) and not os.environ.get(ADMITTED):
        raise ConsentError("PFS-701", "this app was not started by the site's launcher", where="PATH")
    consent.check_willing(site)
    if asked.fault is not None:
        raise asked.fault
    check_size(site, arrays_bytes(message))
    check_run(site, asked.settings)
    check_journals(site)
    store = _store(site, asked)
    if store is not None:
        generations.check_not_set_back(store, journal.stores(journal_path(site, asked.federation)))
    alone = "PFEDSAM_IN_PROCESS" not in os.environ and "PFEDSAM_SITES" not in os.environ
    if asked.kind == "hello" and alone and not os.environ.get(LAUNCHER):
        log(
            WARNING,
            "%s: approval is off, every run is worked on; `pfedsam site start` turns it on",
            site.site,
        )
    if isinstance(asked.words, RoundRequest):
        seen = asked.words.journal
        if seen and not compare(_journal(site, asked), journal.Head(seen.lines, seen.head)):
            log(
                ERROR,
                "%s: the coordinator has seen a journal of %s lines that is not this one: "
                "see pfedsam site sent",
                *(site.site, seen.lines),
            )
        same = asked.words.model_dump(include={"kind", "round", "broadcast"})
        key = consent.work_key(asked.federation, same, settings_digest(asked.settings))
        size = 0 if asked.kind == "close" else packed_bytes(message)
        consent.check_round(site, consent.Work(key, size), datetime.now().astimezone())


def _check_patients(said: dict[str, Any], site: SiteSettings) -> None:
    n = said.get("n_train_patients")
    if isinstance(n, int) and not said.get("refusal"):
        consent.check_patients(site, n)


def refusal(message: Message, asked: Asked, site: SiteSettings, error: PfedsamError) -> Message:
    """The reply that says why the site does not do what it was asked; the public text only."""
    said = Refusal(code=error.code, text=error.public())
    reply: Record
    if asked.kind == "preflight":
        reply = PreflightReply(site=site.site, refused=error.code)
    elif asked.kind == "hello":
        reply = HelloReply(
            site=site.site,
            software=software(),
            n_train_patients=0,
            n_validation_patients=0,
            n_test_patients=0,
            refusal=said,
        )
    else:
        words = asked.words
        assert isinstance(words, RoundRequest)
        reply = RoundReply(
            kind=words.kind,
            site=site.site,
            round=words.round,
            contract=words.contract,
            broadcast=words.broadcast,
            refusal=said,
        )
    return Message(content(reply), reply_to=message)


def _public(error: Exception) -> RuntimeError:
    """The error whose text Flower may send: code and title, nothing else."""
    if isinstance(error, RuntimeError) and PUBLIC.fullmatch(str(error)):
        return error  # the app has seen to it
    log(ERROR, "%s", error.local() if isinstance(error, PfedsamError) else repr(error), exc_info=error)
    known = error if isinstance(error, PfedsamError) else PfedsamError("PFS-506", type(error).__name__)
    return RuntimeError(known.public())


def _store(site: SiteSettings, asked: Asked) -> Path | None:
    """Where the personal state lies that a message is about; None where none can be meant."""
    method = asked.settings.get("method")
    known = asked.federation and isinstance(method, str) and method in METHODS
    return store_folder(site, asked.federation, str(method)) if known else None


def _journal(site: SiteSettings, asked: Asked) -> Path:
    """The journal of a message's federation, or that of messages which belong to none."""
    name = asked.federation
    return journal_path(site, name) if name else consent.control_folder(site) / "sent.jsonl"


def _stamp(reply: Message, asked: Asked, site: SiteSettings) -> None:
    """Puts the journal's end, as it is before this reply, among the words of a reply that has room for it."""
    form: type[HelloReply | RoundReply] = HelloReply if asked.kind == "hello" else RoundReply
    if asked.kind in ("hello", "train", "close"):
        end = journal.head(_journal(site, asked))
        said = JournalHead(lines=end.lines, head=end.head)
        words = words_of(reply, form).model_copy(update={"journal": said})
        reply.content["words"] = content(words)["words"]


def _but_journal(words: Any) -> Any:
    return {k: v for k, v in words.items() if k != "journal"} if isinstance(words, dict) else words


def _note(
    site: SiteSettings, asked: Asked, context: Context, kind: str, said: dict[str, Any], n_bytes: int
) -> None:
    """One line in the journal: when, for whom, how much, and the very words.

    Raises:
        RuntimeError: with the public text of why it cannot be written; that text is all that leaves then.
    """
    try:
        _write_down(site, asked, context, kind, said, n_bytes)
    except ConsentError:
        raise  # a pause broke it off; what answers then writes its own line
    except Exception as error:
        raise _public(error) from None


def _write_down(
    site: SiteSettings, asked: Asked, context: Context, kind: str, said: dict[str, Any], n_bytes: int
) -> None:
    path = _journal(site, asked)
    again = kind in ("train", "close") and any(
        _but_journal(entry.get("words")) == _but_journal(said) for entry in journal.read(path)
    )
    entry = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "federation": asked.federation,
        "run": str(context.run_id),
        "kind": kind,
        "round": said.get("round", 0),
        "again": again,
        "bytes": n_bytes,
        "settings": settings_digest(asked.settings),
        "approval": os.environ.get(ADMITTED, ""),
        "words": said,
    }
    store = _store(site, asked)
    if kind in ("train", "close") and store is not None and not said.get("refusal"):
        entry["state"] = generations.newest(store)
    try:
        journal.append(path, entry)
    except StoreError as error:
        if error.code != "PFS-607":
            raise
        journal.append(_journal(site, Asked("", None)), entry)  # that it does not fit is said, too
