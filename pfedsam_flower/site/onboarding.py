"""A hospital that was not there: it takes a run's final shared parameters and fits its own part to them.

It is the closing round without a coordinator: the same work and the same files, and nothing is sent; a line
of the journal says so. Beside it the hospital trains alone for as many steps as all global phases and the
closing round have, so that the mix which it deploys can fall back on that.
"""

from pathlib import Path

from ..contract.messages import RoundReply, RoundRequest
from ..contract.schema import digest
from ..settings.site import SiteSettings
from ..settings.sources import to_flat
from .aside import note
from .paths import store_folder
from .recall import Recall, forgetful
from .trained import open_global
from .work import answer_round


def onboard(
    run_folder: Path, site: SiteSettings, steps: int | None = None, recall: Recall = forgetful
) -> RoundReply:
    """What the site's closing round says, test Dice of its models included; its state is on disk then.

    Args:
        run_folder: the coordinator's, or a copy: settings.json, contract.json, the newest round's folder.
        steps: optimiser steps of what it fits; None: ``training.closing-steps`` of the run.
        recall: who remembers steps that other runs share.

    Raises:
        PfedsamError: as ``answer_round``; PFS-601 when there is state of another kind.
    """
    trained = open_global(run_folder, site)
    run = trained.run
    # A run that was stopped early is taken for what it is: its newest round is the last one. The newcomer has
    # no personal steps of rounds behind it, so its learning rates begin at the start.
    flat = dict(to_flat(run)) | {
        "rounds": trained.round,
        "training.local-steps": 0,
        "training.personal-from": 1,
        "evaluation.alone": True,
    }
    if steps is not None:
        flat |= {"training.closing-steps": steps}
    request = RoundRequest(
        kind="close",
        round=trained.round + 1,
        contract=trained.built.contract.hash,
        settings=flat,
        deadline_s=run.federation.round_deadline_s,
        broadcast=digest(trained.shared),
    )
    reply = answer_round(request, trained.shared, site, recall)[0]
    # nothing is sent; should the run ever ask this site, its journal knows where the state comes from
    note(site, run.federation.name, store_folder(site, run.federation.name, run.method), "onboarded")
    return reply
