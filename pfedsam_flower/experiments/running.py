"""One run of a comparison: the same strategy and ClientApp as between hospitals, in this process.

A run lives in ``work/<id>`` while it goes on. What it gave becomes one file, ``runs/<id>.json``; a run whose
file is there is not made again.
"""

import shutil
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Literal

from ..data.folds import split_record
from ..errors import PfedsamError, StoreError
from ..federation.client import build_client_app
from ..federation.in_process import InProcessGrid
from ..federation.server import coordinate
from ..settings.site import SiteSettings
from ..site.files import locked, write_whole
from ..site.paths import cache_path, split_path
from ..site.recall import Recall, forgetful
from .machine import forget_peak, hardware, peak_mb
from .memory import Memory
from .pooling import pooled_site, pooled_split
from .prepared import Prepared
from .protocol import FEDERATION, POOLED, Protocol, Run
from .record import record_of, run_path, to_bytes

State = Literal["there", "made", "busy", "failed"]


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Attributes:
        state: ``there`` already, ``made`` now, ``busy`` in another process, ``failed``.
        text: why it failed.
        seconds: that it took now; recalled_s: that it was spared by what is remembered.
    """

    run: Run
    state: State
    text: str = ""
    seconds: float = 0.0
    recalled_s: float = 0.0


def run_one(
    protocol: Protocol,
    run: Run,
    output: Path,
    memory: Memory | None,
    prepared: Prepared | None = None,
    *,
    keep: bool = False,
) -> Outcome:
    """Makes a run unless it is there, or another process is at it.

    Args:
        memory: of pure steps; None: everything is computed.
        prepared: of the sites' images; None: they are prepared for this run alone.
        keep: the run's work folder, with the run folder and the sites' states, stays.

    Raises:
        StoreError: PFS-604 when ``output`` cannot be written.
    """
    done, work = run_path(output, run.id), output / "work" / run.id
    if done.exists():
        return Outcome(run, "there")
    try:
        with locked(work):
            if done.exists():  # another process ended it just now
                return Outcome(run, "there")
            _empty(work)
            start, saved = perf_counter(), memory.saved_s if memory else 0.0
            try:
                content = _made(protocol, run, work, memory, prepared)
            except Exception as error:  # whatever it is, the runs that are left may do better
                text = error.local() if isinstance(error, PfedsamError) else traceback.format_exc()
                return Outcome(run, "failed", text, perf_counter() - start)
            write_whole(done, content)
            spared = (memory.saved_s if memory else 0.0) - saved
            if not keep:
                shutil.rmtree(work, ignore_errors=True)
            return Outcome(run, "made", seconds=perf_counter() - start, recalled_s=spared)
    except StoreError as error:
        if isinstance(error.__cause__, BlockingIOError):
            return Outcome(run, "busy")
        raise


def _made(
    protocol: Protocol, run: Run, work: Path, memory: Memory | None, prepared: Prepared | None
) -> bytes:
    """Runs it; the content of its file."""
    sites = _lay_out(protocol, run, work, prepared)
    before = (memory.hits, memory.misses, memory.saved_s) if memory else (0, 0, 0.0)
    fresh, start, began = forget_peak(), perf_counter(), datetime.now(UTC)
    recall: Recall = memory or forgetful
    grid = InProcessGrid(build_client_app(recall), sites, keep=False)
    own = {"coordinator.folder": str(work / "runs"), "coordinator.checkpoint": protocol.checkpoint}
    coordinate(grid, {**run.flat, **own}, 1)
    seconds = perf_counter() - start
    after = (memory.hits, memory.misses, memory.saved_s) if memory else (0, 0, 0.0)
    hits, misses, spared = (b - a for a, b in zip(before, after, strict=True))
    facts = {
        "began": began.isoformat(timespec="seconds"),
        "hardware": hardware(sites),
        "seconds": round(seconds, 3),
        "recalled": {"hits": hits, "misses": misses, "seconds": round(spared, 3)},
        "peak_memory_mb": round(peak_mb(), 1),
        "peak_is_of_this_run": fresh,
        "wire": _wire(grid),
    }
    return to_bytes(record_of(protocol, run, sites, work / "runs" / FEDERATION, facts, recall))


def _lay_out(protocol: Protocol, run: Run, work: Path, prepared: Prepared | None) -> list[SiteSettings]:
    """The run's sites with states of their own, in which their splits are written."""
    state, taking_part = str(work / "state"), protocol.training(run.unseen)
    if run.pooled:
        sites = [pooled_site(taking_part, work, state, tuple(str(run.flat["classes"]).split(",")))]
        splits = {POOLED: pooled_split(protocol.folds, taking_part, run.fold)}
    else:
        sites = [site.model_copy(update={"state": state}) for site in taking_part]
        splits = {site.site: split_record(protocol.folds, site.site, run.fold) for site in sites}
    for site in sites:
        write_whole(split_path(site, FEDERATION), to_bytes(splits[site.site]))
        if prepared is not None:
            cache_path(site, FEDERATION).symlink_to(
                prepared.folder(run, site, splits[site.site]), target_is_directory=True
            )
    return sites


def _wire(grid: InProcessGrid) -> dict[str, dict[str, int]]:
    """Bytes of all messages of the run by site and direction, preflight included."""
    total: dict[str, dict[str, int]] = {}
    for site, direction, n in grid.sizes:
        ways = total.setdefault(site, {"up": 0, "down": 0})
        ways[direction] += n
    return total


def _empty(work: Path) -> None:
    """Whatever an interrupted try left; the lock stays."""
    for path in work.iterdir():
        if path.name == ".lock":
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()


def states(outcomes: Sequence[Outcome], state: State) -> list[Outcome]:
    """Those that ended so."""
    return [one for one in outcomes if one.state == state]
