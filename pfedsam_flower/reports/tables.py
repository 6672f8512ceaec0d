"""The final table: one row per site, the mean, and what it says in sentences; as Markdown and CSV."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import influence
from .files import write_text
from .history import PARTS, History, metric

MODELS = ("alone", "global", "personal", "deployed")
MARKUP = re.compile(r"([\[\]<>|`])")
"""What would be a link, a picture or HTML to a reader of Markdown."""
HEADINGS = ("Site", "Train", "Val.", "Test", "Alone", "Global", "Personalised", "Deployed", "Mix", "Gain")


@dataclass(frozen=True)
class Row:
    """One line of the final table; None where a value is undefined.

    Attributes:
        site: the site's name, or ``mean``.
        patients: numbers in the order of ``PARTS``.
        dice: in 0..1, in the order of ``MODELS``: the model trained without the federation for as many
            steps, the global one, the personalised one, and what the site chose to use.
        mix: that choice, the share of each model by name; empty where it is not known.
        of: sites behind each Dice of the mean; empty in the row of a site.
    """

    site: str
    patients: tuple[int | None, ...]
    dice: tuple[float | None, ...]
    mix: tuple[tuple[str, float], ...] = ()
    of: tuple[int, ...] = ()

    @property
    def gain(self) -> float | None:
        """Dice of the deployed model over the one trained alone; None for means over different sites."""
        alone, *_, deployed = self.dice
        if deployed is None or alone is None or (self.of and self.of[0] != self.of[-1]):
            return None
        return deployed - alone


def site_rows(history: History) -> list[Row]:
    """One row per site, in order of name; Dice on the test patients from the closing round."""
    replies = history.closing.replies if history.closing else {}
    rows = []
    for name, site in history.sites.items():
        reply = replies.get(name)
        patients = tuple(site.patients.get(part) for part in PARTS)
        dice = tuple(metric(reply, f"test.dice.{model}") for model in MODELS)
        shares = [(model, metric(reply, f"mix.{model}")) for model in MODELS[:-1]]
        mix = tuple((model, share) for model, share in shares if share is not None)
        rows.append(Row(name, patients, dice, mix))
    return rows


def mean_row(rows: list[Row]) -> Row:
    """Sums of the patients and unweighted means of the Dice over the sites where it is defined."""
    patients = [[row.patients[i] for row in rows if row.patients[i] is not None] for i in range(len(PARTS))]
    dice = [[d for row in rows if (d := row.dice[i]) is not None] for i in range(len(MODELS))]
    sums = tuple(sum(n for n in column if n is not None) if column else None for column in patients)
    means = tuple(sum(column) / len(column) if column else None for column in dice)
    return Row("mean", sums, means, of=tuple(len(column) for column in dice))


def cells(row: Row, n_sites: int) -> tuple[str, ...]:
    """The row as text in the order of ``HEADINGS``; a mean over fewer than all sites says so."""
    counts = row.of or (n_sites,) * len(MODELS)
    dice = [_dice(d) + (f" ({n} of {n_sites})" if d is not None and n < n_sites else "")
            for d, n in zip(row.dice, counts, strict=True)]  # fmt: skip
    patients = ["–" if n is None else str(n) for n in row.patients]
    gain = "–" if row.gain is None else f"{row.gain:+.3f}"
    return row.site, *patients, *dice, which(row.mix), gain


def _dice(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def which(mix: tuple[tuple[str, float], ...]) -> str:
    """The deployed model in words: shares of alone, global and personalised."""
    return " ".join(f"{model[0]} {share:.2f}" for model, share in mix) or "–"


def sentences(history: History) -> list[str]:
    """What the table says: the site that gains least, bytes per message, seconds per round."""
    texts = []
    rows = [row for row in site_rows(history) if row.gain is not None]
    if rows:
        worst = min(rows, key=lambda row: row.gain or 0.0)
        verb = "gains least over training alone" if (worst.gain or 0.0) >= 0 else "is better off alone"
        change = f"{worst.gain:+.3f} Dice ({_dice(worst.dice[0])} alone, {_dice(worst.dice[-1])} deployed)"
        texts.append(f"Worst site: {worst.site} {verb}, {change}.")
    size = history.start.get("bytes_per_message")
    if size is not None:
        texts.append(f"Each message carries {bytes_text(float(size))} of shared parameters.")
    seconds = [r.seconds for r in history.training if r.seconds is not None]
    if seconds:
        texts.append(f"A round took {sum(seconds) / len(seconds):.1f} s on average ({len(seconds)} rounds).")
    missing = [
        f"{site} in round {r.number} ({why})" for r in history.rounds for site, why in r.missing.items()
    ]
    if missing:
        texts.append("Without an accepted reply: " + "; ".join(missing) + ".")
    noted = [f"{site} in round {r.number} ({what})" for r in history.rounds for site, what in r.noted.items()]
    if noted:
        texts.append("Conspicuous: " + "; ".join(noted) + ".")
    refused = [f"{s.name} ({s.refused})" for s in history.sites.values() if s.refused]
    if refused:
        texts.append("Could not take part: " + "; ".join(refused) + ".")
    return texts


def bytes_text(count: float) -> str:
    """A number of bytes for people."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def as_markdown(history: History) -> str:
    """The table and its sentences."""
    rows = site_rows(history)
    lines = ["| " + " | ".join(HEADINGS) + " |", "| --- " + "| ---: " * 7 + "| --- | ---: |"]
    lines += ["| " + " | ".join(cells(row, len(rows))) + " |" for row in [*rows, mean_row(rows)]]
    title = f"# {history.start.get('federation', 'run')}: Dice on the test patients"
    weights = _markdown(influence.HEADINGS, influence.rows(history))
    more = ["", influence.TITLE + ":", "", *weights] if weights else []
    said = [MARKUP.sub(r"\\\1", sentence) for sentence in sentences(history)]
    return "\n".join([title, "", *lines, "", *said, *more]) + "\n"


def _markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    table = [headings, ["---", *["---:"] * (len(headings) - 1)], *rows] if rows else []
    return ["| " + " | ".join(row) + " |" for row in table]


def as_csv(history: History) -> str:
    """The table with full precision; undefined values are empty."""
    rows = site_rows(history)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["site", *PARTS, *MODELS, *(f"mix.{m}" for m in MODELS[:-1]), "gain"])
    for row in [*rows, mean_row(rows)]:
        writer.writerow(
            [row.site, *row.patients, *row.dice, *(dict(row.mix).get(m) for m in MODELS[:-1]), row.gain]
        )
    return text.getvalue()


def as_json(history: History) -> dict[str, Any]:
    """The whole report for programs: rows, sentences, state of the run."""
    rows = site_rows(history)

    def plain(row: Row) -> dict[str, Any]:
        patients, dice = zip(PARTS, row.patients, strict=True), zip(MODELS, row.dice, strict=True)
        return {"site": row.site, **dict(patients), **dict(dice), "mix": dict(row.mix), "gain": row.gain}

    return {
        "federation": history.start.get("federation"),
        "method": history.start.get("method"),
        "status": history.status,
        "rounds": len([r for r in history.training if r.seconds is not None]),
        "bytes_per_message": history.start.get("bytes_per_message"),
        "preflight": history.facts,
        "sites": [plain(row) for row in rows],
        "mean": plain(mean_row(rows)),
        "averages": influence.as_json(history),
        "sentences": sentences(history),
    }


def write_tables(history: History, folder: Path) -> list[Path]:
    """Writes ``table.md`` and ``table.csv`` into ``folder`` and returns their paths."""
    paths = [folder / "table.md", folder / "table.csv"]
    for path, text in zip(paths, (as_markdown(history), as_csv(history)), strict=True):
        write_text(path, text)
    return paths
