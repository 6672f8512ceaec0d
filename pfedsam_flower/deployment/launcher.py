"""What a SuperNode finds as ``flwr-clientapp``: Flower's own, with the site's gate in front of the bundle.

Flower starts a process per message by that name, and gives it up when it has not fetched its message in
time. All that takes long to import is imported last: on a very busy machine processes that were given up
would otherwise pile up, each making the next one slower, until none is ever in time.
"""

import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

LOOK_EVERY_S = 1.0
GRACE_S = 30.0
"""Seconds that work has to end by itself, once its SuperNode is gone."""
CLAIM_S = 30.0
"""Seconds after which Flower gives a process up that has not fetched its message."""
WAITS, WORKS = "pfedsam waits", "pfedsam works"
"""What processes call themselves before and after; at most 15 bytes."""


def main() -> None:
    """Ends what was given up before, then works on one message."""
    call_self(WAITS)
    end_those_given_up(os.getppid())
    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    try:
        from .gate import work

        work(lambda: call_self(WORKS))
    except (AttributeError, ImportError) as unlike:
        sys.exit(f"this version of Flower does not fit the launcher, nothing was run: {unlike!r}")


def call_self(name: str) -> None:
    """Gives this process a name that others can read; where there is no /proc it stays nameless."""
    with suppress(OSError):
        Path("/proc/self/comm").write_text(name)


def end_those_given_up(parent: int) -> None:
    """Kills the parent's other processes that still wait for their message and are older than ``CLAIM_S``."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError):
            name, fields = (folder / "stat").read_text().split("(", 1)[1].rsplit(")", 1)
            words = fields.split()  # of proc(5), from the third on
            age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(words[19]) / os.sysconf("SC_CLK_TCK")
            if name == WAITS and int(words[1]) == parent and age > CLAIM_S:
                os.kill(int(folder.name), signal.SIGKILL)


def end_with(parent: int) -> None:
    """Ends this process when its parent is gone, also where Flower's own way of ending it hangs."""
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY_S)
    time.sleep(GRACE_S)
    os._exit(1)


if __name__ == "__main__":
    main()
