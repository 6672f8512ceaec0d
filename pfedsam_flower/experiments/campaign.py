"""Many runs, one after the other, and the report on what there is."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from ..data.findings import some
from ..errors import SettingsError, StoreError
from ..evaluation.comparison import Comparison, compare_rows
from ..reports.comparison import write_comparison
from .memory import Memory
from .prepared import prepared_images
from .protocol import Protocol, Run
from .record import Record, read_record, run_path
from .results import NOBODY, References, material, records_of
from .running import Outcome, run_one
from .tidy import write_tidy

Tell = Callable[[Outcome, int, float | None], None]
"""Called with what became of a run, how many are left, and the seconds that these may take, None: unknown."""


def make_runs(
    protocol: Protocol,
    runs: Sequence[Run],
    output: Path,
    tell: Tell,
    *,
    remember: bool = True,
    keep: bool = False,
) -> list[Outcome]:
    """Makes those of the runs that are not there; one outcome each, in order.

    Runs that another process was busy with are looked at again in the end.

    Args:
        remember: keep the results of steps that runs share, in ``output/memory``.
        keep: the work folders.

    Raises:
        StoreError: PFS-604 when ``output`` cannot be written.
        SettingsError: PFS-105 when a run was scored on other masks than an earlier one; none is made then.
    """
    references = References(output)
    for run in runs:
        path = run_path(output, run.id)
        if path.exists():
            with suppress(StoreError):  # a damaged record is named in the report
                references.add(read_record(path))
    memory = Memory(output / "memory") if remember else None
    outcomes: list[Outcome] = []
    with prepared_images(output / "prepared") as prepared:
        for place, run in enumerate(runs):
            outcome = run_one(protocol, run, output, memory, prepared, keep=keep)
            outcomes.append(outcome)
            if outcome.state == "made" and memory is not None:
                memory.prune()
            if outcome.state != "there":
                left = missing(runs[place + 1 :], output)
                tell(outcome, len(left), time_left(outcomes, left))
            if outcome.state == "made":
                references.add(read_record(run_path(output, run.id)))
    return [
        replace(one, state="there") if one.state == "busy" and run_path(output, one.run.id).exists() else one
        for one in outcomes
    ]


def missing(runs: Sequence[Run], output: Path) -> list[Run]:
    """Those that have not been made."""
    return [run for run in runs if not run_path(output, run.id).exists()]


def time_left(outcomes: Sequence[Outcome], left: Sequence[Run]) -> float | None:
    """Seconds that runs may take: as those of the same rows did, or as all did. None before any was made."""
    by_rows: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for one in outcomes:
        if one.state == "made":
            by_rows[one.run.rows].append(one.seconds)
    every = [seconds for some_runs in by_rows.values() for seconds in some_runs]
    if not every:
        return None
    return sum(fmean(by_rows.get(run.rows, every)) for run in left)


def check_method(protocol: Protocol, method: str) -> None:
    """Refuses a row that is to be tested and is not compared (PFS-101)."""
    if method not in protocol.rows:
        raise SettingsError(
            "PFS-101",
            f"--method {method}: it is not among the rows that are compared: {some(protocol.rows)}",
            hint=f"name one of them, or add {method} to --rows",
        )
    if protocol.experiment == "onboarding" and protocol.rows[method].model in ("alone", "global"):
        raise SettingsError(
            "PFS-101",
            f"--method {method}: a newcomer takes nothing from the others there, or fits nothing of its own",
            hint="name a row with a personal part or a mix, pfedsam-deployed for one",
        )


def report(
    protocol: Protocol,
    runs: Sequence[Run],
    output: Path,
    folder: Path,
    *,
    method: str,
    title: str = "",
    command: str = "",
) -> tuple[Comparison, list[Path]]:
    """Compares what is there and writes everything into ``folder``; returns the paths.

    Args:
        method: the row that is tested against the others, models of its own run and the pooled one apart.
        title, command: for the report.

    Raises:
        SettingsError: PFS-101 no such row among those that are compared; PFS-105 nothing to compare, or
            masks that have changed between runs.
        StoreError: PFS-603 a damaged record, PFS-604.
    """
    check_method(protocol, method)
    rows = protocol.rows
    records = records_of(output, runs)
    if not records:
        raise SettingsError(
            "PFS-105",
            f"none of the {len(runs)} runs has been made",
            where=str(output),
            hint="run the same command without --report",
        )
    found = material(runs, rows, records)
    tested, reference = method, "local" if protocol.experiment == "main" or "local" in rows else "fedavg-lora"
    of_its_run = {name for run in runs if method in run.rows for name in run.rows}
    rivals = [name for name, row in rows.items() if name not in of_its_run and not row.pooled]
    if protocol.experiment == "onboarding":
        tested, reference = f"{method}, all", f"{method}, {NOBODY}"
        rivals = [reference, *(f"{name}, all" for name in rivals if rows[name].model != "global")]
    comparison = compare_rows(
        found.scores,
        found.facts,
        found.curves,
        gates=found.gates,
        method=tested,
        reference=reference,
        rivals=rivals,
        title=title,
        notes=notes(protocol, runs, records, command),
    )
    folder.mkdir(parents=True, exist_ok=True)
    return comparison, [*write_tidy(runs, records, folder), *write_comparison(comparison, folder)]


def notes(protocol: Protocol, runs: Sequence[Run], records: Mapping[str, Record], command: str) -> list[str]:
    """What a reader must know: command, rows, protocol, machine, and what is missing; a sentence each."""
    first = next(iter(records.values()))
    settings, machines = first["settings"], [record["hardware"] for record in records.values()]
    spared = sum(record["recalled"]["seconds"] for record in records.values())
    said = [f"Command: `{command}`."] if command else []
    if protocol.experiment == "leave-one-out":
        said.append("Each site was left out in turn; the global model of the others is scored on all of it.")
    if protocol.experiment == "onboarding":
        said.append(
            "Each site came last in turn: it took the shared parameters of the others and did the closing "
            "round with as many training patients of its own as the row says (0: the shared parameters as "
            "they are) and all its validation patients."
        )
    if protocol.patients is not None:
        said.append(
            f"Few patients: in each fold a site trains on {protocol.patients} at most and validates on a "
            "quarter as many, one at least; the tests are the same as with all."
        )
    said += [f"{name}: {row.sentence}." for name, row in protocol.rows.items()]
    said += [
        f"Backbone {settings['backbone.name']}, input {settings['image.size']} pixels, "
        f"{settings['rounds']} rounds, batch {settings['training.batch-size']}.",
        f"{protocol.folds.count} folds by patient, everybody tested once; "
        f"seeds {', '.join(map(str, protocol.seeds))}; "
        + (
            "as many global steps per round for every row (equal communication)."
            if protocol.budget == "global"
            else "as many optimiser steps in all for every row."
        ),
        f"Machine: {some(dict.fromkeys(_machine(one) for one in machines))}.",
        f"Software: {some(dict.fromkeys(str(one['software']) for one in machines))}.",
    ]
    if spared:
        said.append(
            "Seconds are what a run takes by itself: steps that runs share were made once and are counted "
            f"in each ({spared / 3600:.1f} h were spared so)."
        )
    if protocol.folds.too_small:
        said.append(f"Too small for folds, left out: {some(protocol.folds.too_small)}.")
    if len(records) < len(runs):
        said.append(f"{len(runs) - len(records)} of {len(runs)} runs are missing.")
    return said


def _machine(facts: Mapping[str, object]) -> str:
    gpu = f", {facts['gpu']}" if "gpu" in facts else ""
    return f"{facts['cpu']}, {facts['threads']} thread(s){gpu}, torch {facts['torch']}"
