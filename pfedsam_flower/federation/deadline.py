"""The end of a message's time: nothing else ends a ClientApp that hangs, and it would block its hospital."""

import faulthandler
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from logging import ERROR

from flwr.app import Context
from flwr.common.logger import log

UNREADABLE_S = 60.0
"""For a message that says no deadline because it cannot be read."""
LONGER_S = 5.0
"""After which the process ends even where no Python code runs any more."""


@contextmanager
def ended_after(deadline_s: float, context: Context, what: str) -> Iterator[None]:
    """Ends this process after so many seconds, and says before what it was that hung.

    Reading from a mount that is gone cannot be broken off from inside, so the whole process ends; where each
    thread stood is written to standard error. The coordinator hears of it from Flower, as of any process that
    ended.

    Args:
        what: site and kind of message, for the site's log.
    """
    if "partition-id" in context.node_config or os.environ.get("PFEDSAM_IN_PROCESS"):
        yield  # this process has other work than this one message
        return

    def end() -> None:
        log(
            ERROR,
            "PFS-511 %s was not answered within %g s, so this process ends; below stands where it waited",
            *(what, deadline_s),
        )
        faulthandler.dump_traceback(sys.stderr)
        os._exit(1)

    timer = threading.Timer(deadline_s, end)
    timer.daemon = True
    faulthandler.dump_traceback_later(deadline_s + LONGER_S, exit=True, file=sys.stderr)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        faulthandler.cancel_dump_traceback_later()
