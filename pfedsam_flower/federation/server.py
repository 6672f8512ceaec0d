"""The ServerApp: settings checked, run folder opened or resumed, preflight, rounds, closing round."""

from contextlib import suppress
from functools import partial
from logging import ERROR, INFO
from pathlib import Path

import numpy as np
from flwr.app import Context
from flwr.common.logger import log
from flwr.serverapp import Grid, ServerApp

from ..contract.messages import HelloRequest
from ..contract.schema import Contract
from ..contract.software import software
from ..errors import FederationError, PfedsamError, StoreError
from ..settings.run import CoordinatorSettings, RunSettings
from ..settings.sources import differing, differing_text, to_flat
from ..site.files import locked
from .enrolled import registered_names
from .history import RunFolder
from .plan import read_plan
from .preflight import Preflight
from .roster import HELLO_TTL_S, Roster
from .rounds import run_rounds
from .strategy import PFedSAMStrategy


def build_server_app() -> ServerApp:
    """The coordinator's app, as ``server_app/app.py`` hands it to Flower."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        try:
            coordinate(grid, dict(context.run_config), context.run_id)
        except PfedsamError as error:
            log(ERROR, "%s", error.local())
            raise

    return app


def coordinate(grid: Grid, flat: dict[str, object], run_id: int) -> np.ndarray:
    """A whole federation, new or resumed; returns the final shared parameters, float32 [n_values].

    Raises:
        PfedsamError: settings, checkpoint, run folder, or too few sites; the run folder stays resumable.
    """
    run, own = read_plan(flat)
    chosen, kept = differing(to_flat(run)), {f"coordinator.{k}": v for k, v in to_flat(own).items()}
    log(INFO, "%s", differing_text(chosen | differing(kept)))
    folder = RunFolder(Path(own.folder) / run.federation.name, own.keep_newest, own.keep_every)
    with locked(folder.path):
        names = partial(registered_names, Path(own.enrolment)) if own.enrolment else None
        if names is not None:
            names()  # a path that is wrong is said before anything is loaded
        contract, start = _start(run, own)
        resumed = folder.open(run, contract)
        if resumed is None:
            folder.save_round(0, start)
        last, packed = resumed or (0, start)
        log(INFO, "pFedSAM %s: %s from round %s of %s", software(), run.federation.name, last + 1, run.rounds)
        folder.log(
            "start",
            run=str(run_id),
            federation=run.federation.name,
            method=run.method,
            rule=run.aggregation.rule,
            weights=run.aggregation.weights,
            seed=run.seed,
            rounds=run.rounds,
            first_round=last + 1,
            contract=contract.hash,
            n_values=contract.n_values,
            bytes_per_message=4 * contract.n_values,
            expected=list(run.federation.sites),
            classes=list(run.classes),
            software=software(),
            settings=chosen,
        )
        strategy = PFedSAMStrategy(run, contract, folder)
        hello = HelloRequest(software=software(), settings=dict(to_flat(run)), deadline_s=HELLO_TTL_S)
        # a run that has trained goes on with the sites that were looked through; others are still asked
        preflight = Preflight(grid, folder, run, passed=folder.examined() if last else set())
        roster = Roster(grid, hello, folder, preflight, run.federation.sites, strategy.nodes, names)
        try:
            final = run_rounds(grid, strategy, roster, folder, last + 1, packed)
        except BaseException as error:
            with suppress(StoreError):  # it would hide why the run ended
                folder.log("end", status="failed", text=_why(error))
            raise
        folder.log("end", status="completed", text=f"{run.rounds} rounds" if run.rounds else "preflight only")
        return final


def _start(run: RunSettings, own: CoordinatorSettings) -> tuple[Contract, np.ndarray]:
    """The contract and the shared parameters that everybody starts from."""
    import torch

    from ..model.build import build
    from ..model.exchange import export_shared

    torch.set_num_threads(1)
    built = build(run, own.checkpoint)
    log(INFO, "backbone %s: %s", run.backbone.name, built.report.sentence())
    return built.contract, export_shared(built.model, built.contract)


def _why(error: BaseException) -> str:
    """Why a run ended, for its history."""
    if isinstance(error, SystemExit | KeyboardInterrupt):
        error = FederationError(
            "PFS-507",
            "the ServerApp was ended from outside: by a signal, or because its SuperLink went away",
            hint="start the SuperLink and the run again: it goes on where it stopped",
        )
    return error.local() if isinstance(error, PfedsamError) else f"{type(error).__name__}: {error}"
