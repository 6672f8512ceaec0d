"""The process that a SuperNode starts per message: it ends with its SuperNode, and ends what was given up."""

import os
import signal
import subprocess
import sys

import pytest

from pfedsam_flower.deployment import launcher


def test_nothing_that_takes_long_is_imported_before_those_given_up_are_ended() -> None:
    code = (
        "import sys, pfedsam_flower.deployment.launcher as launcher\n"
        "print([name for name in ('flwr', 'numpy', 'pydantic', 'torch') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"


def test_a_process_whose_parent_is_gone_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(launcher, "GRACE_S", 0)
    monkeypatch.setattr(launcher.os, "getppid", lambda: 1)
    monkeypatch.setattr(launcher.os, "_exit", ended.append)
    launcher.end_with(4711)
    assert ended == [1]


def test_a_process_that_flower_has_given_up_ends_and_one_at_work_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "Path('/proc/self/comm').write_text(sys.argv[1]); print(flush=True); time.sleep(60)"
    )
    waits, works = (
        subprocess.Popen([sys.executable, "-c", code, name], stdout=subprocess.PIPE)
        for name in (launcher.WAITS, launcher.WORKS)
    )
    try:
        for one in (waits, works):
            assert one.stdout is not None
            one.stdout.readline()
        launcher.end_those_given_up(os.getpid())  # Flower still waits for both
        assert waits.poll() is None
        monkeypatch.setattr(launcher, "CLAIM_S", 0.0)
        launcher.end_those_given_up(os.getpid() + 1)  # they are another SuperNode's
        assert waits.poll() is None
        launcher.end_those_given_up(os.getpid())
        assert waits.wait(10) == -signal.SIGKILL
        assert works.poll() is None
    finally:
        for one in (waits, works):
            one.kill()
            one.wait()
