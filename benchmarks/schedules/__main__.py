"""Many seeded schedules of faults: does each run end with the bits of an undisturbed one?

    python -m benchmarks.schedules --first 0 --count 10000 --jobs 16 [--seconds S]

A seed that failed is played again with ``--first SEED --count 1``, which also prints what happened when.
"""

import argparse
import itertools
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Generator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import closing
from multiprocessing import get_context

from .play import Outcome, play_all

CHUNK = 10
TELL_EVERY_S = 60.0


def campaign(first: int, count: int, jobs: int, seconds: float | None) -> Generator[Outcome]:
    """The outcomes of so many seeds as they come; after ``seconds`` no further seed is begun."""
    end = time.monotonic() + (float("inf") if seconds is None else seconds)
    chunks = (range(k, min(k + CHUNK, first + count)) for k in range(first, first + count, CHUNK))
    in_time = itertools.takewhile(lambda chunk: time.monotonic() < end, chunks)
    if jobs == 1:
        for chunk in in_time:
            yield from play_all(chunk)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        waiting: set[Future[list[Outcome]]] = set()
        try:
            for chunk in in_time:
                waiting.add(pool.submit(play_all, chunk))
                if len(waiting) >= 2 * jobs:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    for one in done:
                        yield from one.result()
            for one in waiting:
                yield from one.result()
        finally:
            pool.shutdown(cancel_futures=True)


def main() -> None:
    """Prints progress once a minute, seeds that failed as they come, a table; status 1 when one failed.

    SIGTERM and Ctrl-C end the jobs, too.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seconds", type=float, help="after which no further seed is begun")
    args = parser.parse_args()
    ended, injected, events = Counter[str](), Counter[str](), Counter[str]()
    failed: list[int] = []
    start = told = time.monotonic()
    n = 0
    with closing(campaign(args.first, args.count, args.jobs, args.seconds)) as played:
        for n, outcome in enumerate(played, 1):
            ended[outcome.ended] += 1
            injected += outcome.injected
            events += outcome.events
            if outcome.wrong:
                failed.append(outcome.seed)
                print(json.dumps({"seed": outcome.seed, "wrong": outcome.wrong}), flush=True)
            if args.count == 1:
                print("\n".join(outcome.trace))
            if time.monotonic() - told > TELL_EVERY_S:
                told = time.monotonic()
                print(f"{n} of {args.count} seeds, {told - start:.0f} s, {len(failed)} failed", flush=True)
    for title, counts in (("ended", ended), ("injected", injected), ("the history tells", events)):
        print(f"\n{title}")
        for what, times in counts.most_common():
            print(f"{times:9d}  {what}")
    took = time.monotonic() - start
    print(
        f"\n{n - len(failed)}/{n} seeds passed, from {args.first} on, in {took:.0f} s with {args.jobs} jobs"
    )
    if failed:
        print(f"failed: {sorted(failed)}")
    sys.exit(bool(failed) or n == 0)


if __name__ == "__main__":
    main()
