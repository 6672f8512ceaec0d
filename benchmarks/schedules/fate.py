"""What a seed stands for: settings of the run, and what happens to whom and when."""

import random
from dataclasses import dataclass, field
from typing import Any

from .disk import TROUBLES

NAMES = ("harbour", "north", "valley")
N_ROUNDS = 3
LONGEST_S = 1500.0
"""Afterwards all is well, so that every run can end."""
Span = tuple[float, float]
WEATHER = (
    *("request lost", "request twice", "request late"),
    *("reply lost", "reply twice", "reply late", "reply of an earlier round", "reply of another site"),
    *("reply not asked for", "replies in another order"),
)


@dataclass
class Fate:
    """What becomes of one site, in seconds of the world.

    Attributes:
        away: spans in which its SuperNode is not there.
        paused: spans in which the hospital has paused.
        troubles: spans with the row of ``TROUBLES`` that its disk then has.
        kills: at which of its calls to the disk its process is killed.
        works: seconds for a round, by round; 1 otherwise.
    """

    away: list[Span]
    paused: list[Span]
    troubles: list[tuple[Span, str]]
    kills: list[int]
    works: dict[int, float] = field(default_factory=dict)


@dataclass
class Schedule:
    """All that is drawn before a run begins.

    Attributes:
        sites: by name.
        weather: probability of each row of ``WEATHER``, per message.
        kills: at which of its calls (to network, clock and disk) the coordinator is killed.
        troubles: spans in which the coordinator's disk does not write.
        strict: whether nothing comes after its time to live, as with Flower's SuperLink.
        federation: the settings ``federation.…`` of the run.
    """

    sites: dict[str, Fate]
    weather: dict[str, float]
    kills: list[int]
    troubles: list[tuple[Span, str]]
    strict: bool
    federation: dict[str, Any]

    def turns(self) -> list[float]:
        """Times at which something begins or ends, rising."""
        spans = [span for fate in self.sites.values() for span in (*fate.away, *fate.paused)]
        spans += [span for fate in self.sites.values() for span, _ in fate.troubles]
        return sorted({t for span in (*spans, *(span for span, _ in self.troubles)) for t in span})


def schedule(draw: random.Random) -> Schedule:
    """The schedule of a seed."""
    sites = {name: _fate(draw) for name in NAMES}
    bad = draw.sample(WEATHER, draw.randint(0, 4))
    return Schedule(
        sites,
        {what: draw.uniform(0.02, 0.25) if what in bad else 0.0 for what in WEATHER},
        sorted(draw.sample(range(1, 400), draw.choice([0, 0, 1, 1, 2, 3]))),
        [(span, draw.choice(list(TROUBLES))) for span in _spans(draw, 1, 60)],
        draw.random() < 0.5,
        {
            "federation.minimum-sites": draw.randint(1, 3),
            "federation.below-quorum": draw.choice(["stop", "wait", "retry"]),
            "federation.quorum-wait-s": draw.choice([300.0, 2000.0]),
            "federation.start-deadline-s": draw.choice([30.0, 120.0]),
            "federation.round-deadline-s": 300.0,
        },
    )


def within(spans: list[Span], when: float) -> bool:
    """Whether a time lies in one of the spans."""
    return any(start <= when < end for start, end in spans)


def trouble(troubles: list[tuple[Span, str]], when: float) -> str:
    """The row of ``TROUBLES`` at a time, or ""."""
    return next((kind for span, kind in troubles if within([span], when)), "")


def _fate(draw: random.Random) -> Fate:
    return Fate(
        away=_spans(draw, 2, 200),
        paused=_spans(draw, 1, 200),
        troubles=[(span, draw.choice(list(TROUBLES))) for span in _spans(draw, 1, 200)],
        kills=sorted(draw.sample(range(1, 130), draw.choice([0, 0, 1, 1, 2, 3]))),
        works={
            n: draw.choice([0.5, 5.0, 60.0, 400.0]) for n in range(1, N_ROUNDS + 2) if draw.random() < 0.4
        },
    )


def _spans(draw: random.Random, most: int, mean_s: float) -> list[Span]:
    starts = [draw.expovariate(1 / 400) for _ in range(draw.randint(0, most))]
    return [(t, min(LONGEST_S, t + draw.expovariate(1 / mean_s))) for t in starts if t < LONGEST_S]
