"""The numbers behind a report for other programs: ``scores.csv``, a line per score, and ``runs.json``."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..site.files import write_whole
from .protocol import Run
from .record import Record
from .results import facts_of, patient_scores

COLUMNS = (
    "run", "rows", "model", "site", "patient", "class", "seed", "fold",
    "dice", "hd95", "nsd", "unit", "empty", "marked",
)  # fmt: skip


def write_tidy(runs: Sequence[Run], records: Mapping[str, Record], folder: Path) -> list[Path]:
    """Writes both files; returns their paths. They name patients, so only their owner may read them.

    Raises:
        StoreError: PFS-604 when a file cannot be written.
    """
    scores, costs = folder / "scores.csv", folder / "runs.json"
    there = [(run, records[run.id]) for run in runs if run.id in records]
    write_whole(scores, _table(there).encode("utf-8", "surrogateescape"))
    write_whole(costs, (json.dumps([_costs(*one) for one in there], indent=1) + "\n").encode())
    return [scores, costs]


def _table(there: Sequence[tuple[Run, Record]]) -> str:
    """One line per run, model, test patient and class; what is not defined is blank."""
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n", extrasaction="ignore")
    table.writeheader()
    for run, record in there:
        own = {"run": run.id, "rows": " ".join(run.rows), "fold": run.fold}
        for model in sorted({row["model"] for row in record["scores"]}):
            for score in patient_scores(record, "", model):
                table.writerow(asdict(score) | own | {"class": score.name, "model": model})
    return text.getvalue()


def _costs(run: Run, record: Record) -> dict[str, Any]:
    """Settings, machine, time, memory and bytes of a run."""
    kept = (
        "id", "seed", "fold", "pooled", "began", "hardware", "seconds", "recalled", "peak_memory_mb",
        "peak_is_of_this_run", "parameters", "wire", "settings",
    )  # fmt: skip
    facts = facts_of(record, "", "global")
    return {
        "rows": run.rows,
        **{key: record[key] for key in kept},
        "bytes_up_per_round": facts.bytes_up,
        "bytes_down_per_round": facts.bytes_down,
        "rounds": [
            {"round": r["round"], "kind": r["kind"], "seconds": r["seconds"]} for r in record["rounds"]
        ],
        "factor_errors": {
            str(r["round"]): r["factor_errors"] for r in record["rounds"] if "factor_errors" in r
        },
    }
