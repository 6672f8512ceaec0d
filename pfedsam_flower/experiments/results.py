"""From records of runs to rows: scores, costs and curves, as ``evaluation.comparison`` wants them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from ..data.findings import some
from ..errors import SettingsError
from ..evaluation.comparable import PatientScore
from ..evaluation.curves import CurvePoint, Gate
from ..evaluation.metrics import Overlap
from ..evaluation.row_results import RunFacts
from .budget import steps_taken
from .onboarding import SIZES
from .protocol import Run
from .record import Record, read_record, run_path
from .rows import Model, Row

CURVES = {"global": "global", "personal": "personal", "alone": "alone"}
"""By the model of a row: what its learning curve is of. Mixes are made at the end and have none."""

NOBODY = "0"
"""Patients of a newcomer that fits nothing: it uses the global model as it is."""


@dataclass(frozen=True)
class Material:
    """What a comparison is made from."""

    scores: list[PatientScore]
    facts: list[RunFacts]
    curves: list[CurvePoint]
    gates: list[Gate]


def records_of(output: Path, runs: Sequence[Run]) -> dict[str, Record]:
    """The records that are there, by id of the run.

    Raises:
        StoreError: PFS-603 when one is damaged.
        SettingsError: PFS-105 when two were scored on different masks of the same patient.
    """
    found = {run.id: read_record(path) for run in runs if (path := run_path(output, run.id)).exists()}
    references = References(output)
    for record in found.values():
        references.add(record)
    return found


class References:
    """The masks that runs were scored on, as numbers of voxels: some may be corrected in between."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self.seen: dict[tuple[str, str, str], tuple[int, str]] = {}

    def add(self, record: Record) -> None:
        """Takes in a run's masks.

        Raises:
            SettingsError: PFS-105 when some are others than before: rows would be compared on different ones.
        """
        voxels: dict[tuple[str, str, str, str], int] = defaultdict(int)
        for score in record["scores"]:
            voxels[score["model"], score["site"], score["patient"], score["name"]] += score["reference"]
        run = f"{record['began']} ({record['id']})"
        changed: dict[str, str] = {}
        for (_, site, patient, name), count in voxels.items():
            before, other = self.seen.setdefault((site, patient, name), (count, run))
            if before != count:
                changed[f"{site}/{patient} {name}"] = other
        if changed:
            older, newer = sorted((run, next(iter(changed.values()))))
            raise SettingsError(
                "PFS-105",
                f"{len(changed)} masks have changed between runs: {some(changed)}; the run of {older} has "
                f"other voxels there than that of {newer}",
                where=str(self.output / "runs"),
                hint="use another --output, or remove from there the runs that began before the change",
                counts={"masks": len(changed)},
            )


def material(runs: Sequence[Run], rows: Mapping[str, Row], records: Mapping[str, Record]) -> Material:
    """Everything that the runs say of the rows, in the order of the rows."""
    found = Material([], [], [], [])
    gated = set[str]()  # rows that share a run share its experts: the first one shows them
    for name, row in rows.items():
        for run in runs:
            record = records.get(run.id)
            if name not in run.rows or record is None:
                continue
            for label, model in models_of(record, name, row.model).items():
                found.scores.extend(patient_scores(record, label, model))
            found.facts.append(facts_of(record, name, row.model))
            if not record.get("unseen"):  # a site's curve depends on who is left out
                found.curves.extend(_curve(record, name, row.model))
            if row.model not in ("alone", "global") and not record.get("unseen") and run.id not in gated:
                gated.add(run.id)
                found.gates.extend(_gates(record, name))
    return found


def models_of(record: Record, name: str, model: Model) -> dict[str, str]:
    """Models of a record by the row that they become: one, or of a newcomer one per number of patients."""
    there = {row["model"] for row in record["scores"]}
    own = model_in(record, model)
    sizes = [size for size in SIZES if f"alone of {size}" in there]
    if not sizes:
        return {name: own}
    as_it_comes = {} if model == "alone" else {f"{name}, {NOBODY}": "global"}
    fitted = {} if model == "global" else {f"{name}, {size}": f"{own} of {size}" for size in sizes}
    return as_it_comes | fitted


def model_in(record: Record, model: Model) -> str:
    """What the row's model is called in a record: without one trained alone, all models are the blend."""
    there = {row["model"].split(" of ")[0] for row in record["scores"]}
    return "deployed" if model == "blend" and "blend" not in there else model


def patient_scores(record: Record, row: str, model: str) -> list[PatientScore]:
    """One per test patient and annotated class: voxels of all cases pooled, distances averaged over cases."""
    cases: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for score in record["scores"]:
        if score["model"] == model:
            cases[score["site"], score["patient"], score["name"]].append(score)
    return [
        PatientScore(
            row=row,
            site=site,
            patient=patient,
            name=name,
            seed=int(record["seed"]),
            dice=sum((_overlap(one) for one in found), Overlap()).dice,
            hd95=_distance(found, "hd95", unit),
            nsd=_distance(found, "nsd", unit),
            unit=unit,
            empty=sum(not one["reference"] for one in found),
            marked=sum(not one["reference"] and one["predicted"] > 0 for one in found),
        )
        for (site, patient, name), found in sorted(cases.items())
        for unit in (_unit(found),)
    ]


def facts_of(record: Record, row: str, model: Model) -> RunFacts:
    """What the run cost, as far as the row's model needs it. Bytes are means over sites and training rounds.

    Seconds are those of the whole run, with what was spared by remembered steps.
    """
    count = record["parameters"]
    shared, own = count["shared"], count["personal"] + (count["shared"] if count["copy"] else 0)
    replies = [reply for r in record["rounds"] if r["kind"] == "train" for reply in r["replies"].values()]
    up, down = _mean(r["bytes_up"] for r in replies), _mean(r["bytes_down"] for r in replies)
    if model == "alone":
        trained, travels, stays, up, down = shared, 0, shared, 0.0, 0.0
    elif model == "global":
        trained, travels, stays = shared, shared, 0
    else:
        trained, travels, stays = shared + count["personal"], shared, own
    steps = steps_taken(record["settings"], model)
    return RunFacts(
        row=row,
        seed=int(record["seed"]),
        fold=int(record["fold"]),
        trained=trained,
        shared=travels,
        personal=stays,
        bytes_up=up,
        bytes_down=down,
        seconds=record["seconds"] + record["recalled"]["seconds"],
        peak_memory_mb=record["peak_memory_mb"],
        global_steps=steps[0],
        personal_steps=steps[1],
        alone_steps=steps[2],
    )


def _curve(record: Record, row: str, model: Model) -> list[CurvePoint]:
    """Sites measure before they train: what round 3 says is the state after two rounds."""
    name = CURVES.get(model)
    last = sum(r["kind"] == "train" for r in record["rounds"])
    return [
        CurvePoint(
            row=row,
            site=site,
            seed=int(record["seed"]),
            fold=int(record["fold"]),
            round=last if r["kind"] == "close" else r["round"] - 1,
            model=name,
            dice=value,
        )
        for r in record["rounds"]
        for site, reply in r["replies"].items()
        if name is not None and (value := reply["metrics"].get(f"validation.dice.{name}")) is not None
    ]


def _gates(record: Record, row: str) -> list[Gate]:
    return [
        Gate(row, site, int(record["seed"]), int(record["fold"]), r["round"], value)
        for r in record["rounds"]
        for site, reply in r["replies"].items()
        if (value := reply["metrics"].get("gate.entropy")) is not None
    ]


def _overlap(score: Mapping[str, Any]) -> Overlap:
    return Overlap(score["both"], score["predicted"], score["reference"])


def _mean(values: Iterable[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return fmean(defined) if defined else None


def _distance(cases: Sequence[Mapping[str, Any]], metric: str, unit: str) -> float | None:
    """Mean over the cases that have it; millimetres and pixels have none."""
    return None if unit == "mixed" else _mean(one[metric] for one in cases)


def _unit(cases: Sequence[Mapping[str, Any]]) -> str:
    units = {one["unit"] for one in cases if one["hd95"] is not None}
    return units.pop() if len(units) == 1 else "mixed" if units else ""
