"""One seed, from its first start to its end, and whether the promises were kept."""

import logging
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np

from pfedsam_flower.errors import PfedsamError
from pfedsam_flower.federation import door, one_round, preflight, roster, rounds, server, strategy
from pfedsam_flower.federation.history import RunFolder
from pfedsam_flower.settings.site import SiteSettings
from pfedsam_flower.settings.sources import default_flat

from .checks import broken
from .disk import Disk, Killed
from .fate import LONGEST_S, N_ROUNDS, NAMES, Schedule, schedule, trouble
from .network import COORDINATOR, Network
from .site import CONTRACT, Ledger, without_model

MEMORY = Path("/dev/shm")
MOST_STARTS = 60
STOPS = ("PFS-501", "PFS-603", "PFS-604")
"""Reasons for which a run may stop, to be started again: too few sites, a round's file that was damaged here,
a disk that does not write."""
DAMAGED = "coordinator's newest round damaged"


@dataclass(frozen=True)
class Outcome:
    """What came of one seed.

    Attributes:
        ended: how it got to its end.
        wrong: promises that were broken, one sentence each.
        injected: what was done to it, by kind.
        events: what its history tells, by kind of event.
        trace: what happened when, one line each; the same for the same seed.
    """

    seed: int
    ended: str
    wrong: list[str]
    injected: Counter[str]
    events: Counter[str]
    trace: list[str]


def play_all(seeds: Iterable[int]) -> list[Outcome]:
    """Plays seeds one after the other, each in a folder of its own, in memory where the system has that."""
    outcomes = []
    for seed in seeds:
        with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
            outcomes.append(play(seed, Path(folder)))
    return outcomes


def play(seed: int, folder: Path) -> Outcome:
    """Plays a seed in an empty folder."""
    draw, injected, ledger = random.Random(seed), Counter[str](), Ledger()
    plan = schedule(draw)
    disk = Disk(draw, injected)
    disk.kills = {COORDINATOR: plan.kills, **{name: fate.kills for name, fate in plan.sites.items()}}
    sites = [SiteSettings(site=name, data=str(folder), state=str(folder / name)) for name in NAMES]
    flat = default_flat() | plan.federation
    flat |= {
        "seed": seed,
        "rounds": N_ROUNDS,
        "federation.name": "seeded",
        "federation.sites": ",".join(NAMES),
        "coordinator.folder": str(folder / "runs"),
    }
    with without_model(ledger, disk), _quiet():
        network = Network(plan, sites, disk, draw, injected)
        disk.trouble = partial(_trouble, plan, network)
        with _in_world(network, ledger):
            final, reasons = _to_the_end(network, disk, flat, ledger)
            disk.kills.clear()
            wrong = ledger.wrong
            if final is not None and not wrong:
                wrong = broken(seed, folder, plan, network, ledger, final, sites)
    ended = "after " + ", ".join(sorted(set(reasons))) if reasons else "at the first start"
    trace = [*network.trace, f"{network.now:.3f} end"]
    return Outcome(seed, ended, wrong, injected, network.events, trace)


def _to_the_end(
    network: Network, disk: Disk, flat: dict[str, object], ledger: Ledger
) -> tuple[np.ndarray | None, list[str]]:
    """Starts the run until it is complete; the final shared parameters and why it stopped each time."""
    reasons: list[str] = []
    longest = 2 * float(str(flat["federation.quorum-wait-s"])) + 3 * 120 + 3 * 300 + 100
    while len(reasons) < MOST_STARTS and not ledger.wrong:
        began = network.now
        disk.actor = COORDINATOR
        try:
            return server.coordinate(network, flat, len(reasons) + 1), reasons
        except PfedsamError as error:
            reasons.append(error.code)
            if error.code not in STOPS or (error.code == "PFS-603" and not network.injected[DAMAGED]):
                ledger.wrong.append(f"it stopped with {error.local()}")
                return None, reasons
            if error.code == "PFS-603":
                shutil.rmtree(Path(error.where).parent)  # as its hint says
            network.forget()
            network.pass_time(400.0)  # somebody looks at it, and starts again
        except Killed:
            reasons.append("killed")
            disk.start_again()
            network.forget()
            network.pass_time(network.draw.choice([1.0, 60.0, 400.0]))
            _damage_newest_round(network, Path(str(flat["coordinator.folder"])))
        except Exception as error:
            ledger.wrong.append(f"it stopped with {error!r}")
            return None, reasons
        if network.now - began > (N_ROUNDS + 1) * longest:
            ledger.wrong.append(f"a start lasted {network.now - began:.0f} s")
            return None, reasons
    if not ledger.wrong:
        ledger.wrong.append("it does not come to an end")
    return None, reasons


def _damage_newest_round(network: Network, runs: Path) -> None:
    """Once in a run, sometimes: the coordinator is set back by a round."""
    files = sorted(runs.glob("*/round-*/shared.safetensors"))
    may = len(files) > 1 and network.now < LONGEST_S and not network.injected[DAMAGED]
    if may and network.draw.random() < 0.3:
        network.injected[DAMAGED] += 1
        content = bytearray(files[-1].read_bytes())
        content[-1] ^= 1  # of a value: the file can be read, and is another one
        files[-1].write_bytes(content)


def _trouble(plan: Schedule, network: Network, actor: str) -> str:
    troubles = plan.troubles if actor == COORDINATOR else plan.sites[actor].troubles
    return trouble(troubles, network.now)


@contextmanager
def _in_world(network: Network, ledger: Ledger) -> Iterator[None]:
    """Inside, the coordinator has the world's clock and starts from zeros; nobody counts bytes."""
    log = RunFolder.log

    def noted(self: RunFolder, event: str, **fields: object) -> None:
        network.note(event, fields)
        if event == "left-out" and fields["code"] == "PFS-506":
            ledger.wrong.append(f"{fields['site']} ended without a named reason")
        log(self, event, **fields)

    patches = [
        *(mock.patch.object(module, "time", network) for module in _CLOCKS),
        *(mock.patch.object(module, "wire_bytes", return_value=0) for module in (door, strategy)),
        mock.patch.object(server, "run_rounds", partial(rounds.run_rounds, sleep=network.sleep)),
        mock.patch.object(server, "_start", return_value=(CONTRACT, np.zeros(CONTRACT.n_values, np.float32))),
        mock.patch.object(RunFolder, "log", noted),
    ]
    with ExitStack() as stack:
        for one in patches:
            stack.enter_context(one)
        yield


_CLOCKS = (rounds, one_round, roster, preflight, strategy)


@contextmanager
def _quiet() -> Iterator[None]:
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(level)
