"""The ClientApp: translate, call the site, translate. Errors stay; their public text travels."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from logging import ERROR, WARNING
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.common.logger import log

from ..contract.messages import HelloRequest, PreflightRequest, RoundRequest
from ..errors import ConsentError, ContractError, PfedsamError, SettingsError
from ..settings.site import PATHS, SiteSettings
from ..settings.sources import refuse, site_from_flat, sites_from_file
from ..site.recall import Recall, forgetful
from .door import SiteApp
from .preflight import PREFLIGHT
from .records import content, packed_of, words_of

SITES_VARIABLE = "PFEDSAM_SITES"
"""In a simulation: path of the ``sites.toml`` whose n-th table is the n-th virtual node."""


def build_client_app(recall: Recall = forgetful) -> ClientApp:
    """The site's app, as ``client_app/app.py`` hands it to Flower.

    Args:
        recall: who remembers steps that several runs in one process share; see ``site.recall``.
    """
    app = SiteApp(this_site)

    @app.query()
    def hello(message: Message, context: Context) -> Message:
        from ..site.hello import answer_hello

        with _only_public():
            site = this_site(context)
            request = words_of(message, HelloRequest)
            reply = answer_hello(request, site)
        if reply.refusal is not None:
            log(WARNING, "%s cannot take part: %s", site.site, reply.refusal.text)
        return Message(content(reply), reply_to=message)

    @app.query(PREFLIGHT)
    def preflight(message: Message, context: Context) -> Message:
        from ..site.preflight import answer_preflight

        with _only_public():
            site = this_site(context)
            request = words_of(message, PreflightRequest)
            reply = answer_preflight(request, site)
        return Message(content(reply), reply_to=message)

    @app.train()
    def work(message: Message, context: Context) -> Message:
        with _only_public():
            site = this_site(context)
            request = words_of(message, RoundRequest)
        return _round(message, request, site, recall)

    return app


@contextmanager
def _only_public() -> Iterator[None]:
    """Flower sends an exception's text to the coordinator: what is inside may only raise the public one."""
    try:
        yield
    except ConsentError:
        raise  # what the hospital does not allow is said by the door
    except PfedsamError as error:
        log(ERROR, "%s", error.local())
        raise RuntimeError(error.public()) from None
    except Exception as error:  # its text may hold paths or names
        log(ERROR, "unexpected", exc_info=True)
        raise RuntimeError(PfedsamError("PFS-506", type(error).__name__).public()) from None


def this_site(context: Context) -> SiteSettings:
    """The site of this node: its node config, or in a simulation its table of ``PFEDSAM_SITES``.

    Raises:
        SettingsError: PFS-102.
    """
    node = dict(context.node_config)
    if "site" in node or "partition-id" not in node:
        return _with_whole_paths(site_from_flat(node))
    listed = os.environ.get(SITES_VARIABLE)
    if not listed:
        raise SettingsError(
            "PFS-102",
            f"{SITES_VARIABLE} is not set, so a virtual node does not know which hospital it is",
            hint="run `pfedsam simulate --sites sites.toml`, which sets it",
        )
    sites = sites_from_file(Path(listed))
    number = int(node["partition-id"])
    if number >= len(sites):
        raise SettingsError(
            "PFS-102", f"virtual node {number} has no [[site]] table of its own", where=listed
        )
    return sites[number]


def _with_whole_paths(site: SiteSettings) -> SiteSettings:
    """The site, if its paths mean the same wherever its SuperNode was started and a command is given."""
    named = {key: getattr(site, key) for key in PATHS if getattr(site, key)}
    problems = [
        f"{key} = {value!r}: it would count from where the SuperNode was started; write the whole path, or "
        "use pfedsam site start, for which it counts from the file"
        for key, value in named.items()
        if not Path(value).is_absolute()
    ]
    refuse(problems, "PFS-102", "--node-config")
    return site


def _round(message: Message, request: RoundRequest, site: SiteSettings, recall: Recall) -> Message:
    from ..site.work import answer_round, refused

    try:
        broadcast = packed_of(message)
        if broadcast is None:
            raise ContractError("PFS-402", "the request came without shared parameters")
        reply, delta = answer_round(request, broadcast, site, recall)
    except PfedsamError as error:
        log(ERROR, "%s, round %s: %s", site.site, request.round, error.local())
        return Message(content(refused(request, site, error)), reply_to=message)
    except Exception as error:  # its text may hold paths or names: it stays in the site's log
        log(ERROR, "%s, round %s failed", site.site, request.round, exc_info=True)
        hidden = PfedsamError("PFS-506", f"{type(error).__name__}: {error}")
        return Message(content(refused(request, site, hidden)), reply_to=message)
    return Message(content(reply, delta), reply_to=message)
