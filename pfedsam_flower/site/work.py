"""From a request to a reply, with the site's disk: check, answer again what was answered, work, record."""

import hashlib
import json
import logging
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from ..contract.messages import Refusal, RoundReply, RoundRequest
from ..contract.schema import digest
from ..data.samples import load_site
from ..errors import ContractError, PfedsamError
from ..model.build import Built, build
from ..model.exchange import personal_state
from ..settings.run import RunSettings
from ..settings.site import SiteSettings
from ..settings.sources import settings_digest, to_flat
from . import generations, store
from .adopted import adopted
from .files import locked
from .hello import run_settings
from .memory import is_about_memory, too_little_memory
from .paths import cache_path, split_path, store_folder
from .recall import Recall, forgetful
from .round import RoundResult, fresh, norm_of, site_round
from .scores import FILE, write_scores

log = logging.getLogger(__name__)


def answer_round(
    request: RoundRequest,
    broadcast: np.ndarray,
    site: SiteSettings,
    recall: Recall = forgetful,
) -> tuple[RoundReply, np.ndarray | None]:
    """A round's reply and delta; everything is on disk before this returns.

    Args:
        recall: who remembers steps that other runs share.

    Raises:
        PfedsamError: settings, data, checkpoint, contract or store; nothing was changed then.
    """
    start = perf_counter()
    torch.set_num_threads(site.threads)
    run = run_settings(request.settings)
    built = build(run, site.checkpoint, site.device)
    if request.contract != built.contract.hash:
        raise ContractError(
            "PFS-401",
            f"the coordinator's contract is {request.contract[:8]}, this site's {built.contract.hash[:8]}",
            hint="compare the backbone's weights on both sides first, then the installed versions",
        )
    built.contract.unpack(broadcast)
    if digest(broadcast) != request.broadcast:
        raise ContractError("PFS-404", "the shared parameters are not those whose digest came with them")
    if request.round > run.rounds if request.kind == "train" else request.round != run.rounds + 1:
        raise ContractError(
            "PFS-406", f"{request.kind} of round {request.round} is not one of a run of {run.rounds} rounds"
        )
    if not np.isfinite(broadcast).all():
        raise ContractError("PFS-404", "the shared parameters that came are not finite")
    folder = store_folder(site, run.federation.name, run.method)
    bound = binding(run, site, built)
    # a ClientApp whose SuperNode was killed goes on for a while: what it finishes is answered from disk
    with locked(folder, wait_s=request.deadline_s / 2):
        asked = settings_digest(to_flat(run))
        again = store.stored_reply(folder, bound, request.kind, request.round, request.broadcast, asked)
        if again is not None:
            return again
        personal = store.load_before(folder, bound, request.round)
        say_jump(folder, request.round, site.site)
        if personal is None:
            personal = fresh(built, adopted(folder, bound))
        loading = perf_counter()
        parts = ("train", "validation") if request.kind == "train" else ("train", "validation", "test")
        data = load_site(
            site,
            run,
            split_path(site, run.federation.name),
            parts=parts,
            stretch=built.model.pixels.stretch,
            cache=cache_path(site, run.federation.name),
        )
        loaded = perf_counter()
        try:
            result = site_round(
                request.kind, request.round, broadcast, built, data, personal, run, site.site, recall
            )
        except (MemoryError, RuntimeError) as error:
            if not is_about_memory(error):
                raise
            raise too_little_memory(run, site) from error
        check_finite(result)
        reply = RoundReply(
            kind=request.kind,
            site=site.site,
            round=request.round,
            contract=built.contract.hash,
            broadcast=request.broadcast,
            n_train_patients=len(data.split.train),
            n_train_samples=len(data.train),
            metrics=result.metrics,
            seconds=result.seconds.model_copy(update={"start": loading - start, "load": loaded - loading}),
            delta="" if result.delta is None else digest(result.delta),
            delta_norm=norm_of(result.delta),
        )
        if result.scores:
            write_scores(folder / FILE, result.scores)
        store.record(folder, bound, result.personal, reply, result.delta, asked)
    return reply, result.delta


def say_jump(folder: Path, number: int, site: str) -> None:
    """A line in the site's log where round ``number`` is not the one that the site expects."""
    found = generations.read(folder)
    if found is None and number > 1:
        log.warning("%s begins with round %s: it has no personal state yet", site, number)
    elif found is not None and generations.jump(found.rows, number):
        before = found.rows[-1]["round"]
        log.warning(
            "%s is asked for round %s after round %s; the personal state of round %s is kept aside",
            *(site, number, before, before),
        )


def check_finite(result: RoundResult) -> None:
    """Nothing to do while training has stayed finite.

    Raises:
        ContractError: PFS-403; what the site had is still on its disk.
    """
    own = result.personal
    arrays = [
        result.delta,
        own.alone,
        own.own,
        *(values.numpy(force=True) for values in own.tensors.values()),
    ]
    n_bad = sum(int(np.size(a) - np.isfinite(a).sum()) for a in arrays if a is not None)
    if n_bad:
        raise ContractError(
            "PFS-403",
            f"{n_bad} values are not finite after training; nothing of this round was kept",
            hint="another run, with another federation.name and a lower training.learning-rate-personal or "
            "-shared; or go on without this site (federation.sites)",
            counts={"values": n_bad},
        )


def refused(request: RoundRequest, site: SiteSettings, error: PfedsamError) -> RoundReply:
    """The reply of a site that did not do the work; carries the public text only."""
    return RoundReply(
        kind=request.kind,
        site=site.site,
        round=request.round,
        contract=request.contract,
        broadcast=request.broadcast,
        refusal=Refusal(code=error.code, text=error.public()),
    )


def binding(run: RunSettings, site: SiteSettings, built: Built) -> dict[str, Any]:
    """What personal state belongs to; state with another binding is refused."""
    shapes = sorted((k, list(v.shape)) for k, v in personal_state(built.model, built.roles).items())
    return {
        "federation": run.federation.name,
        "site": site.site,
        "method": run.method,
        "seed": run.seed,
        "backbone": built.contract.backbone,
        "contract": built.contract.hash,
        "personal": hashlib.sha256(json.dumps(shapes).encode()).hexdigest(),
    }
