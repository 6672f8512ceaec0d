"""Which faults a trial has: kinds, targets and moments, drawn from the seed and the trial's number."""

from dataclasses import dataclass

import numpy as np

MOMENTS = ("asked", "round 1", "round 2", "closing")
"""After which event a fault's delay begins: the run is asked for; a round begins for the first time."""
LATE = MOMENTS[2:]
"""From when on every site has personal state."""
NUMBERS = (0.1, 0.2, 0.3, 0.4)
"""How likely 1, 2, 3 and 4 faults are."""


@dataclass(frozen=True)
class Kind:
    """How a kind is drawn.

    Attributes:
        weight: how often, relative to the others.
        at_site: whether it hits one site, or the coordinator.
        lasts_s: range of the seconds after which it is over; (0, 0) for what happens in an instant.
        amounts: range of what says how bad it is; its unit is the kind's own.
    """

    weight: float
    at_site: bool
    lasts_s: tuple[float, float] = (0.0, 0.0)
    amounts: tuple[float, float] = (0.0, 0.0)
    moments: tuple[str, ...] = MOMENTS


KINDS = {
    "kill superlink": Kind(3, False),
    "kill serverapp": Kind(3, False),
    "kill supernode": Kind(3, True),
    "kill clientapp": Kind(2, True),
    # amounts: below 0.5 connections are reset, above nothing passes
    "cut link": Kind(3, True, (2.0, 12.0), (0.0, 1.0)),
    # bytes per second, each way of each connection
    "slow link": Kind(2, True, (5.0, 20.0), (3e4, 3e5)),
    # amounts: below 0.5 the answers to a site's pushes are lost, above all its pushes so far come again
    "repeated messages": Kind(3, True, (5.0, 20.0), (0.0, 1.0), LATE),
    "full disk": Kind(2, True, (3.0, 12.0)),
    # share of the file at which bytes are changed
    "damaged state": Kind(2, True, (0.0, 0.0), (0.0, 1.0), LATE),
    # sign and power of ten of the seconds: from a second to a day, forwards and back
    "clock jump": Kind(2, True, (3.0, 15.0), (-5.0, 5.0)),
}


@dataclass(frozen=True)
class Fault:
    """One fault: ``delay_s`` after ``moment`` at ``site`` ("" is the coordinator), for ``lasts_s``."""

    kind: str
    site: str
    moment: str
    delay_s: float
    lasts_s: float
    amount: float

    def __str__(self) -> str:
        where = f" {self.site}" if self.site else ""
        lasts = f" for {self.lasts_s:.0f} s" if self.lasts_s else ""
        return f"{self.kind}{where} at {self.moment} + {self.delay_s:.1f} s{lasts}"


def draw(seed: int, number: int, sites: list[str], longest_delay_s: float = 6.0) -> list[Fault]:
    """The faults of trial ``number``: one to four of different kinds, the earliest moment first."""
    rng = np.random.default_rng((seed, number))
    weights = np.array([kind.weight for kind in KINDS.values()])
    size = 1 + int(rng.choice(len(NUMBERS), p=NUMBERS))
    names = rng.choice(list(KINDS), size, replace=False, p=weights / weights.sum())
    faults = []
    for name in map(str, names):
        kind = KINDS[name]
        faults.append(
            Fault(
                kind=name,
                site=str(rng.choice(sites)) if kind.at_site else "",
                moment=str(rng.choice(kind.moments)),
                delay_s=round(float(rng.uniform(0, longest_delay_s)), 2),
                lasts_s=round(float(rng.uniform(*kind.lasts_s)), 2),
                amount=round(float(rng.uniform(*kind.amounts)), 4),
            )
        )
    return sorted(faults, key=lambda fault: (MOMENTS.index(fault.moment), fault.delay_s))
