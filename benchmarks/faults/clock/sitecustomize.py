"""Shifts the wall clock of a Python process by the seconds that stand in the file ``FAULTS_CLOCK``.

Python imports this by itself at every start when its folder is on ``PYTHONPATH``. The file is looked at on
every call, so the clock jumps while the process runs. ``time.monotonic`` is left alone: no jump changes it.
"""

import datetime
import os
import time
from typing import Any

_FILE = os.environ.get("FAULTS_CLOCK", "")
_true_time, _true_datetime = time.time, datetime.datetime


def _shift_s() -> float:
    try:
        with open(_FILE) as file:
            return float(file.read() or 0)
    except (OSError, ValueError):
        return 0.0


class _Like(type):
    """Instances of the true class count as instances of the shifted one."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _true_datetime)

    def __subclasscheck__(cls, other: type) -> bool:
        return issubclass(other, _true_datetime)


class _Shifted(_true_datetime, metaclass=_Like):
    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return _true_datetime.now(tz) + datetime.timedelta(seconds=_shift_s())

    @classmethod
    def utcnow(cls) -> Any:
        return _true_datetime.now(datetime.UTC).replace(tzinfo=None) + datetime.timedelta(seconds=_shift_s())


if _FILE:
    time.time = lambda: _true_time() + _shift_s()
    time.time_ns = lambda: int((_true_time() + _shift_s()) * 1e9)
    datetime.datetime = _Shifted  # type: ignore[misc]
