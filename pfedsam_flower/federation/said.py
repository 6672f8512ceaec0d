"""What each site has said of its size in a run: what it says later is held against it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Said:
    """Counts by site; ``add`` takes them from events, so that a resumed run knows what the first one knew.

    Attributes:
        patients: to train on, from the newest hello.
        counted: patients and samples to train on, from the first reply of the run that was taken in. Nothing
            changes them within a run, for a site's split is fixed.
        heavy: sites of which was said that they nearly decide alone.
    """

    patients: dict[str, int] = field(default_factory=dict)
    counted: dict[str, tuple[int, int]] = field(default_factory=dict)
    heavy: set[str] = field(default_factory=set)

    def add(self, event: Mapping[str, Any]) -> None:
        """Take in one event of the history."""
        kind, site = event.get("event"), str(event.get("site", ""))
        if kind == "site":
            self.patients[site] = int(event["n_train_patients"])
        elif kind == "reply" and event.get("n_train_samples"):
            self.counted.setdefault(site, (int(event["n_train_patients"]), int(event["n_train_samples"])))
        elif kind == "heavy":
            self.heavy.add(site)

    def samples(self, site: str) -> int | None:
        """Samples of the site's first reply; None before that."""
        return self.counted[site][1] if site in self.counted else None
