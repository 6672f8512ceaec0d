"""A comparison as Markdown: Dice, sites, tests, empty cases and distances, classes, costs, notes."""

from collections.abc import Mapping, Sequence

from ..evaluation.comparison import Comparison
from ..evaluation.resampling import Interval
from ..evaluation.row_results import RowResult
from .tables import bytes_text

NOTHING = "–"
Cells = Sequence[str]


def as_markdown(comparison: Comparison, pictures: Mapping[str, str] | None = None) -> str:
    """The whole report.

    Args:
        pictures: captions by file name, in the same folder.
    """
    parts = [f"# {comparison.title or 'Comparison'}", _facts(comparison)]
    parts += ["## Dice", _dice(comparison), "## Each site", _sites(comparison)]
    if comparison.against or comparison.untested:
        parts += [f"## {comparison.method} against each rival", _tests(comparison)]
    if len(comparison.classes) > 1:
        parts += ["## Each class", _classes(comparison)]
    if any(row.empty or row.surface for row in comparison.rows):
        parts += ["## Empty cases and distances", _marked(comparison)]
    if any(row.costs for row in comparison.rows):
        parts += ["## Costs", _costs(comparison)]
    if pictures:
        parts += ["## Pictures", *(f"![{caption}]({name})" for name, caption in pictures.items())]
    if comparison.notes:
        parts += ["## Notes", "\n".join(f"- {note}" for note in comparison.notes)]
    return "\n\n".join(parts) + "\n"


def _facts(comparison: Comparison) -> str:
    patients = ", ".join(f"{site} {n}" for site, n in comparison.patients.items())
    texts = [
        f"Test patients: {sum(comparison.patients.values())} ({patients}).",
        f"Seeds: {_listed(comparison.seeds)}."
        + f" Folds: {_listed(comparison.folds)}." * bool(comparison.folds),
        "Dice in 0..1, classes and seeds averaged per patient; intervals of 95 % by bootstrap over patients "
        "within sites; the mean over sites gives each site the same weight.",
    ]
    if any(row.lacks for row in comparison.rows):
        texts.append(
            "†: not scored on all patients with all seeds (see the notes), so its means are of others."
        )
    return "\n".join(texts)


def _dice(comparison: Comparison) -> str:
    over = f"over {comparison.reference}"
    heads = ["Mean over sites", "Mean over patients", "Worst site", f"Gain {over}", f"Worst gain {over}"]
    lines = []
    for row in comparison.rows:
        dice, worst = row.dice, row.dice.worst_gain
        gain, least = NOTHING, NOTHING
        if row.gain and row.row != comparison.reference:
            gain = _gain_within(row.gain.mean, row.gain.interval)
            least = f"{_signed(dice.gains[worst])} {worst}"
        mean = _dice_within(dice.mean_over_sites, dice.interval)
        site = f"{dice.sites[dice.worst_site]:.3f} {dice.worst_site}"
        lines.append([_name(row, comparison), mean, f"{dice.mean_over_patients:.3f}", site, gain, least])
    return _table(["Row", *heads], lines)


def _sites(comparison: Comparison) -> str:
    sites = list(comparison.patients)
    heads = [f"{site} (n = {n})" for site, n in comparison.patients.items()]
    lines = [
        [
            _name(row, comparison),
            *(_and_gain(row.dice.sites, row.dice.gains, s, comparison, row) for s in sites),
        ]
        for row in comparison.rows
    ]
    return (
        f"n: test patients. In brackets: gain over {comparison.reference} on the same patients.\n\n"
        + _table(["Row", *heads], lines)
    )


def _and_gain(
    values: Mapping[str, float], gains: Mapping[str, float], site: str, comparison: Comparison, row: RowResult
) -> str:
    if site not in values:
        return NOTHING
    known = site in gains and row.row != comparison.reference
    return f"{values[site]:.3f}" + (f" ({_signed(gains[site])})" if known else "")


def _tests(comparison: Comparison) -> str:
    several = len(comparison.seeds) > 1
    heads = ["Rival", "Gain", "Least gain", "p", "p, Holm", "Patients"] + ["Gain by seed"] * several
    lines = []
    for one in comparison.against:
        least = min(one.gains, key=lambda site: (one.gains[site], site))
        by_seed = " ".join(_signed(gain) for gain in comparison.by_seed[one.rival].values())
        lines.append(
            [
                one.rival,
                _gain_within(one.gain, one.interval),
                f"{_signed(one.gains[least])} {least}",
                _p(one.p),
                _p(one.p_holm),
                str(one.patients),
                *[by_seed] * several,
            ]
        )
    for other in comparison.untested:
        gain = NOTHING if other.gain is None else _gain_within(other.gain, other.interval)
        seeds = f"seed {_listed(other.seeds)}" if other.seeds else NOTHING
        lines.append(
            [
                f"{other.rival} †",
                gain,
                NOTHING,
                "not tested",
                NOTHING,
                str(other.patients),
                *[seeds] * several,
            ]
        )
    said = f"Gain: {comparison.method} minus the rival, mean over sites, on the same patients. "
    named = len(comparison.against) + len(comparison.untested)
    said += f"Paired sign-flip test, Holm's correction for all that were named ({named})."
    return said + "\n\n" + _table(heads, lines)


def _classes(comparison: Comparison) -> str:
    lines = []
    for row in comparison.rows:
        cells = [_name(row, comparison)]
        for name in comparison.classes:
            found = row.classes.get(name)
            cells.append(NOTHING if found is None else _dice_within(found.mean_over_sites, found.interval))
        lines.append(cells)
    return "Mean over sites.\n\n" + _table(["Row", *comparison.classes], lines)


def _marked(comparison: Comparison) -> str:
    surfaces = [row.surface for row in comparison.rows if row.surface]
    heads = ["Row", "Empty cases", "Of these marked"]
    said = "Empty cases: cases x classes with nothing to find; of these marked: the share with a mark."
    if surfaces:
        heads += [f"HD95 ({surfaces[0].unit or NOTHING})", "NSD", "Scores without distance"]
        said += (
            f" Distances: mean over sites on the {surfaces[0].patients} patients that have one in every "
            "complete row that has any; a score is without one where the class is missing in either mask."
        )
    lines = []
    for row in comparison.rows:
        marked = NOTHING if row.marked is None else f"{row.marked:.3f}"
        cells = [_name(row, comparison), str(row.empty), marked]
        if surfaces and row.surface:
            cells += [_number(row.surface.hd95, ".2f"), _number(row.surface.nsd, ".3f")]
            cells += [f"{row.surface.undefined} of {row.surface.scores}"]
        elif surfaces:
            cells += [NOTHING] * 3
        lines.append(cells)
    return said + "\n\n" + _table(heads, lines)


def _costs(comparison: Comparison) -> str:
    heads = ["Row", "Trained", "Shared", "Personal", "Up", "Down", "Steps global", "personal", "alone"]
    heads += ["Seconds", "Peak memory", "Runs"]
    lines = []
    for row in comparison.rows:
        costs = row.costs
        lines.append(
            [
                _name(row, comparison),
                *(_number(costs.get(name), ",.0f") for name in ("trained", "shared", "personal")),
                *(bytes_text(costs[n]) if n in costs else NOTHING for n in ("bytes_up", "bytes_down")),
                *(_number(costs.get(f"{part}_steps"), ".0f") for part in ("global", "personal", "alone")),
                _number(costs.get("seconds"), ".1f"),
                f"{costs['peak_memory_mb']:.0f} MB" if "peak_memory_mb" in costs else NOTHING,
                str(row.runs) if row.runs else NOTHING,
            ]
        )
    said = (
        "Parameters of the model; bytes as measured, per site and round; optimiser steps per site in a whole "
    )
    return said + "run; seconds of a run. Means over the runs.\n\n" + _table(heads, lines)


def _name(row: RowResult, comparison: Comparison) -> str:
    text = f"**{row.row}**" if row.row == comparison.method else row.row
    return text + " †" * bool(row.lacks)


def _table(heads: Cells, lines: Sequence[Cells]) -> str:
    """The first column to the left, the others to the right."""
    rows = [heads, ["---", *["---:"] * (len(heads) - 1)], *lines]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def _dice_within(value: float, interval: Interval | None) -> str:
    return f"{value:.3f}" + (f" [{interval.low:.3f}, {interval.high:.3f}]" if interval else "")


def _gain_within(value: float, interval: Interval | None) -> str:
    return _signed(value) + (f" [{_signed(interval.low)}, {_signed(interval.high)}]" if interval else "")


def _signed(value: float) -> str:
    """A small loss stays -0.000, as its sign counts; what is 0 but for rounding is not a loss."""
    return f"{value if abs(value) > 1e-12 else 0.0:+.3f}"


def _number(value: float | None, form: str) -> str:
    return NOTHING if value is None else f"{value:{form}}"


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else f"{value:.5f}"


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(str(n) for n in numbers)
