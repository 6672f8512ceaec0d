"""What a run was made on, and how much memory it took."""

import os
import platform
import resource
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ..contract.software import software
from ..settings.site import SiteSettings

STATUS, FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def hardware(sites: Sequence[SiteSettings]) -> dict[str, str | int]:
    """Processor, cores, threads and devices of the sites, and what computed."""
    import torch

    devices = sorted({site.device for site in sites})
    facts: dict[str, str | int] = {
        "cpu": _processor(),
        "cores": os.cpu_count() or 0,
        "threads": max((site.threads for site in sites), default=1),
        "device": ",".join(devices),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "software": software(),
    }
    if any(device.startswith("cuda") for device in devices) and torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name()
    return facts


def forget_peak() -> bool:
    """Begins a new measurement of the peak; False where the system cannot: it is then the process's."""
    with suppress(OSError):
        FORGET.write_text("5", encoding="ascii")
        return True
    return False


def peak_mb() -> float:
    """The most memory that this process had since ``forget_peak``, MB (10^6 bytes)."""
    with suppress(OSError, ValueError, IndexError):
        for line in STATUS.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / 1e6 if sys.platform == "darwin" else used * 1024 / 1e6


def _processor() -> str:
    with suppress(OSError, IndexError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return platform.processor() or platform.machine()
