"""A flat run config → settings that can be carried out, or every fault at once."""

from collections.abc import Mapping
from typing import Any

from ..aggregation.rules import BEARS_A_HOSTILE_SITE, FEWEST, RULES
from ..aggregation.weights import WEIGHTS
from ..contract.methods import METHODS
from ..settings.run import CoordinatorSettings, RunSettings
from ..settings.sources import findings, known_keys, refuse, split_coordinator, suggest


def read_plan(flat: Mapping[str, Any]) -> tuple[RunSettings, CoordinatorSettings]:
    """The federation's and the coordinator's settings.

    Raises:
        SettingsError: PFS-101 with one sentence per fault: unknown key, wrong type, out of range, rows
            that do not exist, values that do not go together.
    """
    run_flat, own_flat = split_coordinator(flat)
    run, problems = findings(RunSettings, run_flat)
    own, own_problems = findings(CoordinatorSettings, own_flat)
    problems += [f"coordinator.{p}" for p in own_problems]
    known = known_keys(RunSettings)
    usable = run if run is not None else _without_faults(run_flat, known)
    if isinstance(usable, RunSettings):
        problems += combinations(usable)
    refuse(problems)
    assert isinstance(run, RunSettings)
    assert isinstance(own, CoordinatorSettings)
    return run, own


def combinations(run: RunSettings) -> list[str]:
    """Faults that no single setting shows; one sentence each."""
    from ..model.build import problems

    found = problems(run)
    for key, value, table in (
        ("aggregation.rule", run.aggregation.rule, RULES),
        ("aggregation.weights", run.aggregation.weights, WEIGHTS),
    ):
        if value not in table:
            found.append(f"{key} = {value!r}: no such row; {suggest(value, list(table))}")
    named, minimum = run.federation.sites, run.federation.minimum_sites
    if named and minimum > len(named):
        found.append(
            f"federation.minimum-sites = {minimum}: only {len(named)} sites are named in federation.sites"
        )
    if run.aggregation.rule in BEARS_A_HOSTILE_SITE and minimum < FEWEST:
        found.append(
            f"aggregation.rule = {run.aggregation.rule!r}: of two sites nobody can say which is wrong; set "
            f"federation.minimum-sites to {FEWEST} or more"
        )
    if len(set(named)) != len(named):
        found.append("federation.sites: a name is given twice")
    method = METHODS.get(run.method)
    if run.training.global_steps == 0 and method is not None and method.shared:
        found.append("training.global-steps = 0: nothing would be shared")
    if run.rounds and run.training.personal_from > run.rounds + 1:
        found.append(f"training.personal-from = {run.training.personal_from}: later than the closing round")
    return found


def _without_faults(flat: Mapping[str, Any], known: list[str]) -> RunSettings | None:
    """Settings of the keys that are valid alone, so that combinations are checked in the same breath."""
    good = {k: v for k, v in flat.items() if k in known and not findings(RunSettings, {k: v})[1]}
    run, problems = findings(RunSettings, good)
    return None if problems else run  # type: ignore[return-value]
