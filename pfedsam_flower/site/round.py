"""One round at a site, from broadcast to delta. No Flower, no clock but a stopwatch, no disk.

All phases start from the broadcast, because what a hospital deploys is *final shared + its personal*:
personal parameters must fit parameters that came from the server (method.md A11 to A13).
"""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..contract.checks import euclidean_norm
from ..contract.messages import Timings
from ..contract.methods import METHODS
from ..data.samples import SiteData
from ..model.build import Built
from ..model.exchange import export_shared, import_shared, load_personal, personal_state
from ..settings.run import RunSettings
from .recall import Recall, forgetful
from .scores import CaseScore
from .scoring import close, validate
from .store import Personal
from .training import Work


@dataclass(frozen=True)
class RoundResult:
    """What a round gave. ``delta`` is float32 [n_values], None for the closing round.

    ``scores`` are those of the test cases, of the closing round only; they stay at the site.
    """

    delta: np.ndarray | None
    personal: Personal
    metrics: dict[str, float]
    seconds: Timings
    scores: list[CaseScore]


def site_round(
    kind: str,
    number: int,
    broadcast: np.ndarray,
    built: Built,
    data: SiteData,
    personal: Personal | None,
    run: RunSettings,
    site: str,
    recall: Recall = forgetful,
) -> RoundResult:
    """The phases of a training round, or the closing round's and final scores.

    The same arguments give the same result, to the bit on a CPU with the same number of threads.

    Args:
        kind: ``train`` or ``close``.
        number: 1 … rounds, rounds + 1 for ``close``.
        broadcast: the shared parameters from the server, float32 [n_values].
        built: the model; left with the broadcast and the new personal parameters in it.
        personal: the site's state after its last round, None at its first.
        recall: who remembers the results of steps that other runs share.
    """
    work = Work(number, broadcast, built, data, run, site, recall)
    personal = personal or fresh(built)
    import_shared(built.model, built.contract, broadcast)
    load_personal(built.model, built.roles, personal.tensors)
    if work.validates:
        validate(work, personal)
    method = METHODS[run.method]
    phases = method.closing if kind == "close" else method.round
    if run.training.phase_order == "global-first" and phases == ("local", "global"):
        phases = ("global", "local")
    delta = None if kind == "close" else np.zeros_like(broadcast)
    for phase in phases:
        if phase == "global":
            delta = work.global_(personal)
        elif phase == "joint":
            delta, personal = work.joint(personal)
        elif phase == "local":
            personal = work.local(personal)
        else:
            personal = work.own(personal, pulled=phase == "pull")
    if work.trains_alone:
        personal = work.alone(personal)
    scores = close(work, personal) if kind == "close" else []
    return RoundResult(delta, personal, work.metrics, Timings(**work.seconds), scores)


def fresh(built: Built, tensors: dict[str, Tensor] | None = None) -> Personal:
    """The state of a site that starts: fresh experts or the given ones; alone, it starts as all do."""
    start = export_shared(built.model, built.contract)
    return Personal(tensors or personal_state(built.model, built.roles), alone=start)


def norm_of(delta: np.ndarray | None) -> float:
    """Euclidean norm of a delta, 0 for none."""
    return 0.0 if delta is None else euclidean_norm(delta)
