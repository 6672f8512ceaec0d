"""Faults in a federation of real processes: does every run end with the bits of the undisturbed one?

A trial is one small federation on loopback: a SuperLink, three SuperNodes, each behind a relay of ours,
and ``flwr run`` with two rounds and the closing one; all three sites are needed. One to four faults are
drawn from the seed: kind, target, moment. Nothing is done about them but what a supervisor does: what has
ended is started again with the same command line.

A trial passes when the shared parameters of every round and both generations of every site's personal ones
are, to the bit, those of one undisturbed run; when all files and journals are whole; when no site's state
went back on the way; and when every stop in between had a name (PFS-...). The undisturbed run is made in one
process: tests/end_to_end holds that this gives the same bits.

    kill superlink, serverapp, supernode, clientapp
                    SIGKILL to that one process
    cut link        connections of a site are reset, or nothing passes through them, for some seconds
    slow link       30 to 300 kB/s for some seconds
    repeated messages
                    for some seconds a site's replies reach the SuperLink but it never hears so, and sends
                    them again; or all its replies so far come once more, in another order, and each new
                    one twice
    full disk       a site's state folder, a small tmpfs, is full until some seconds after the run felt it;
                    where none may be mounted, RLIMIT_FSIZE of the site's processes is 16 KiB instead
    damaged state   sixteen bytes of a site's newest personal state are changed while the site is down.
                    When it has been refused with PFS-603, it is brought back from a backup, as
                    docs/errors.md says: the one thing that is done by hand
    clock jump      the wall clock of a site's processes jumps by 1 s to a day, forwards or back, and
                    returns after some seconds; by a sitecustomize.py on their PYTHONPATH (clock/)

SuperNodes here have no keys, so one that was killed is back at once under another node id; with keys Flower
refuses its key until its heartbeat has run out (up to a minute).

    python -m benchmarks.faults --count 100 --seed 0 --jobs 5 --output DIR [--first K] [--seconds S]

Prints a line per trial and a table; exit status 0 only when none failed. ``--first K --count 1`` does one
again. The logs of a trial that failed stay in DIR.
"""

import argparse
import json
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from pfedsam_flower.data.phantoms import write_phantoms

from .drawing import KINDS, draw
from .trial import Outcome, Stopped, trial, undisturbed


def campaign(
    count: int, seed: int, folder: Path, *, first: int = 0, jobs: int = 1, seconds: float = 1e9
) -> Generator[Outcome]:
    """Yields trials ``first`` … as they end, ``jobs`` at once; none begins after ``seconds``."""
    begin, stop = time.monotonic(), threading.Event()
    sites = write_phantoms(folder / "sites", n_sites=3, patients=3, slices=1, size=64)
    expected = undisturbed(sites, folder / "undisturbed")

    def one(number: int) -> Outcome | None:
        if stop.is_set() or time.monotonic() - begin > seconds:
            return None
        faults = draw(seed, number, [site.site for site in sites])
        place = folder / f"trial-{number:04d}"
        try:
            outcome = trial(number, seed, faults, sites, expected, place, stop)
        except Stopped:
            return None
        if not outcome.result.startswith("FAILED"):
            shutil.rmtree(place)
        return outcome

    with ThreadPoolExecutor(jobs) as pool:
        try:
            for done in as_completed([pool.submit(one, number) for number in range(first, first + count)]):
                outcome = done.result()
                if outcome is not None:
                    yield outcome
        finally:
            stop.set()


def table(outcomes: list[Outcome]) -> str:
    """Faults by kind as Markdown: drawn, done, and how the trials with them ended."""
    rows: list[tuple[str, ...]] = [("fault", "drawn", "done", "equal", "stopped, then equal", "failed")]
    for kind in (*KINDS, "all"):
        mine = [o for o in outcomes if kind in ("all", *o.injected)]
        drawn = sum(fault.kind == kind or kind == "all" for o in outcomes for fault in o.faults)
        done = sum(one == kind or kind == "all" for o in outcomes for one in o.injected)
        ends = Counter(o.result.split()[0] for o in mine)
        rows.append((kind, *map(str, (drawn, done, ends["equal"], ends["stopped"], ends["FAILED"]))))
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "| --- |" + " --- |" * (len(rows[0]) - 1), *lines[1:]])


def main() -> None:
    """Runs the campaign; SIGTERM and Ctrl-C end all that it started."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=100, help="trials")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first trial")
    parser.add_argument("--jobs", type=int, default=1, help="trials at once")
    parser.add_argument("--seconds", type=float, default=1e9, help="no trial begins later")
    parser.add_argument("--output", type=Path, required=True, help="a new folder")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder: Path = args.output.resolve()
    begin, outcomes = time.monotonic(), []
    arguments = (args.count, args.seed, folder)
    options = {"first": args.first, "jobs": args.jobs, "seconds": args.seconds}
    with closing(campaign(*arguments, **options)) as ended:
        for outcome in ended:
            outcomes.append(outcome)
            print(outcome.line(), flush=True)
            rows = [asdict(one) for one in sorted(outcomes, key=lambda one: one.number)]
            (folder / "faults.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    failed = sum(one.result.startswith("FAILED") for one in outcomes)
    print(table(outcomes))
    print(f"{len(outcomes) - failed}/{len(outcomes)} trials passed in {time.monotonic() - begin:.0f} s")
    raise SystemExit(failed > 0 or not outcomes)


if __name__ == "__main__":
    main()
