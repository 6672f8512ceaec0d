"""Site k's patients with site j's experts: is what a site keeps used, and is it its own?"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from ..errors import SettingsError
from ..evaluation.comparable import defined, over_seeds, per_patient
from ..evaluation.statistics import make_table
from ..reports.files import write_text
from .protocol import Protocol, Run
from .record import Record
from .results import patient_scores, records_of
from .tidy import write_tidy

Table = dict[str, dict[str, float]]
"""Mean Dice by site and model; the models are ``global`` and ``experts of SITE``."""
GLOBAL = "global"


def exchange_report(
    protocol: Protocol, runs: Sequence[Run], output: Path, folder: Path
) -> tuple[str, list[Path]]:
    """Writes ``wrong-expert.md`` and the tidy files into ``folder``; returns the text and the paths.

    Raises:
        SettingsError: PFS-105 when no run is there.
        StoreError: PFS-603 a damaged record, PFS-604.
    """
    records = records_of(output, runs)
    if not records:
        raise SettingsError(
            "PFS-105", "none of the runs has been made", hint="run the same command without --report"
        )
    parts = [
        "# Experts exchanged",
        "Dice of each site's test patients with each site's experts on the same shared parameters; "
        "classes, seeds and folds averaged per patient, patients per site; what is undefined with somebody's "
        "experts, in neither mask, is left out for all. "
        f"{len(records)} of {len(runs)} runs.",
    ]
    for name in protocol.rows:
        own = [records[run.id] for run in runs if name in run.rows and run.id in records]
        if own:
            parts += [f"## {name}", _markdown(exchange_table(own))]
    text = "\n\n".join(parts) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "wrong-expert.md", text)
    return text, [folder / "wrong-expert.md", *write_tidy(runs, records, folder)]


def exchange_table(records: Sequence[Record]) -> Table:
    """Mean over patients of their mean Dice, for the global model and every site's experts.

    What is undefined with somebody's experts counts with nobody's, so that all are compared on the same;
    a site is missing where nothing is left.
    """
    models = sorted({row["model"] for record in records for row in record["scores"]})
    wanted = [one for one in models if one == GLOBAL or one.startswith("experts of ")]
    scores = [s for record in records for model in wanted for s in patient_scores(record, model, model)]
    scores = defined(scores, "dice")
    if not scores:
        return {}
    table = make_table(over_seeds(per_patient(scores)), wanted)
    return {site: {model: float(table.of(model)[site].mean()) for model in wanted} for site in table.values}


def _markdown(table: Table) -> str:
    """A line per site; the last column is what its own experts bring over the mean of the others'."""
    if not table:
        return "No patient has a Dice with everybody's experts."
    models = sorted(set().union(*table.values()) - {GLOBAL})
    heads = ["Patients of", GLOBAL, *models, "Own over others"]
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    for site, by_model in table.items():
        cells = [_cell(by_model, model) for model in heads[1:-1]]
        lines.append([site, *cells, own_over_others(site, by_model)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def own_over_others(site: str, by_model: Mapping[str, float]) -> str:
    """Own experts' Dice minus the mean of the others', signed; – where one is missing."""
    own = by_model.get(f"experts of {site}")
    others = [v for model, v in by_model.items() if model not in (GLOBAL, f"experts of {site}")]
    return "–" if own is None or not others else f"{own - fmean(others):+.3f}"


def _cell(by_model: Mapping[str, float], model: str) -> str:
    value = by_model.get(model)
    return "–" if value is None else f"{value:.3f}"
