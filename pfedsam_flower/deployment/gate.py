"""The site's gate in front of a bundle: what is not approved is neither unpacked nor loaded.

Flower's ``flwr-clientapp`` fetches a message and the bundle from its SuperNode, unpacks the bundle, loads
it and calls it. The gate stands before the unpacking; a message that may not pass is answered by the
installed package with a refusal. It leans on names inside Flower, all in ``work``; a missing one ends the
process before anything is fetched.
"""

import importlib
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from logging import ERROR, INFO, WARNING
from pathlib import Path
from typing import Any

from flwr.app import Context, Message
from flwr.common.logger import log

from ..errors import ConsentError, FederationError, PfedsamError
from ..federation.asked import settings_in, words_in
from ..federation.client import this_site
from ..federation.door import ADMITTED, closed_app
from ..settings.site import SiteSettings
from ..site.consent import check_willing
from .approval import check_approved
from .bundles import digest_of

LOOK_EVERY_S = 1.0
GRACE_S = 30.0
"""Seconds that work has to end by itself, once it is to end."""

App = Callable[[Message, Context], Message]


class Gate:
    """Between Flower and the bundle of one message."""

    def __init__(self) -> None:
        self.refused: PfedsamError | None = None
        self.site: SiteSettings | None = None

    def examine(self, message: Message, context: Context, run_id: int, bundle: Any) -> None:
        """Decides; afterwards ``refused`` is None or says why not. Never raises."""
        os.environ.pop(ADMITTED, None)
        try:
            self.site = this_site(context)
            check_willing(self.site)
            if digest_of(bundle.content) != bundle.hash_str:
                raise ConsentError("PFS-701", f"the bundle is not {bundle.hash_str[:12]}, as it is called")
            settings = settings_in(words_in(message))
            approved = check_approved(self.site, bundle.content, settings, str(run_id))
            os.environ[ADMITTED] = approved
            log(INFO, "approved: %s (bundle %s)", approved[:12], bundle.hash_str[:12])
        except ConsentError as error:
            self.refused = error
        except Exception as error:  # what cannot be looked up is not approved
            text = error.local() if isinstance(error, PfedsamError) else repr(error)
            log(ERROR, "the approvals cannot be looked up: %s", text)
            self.refused = ConsentError("PFS-701", "the approvals cannot be looked up")
        if self.refused:
            log(WARNING, "not run: %s", self.refused.local())

    def unpack(self, install: Callable[[], Any]) -> Any:
        """Flower's unpacking of the bundle, if it is approved; what goes wrong is refused in public words."""
        if self.refused:
            return None
        try:
            # Flower takes what lies there under eight digits of the hash: half unpacked, or changed since
            shutil.rmtree(Path(os.environ["FLWR_HOME"]) / "apps", ignore_errors=True)
            return install()
        except Exception as error:
            self._failed("unpacked", error)
            return None

    def app(self, load: Callable[[], App]) -> App:
        """What answers the message: the bundle's app, or a refusal."""
        if self.refused is None:
            assert self.site is not None
            try:
                return _Interruptible(self.site, load()).answer
            except Exception as error:
                self._failed("loaded", error)
        assert self.refused is not None
        return closed_app(this_site, self.refused)

    def _failed(self, what: str, error: Exception) -> None:
        """Its text may hold paths, and Flower would send it: the site's log has it, the others a code."""
        log(ERROR, "the bundle cannot be %s", what, exc_info=True)
        text = f"the bundle cannot be {what}: {type(error).__name__}"
        self.refused = FederationError("PFS-506", text)


class _Interruptible:
    """An app that a pause or a leave breaks off: between two steps, as an exception in the working thread."""

    def __init__(self, site: SiteSettings, app: App) -> None:
        self.site, self.inner = site, app
        self.working = self.ended = False
        self.reason: ConsentError | None = None

    def answer(self, message: Message, context: Context) -> Message:
        signal.signal(signal.SIGUSR1, self._break_off)
        try:
            self.working = True
            threading.Thread(target=self._look, daemon=True).start()
            return self.inner(message, context)
        except ConsentError as error:  # it came outside of the app's own try
            return closed_app(this_site, error)(message, context)
        finally:
            self.working, self.ended = False, True
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # one that comes late ends nothing

    def _break_off(self, number: int, frame: object) -> None:
        if self.working and self.reason is not None:
            self.working = False  # once
            raise self.reason

    def _look(self) -> None:
        while self.working:
            try:
                check_willing(self.site)
            except ConsentError as error:
                self.reason = error
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
                time.sleep(GRACE_S)
                if not self.ended:
                    os._exit(1)
                return
            time.sleep(LOOK_EVERY_S)


def work(fetched: Callable[[], None]) -> None:
    """Works on one message as ``flwr-clientapp`` does, through a ``Gate``.

    Args:
        fetched: called once the message is here.

    Raises:
        AttributeError, ImportError: this Flower is built otherwise; then nothing runs.
    """
    flower: Any = importlib.import_module("flwr.supernode.runtime.run_clientapp")
    command: Any = importlib.import_module("flwr.supernode.cli.flwr_clientapp")
    pull, install, loader = flower.pull_task_input, flower.install_from_fab, flower.get_load_client_app_fn
    gate = Gate()

    def pull_through(client: Any) -> Any:
        message, context, task, bundle = pull(client)
        fetched()
        gate.examine(message, context, task.run_id, bundle)
        return message, context, task, bundle

    def install_if_approved(content: bytes, **options: Any) -> Any:
        return gate.unpack(lambda: install(content, **options))

    def load_if_approved(**options: Any) -> Callable[..., App]:
        load = loader(**options)
        return lambda *which: gate.app(lambda: load(*which))

    flower.pull_task_input = pull_through
    flower.install_from_fab = install_if_approved
    flower.get_load_client_app_fn = load_if_approved
    command.flwr_clientapp()
