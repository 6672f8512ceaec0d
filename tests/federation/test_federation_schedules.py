"""The coordinator's rules under many seeded schedules of absences, delays, refusals and crashes.

A failing seed replays exactly: ``PFEDSAM_SCHEDULES=4711:4712``; a campaign is ``PFEDSAM_SCHEDULES=0:10000``.
"""

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from federation_light import NAMES, Fate, World, play, site_delta, told

from pfedsam_flower.aggregation.rules import RULES
from pfedsam_flower.errors import FederationError
from pfedsam_flower.federation import rounds

FIRST, LAST = (int(part) for part in os.environ.get("PFEDSAM_SCHEDULES", "0:60").split(":"))
N_ROUNDS = 3
LONGEST_S = 3000.0
PASSING = ("PFS-604", "PFS-701", "PFS-702", "PFS-704")


class Killed(BaseException):
    """Stands for a kill: nothing of ours may catch it."""


def fate(draw: random.Random) -> Fate:
    """What becomes of one site until ``LONGEST_S``; afterwards all is well."""

    def spans(most: int) -> Iterator[tuple[float, float]]:
        for _ in range(draw.randint(0, most)):
            start = draw.uniform(0, LONGEST_S)
            yield start, min(LONGEST_S, start + draw.expovariate(1 / 400))

    return Fate(
        away=tuple(spans(3)),
        delays={
            n: draw.choice([0.5, 5.0, 60.0, 400.0]) for n in range(1, N_ROUNDS + 2) if draw.random() < 0.5
        },
        refuses=tuple((draw.choice(["hello", "train"]), draw.choice(PASSING), span) for span in spans(2)),
    )


class Crashing(World):
    """A world in which the coordinator is killed at its n-th question for answers."""

    kills: list[int] = []
    pulls = 0

    def pull_messages(self, message_ids: Any) -> Any:
        self.pulls += 1
        if self.kills and self.pulls >= self.kills[0]:
            self.kills.pop(0)
            raise Killed
        return super().pull_messages(message_ids)


@pytest.mark.parametrize("seed", range(FIRST, LAST))
def test_a_run_ends_well_or_with_a_named_reason_and_resumes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, seed: int
) -> None:
    draw = random.Random(seed)
    world = Crashing({name: fate(draw) for name in NAMES}, hasty=True)
    world.kills = sorted(draw.sample(range(5, 120), draw.randint(0, 2)))
    settings = {
        "minimum_sites": draw.randint(1, 3),
        "below_quorum": draw.choice(["stop", "wait", "retry"]),
        "quorum_wait_s": draw.choice([300.0, 2000.0]),
        "start_deadline_s": draw.choice([30.0, 120.0]),
        "round_deadline_s": 300.0,
    }
    final, starts, reasons = None, 0, []
    while final is None:
        starts += 1
        assert starts < 60, "it does not come to an end"
        began = world.now
        try:
            final = play(monkeypatch, tmp_path, world, n_rounds=N_ROUNDS, **settings)
        except FederationError as error:
            reasons.append(f"{error.code} {error.message}")
            world.now += 200  # somebody looks at it, and starts again
        except Killed:
            world.due.clear()
            world.waiting.clear()
        limits = settings["quorum_wait_s"] * 2 + settings["start_deadline_s"] * 3 + 2 * 300 + 100
        assert world.now - began < (N_ROUNDS + 1) * limits, "nothing waits for ever"
    assert all(reason.startswith("PFS-501 ") and "of at least" in reason for reason in reasons)
    ends = {e["round"]: e for e in told(tmp_path, "round-end")}
    assert sorted(ends) == list(range(1, N_ROUNDS + 2))
    shared = np.zeros(4, np.float32)
    for number in range(1, N_ROUNDS + 1):
        sites = ends[number]["sites"]
        assert len(sites) >= settings["minimum_sites"]
        assert ends[number]["missing"] == sorted(set(NAMES) - set(sites))
        deltas = {site: site_delta(site, number) for site in sites}
        shared = RULES["mean"]((("weight", (4,)),), shared, deltas, dict.fromkeys(sites, 3.0))
    assert final.tobytes() == shared.tobytes(), "the same bits as without any disturbance"


def test_the_schedules_hold_what_they_are_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A coordinator that counted an answer twice would be found."""
    real = rounds.PFedSAMStrategy.aggregate
    monkeypatch.setattr(rounds.PFedSAMStrategy, "aggregate", lambda self: real(self) * np.float32(1.0001))
    with pytest.raises(AssertionError, match="the same bits"):
        test_a_run_ends_well_or_with_a_named_reason_and_resumes(monkeypatch, tmp_path, 1)
