"""The methods, as rows of plain settings. A rival is another row, never another class."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """Which modules a method adds and which phases a site runs.

    Attributes:
        sentence: what it does, for lists.
        experts: adds an L-MoE of role ``personal``.
        global_phase: trains the shared parameters and sends their delta.
        local_phase: trains the personal parameters on the frozen broadcast.
    """

    sentence: str
    experts: bool
    global_phase: bool
    local_phase: bool


METHODS = {
    "pfedsam": Method("LoRA and decoder shared, L-MoE kept at the site, two phases", True, True, True),
    "fedavg": Method("LoRA and decoder shared, nothing personal", False, True, False),
}
