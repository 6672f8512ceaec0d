"""The final table: one row per site, the mean, and what it says in sentences; as Markdown and CSV."""

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .files import write_text
from .history import PARTS, History, metric

MODELS = ("alone", "global", "personal", "deployed")
HEADINGS = ("Site", "Train", "Val.", "Test", "Alone", "Global", "Personalised", "Deployed", "Which", "Gain")


@dataclass(frozen=True)
class Row:
    """One line of the final table; Dice in 0..1, None where it is undefined.

    Attributes:
        site: the site's name, or ``mean``.
        train, validation, test: patients.
        alone: the model trained without the federation for as many steps.
        personal: the personalised model.
        deployed: what the site chose to use, see ``blend`` (0 global .. 1 personalised).
        of: sites behind each Dice of the mean; empty in the row of a site.
    """

    site: str
    train: int | None
    validation: int | None
    test: int | None
    alone: float | None
    global_: float | None
    personal: float | None
    deployed: float | None
    blend: float | None
    of: tuple[int, ...] = ()

    @property
    def gain(self) -> float | None:
        """Dice of the deployed model over the one trained alone; None for means over different sites."""
        if self.deployed is None or self.alone is None or (self.of and self.of[0] != self.of[3]):
            return None
        return self.deployed - self.alone

    @property
    def dice(self) -> tuple[float | None, ...]:
        """In the order of ``MODELS``."""
        return self.alone, self.global_, self.personal, self.deployed


def site_rows(history: History) -> list[Row]:
    """One row per site, in order of name; Dice on the test patients from the closing round."""
    replies = history.closing.replies if history.closing else {}
    rows = []
    for name, site in history.sites.items():
        reply = replies.get(name)
        patients = [site.patients.get(part) for part in PARTS]
        dice = [metric(reply, f"test.dice.{model}") for model in MODELS]
        rows.append(Row(name, *patients, *dice, metric(reply, "blend")))
    return rows


def mean_row(rows: list[Row]) -> Row:
    """Sums of the patients and unweighted means of the Dice over the sites where it is defined."""
    patients = [_sum(getattr(row, part) for row in rows) for part in PARTS]
    columns = [
        [d for d in column if d is not None] for column in zip(*(row.dice for row in rows), strict=True)
    ]
    means = [sum(c) / len(c) if c else None for c in columns] or [None] * len(MODELS)
    return Row("mean", *patients, *means, None, of=tuple(len(c) for c in columns))


def _sum(values: Iterable[int | None]) -> int | None:
    known = [v for v in values if v is not None]
    return sum(known) if known else None


def cells(row: Row, n_sites: int) -> tuple[str, ...]:
    """The row as text in the order of ``HEADINGS``; a mean over fewer than all sites says so."""
    counts = row.of or (n_sites,) * len(MODELS)
    dice = [_dice(d) + (f" ({n} of {n_sites})" if d is not None and n < n_sites else "")
            for d, n in zip(row.dice, counts, strict=True)]  # fmt: skip
    patients = ["–" if n is None else str(n) for n in (row.train, row.validation, row.test)]
    gain = "–" if row.gain is None else f"{row.gain:+.3f}"
    return row.site, *patients, *dice, which(row.blend), gain


def _dice(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def which(blend: float | None) -> str:
    """The deployed model in words."""
    if blend is None:
        return "–"
    return {0.0: "global", 1.0: "personalised"}.get(blend, f"blend, {blend:.0%} personalised")


def sentences(history: History) -> list[str]:
    """What the table says: the site that gains least, bytes per message, seconds per round."""
    texts = []
    rows = [row for row in site_rows(history) if row.gain is not None]
    if rows:
        worst = min(rows, key=lambda row: row.gain or 0.0)
        verb = "gains least over training alone" if (worst.gain or 0.0) >= 0 else "is better off alone"
        change = f"{worst.gain:+.3f} Dice ({worst.alone:.3f} alone, {worst.deployed:.3f} deployed)"
        texts.append(f"Worst site: {worst.site} {verb}, {change}.")
    size = history.start.get("bytes_per_message")
    if size is not None:
        texts.append(
            f"Each message carries {bytes_text(float(size))} of shared parameters, and nothing personal."
        )
    seconds = [r.seconds for r in history.training if r.seconds is not None]
    if seconds:
        texts.append(f"A round took {sum(seconds) / len(seconds):.1f} s on average ({len(seconds)} rounds).")
    missing = [
        f"{site} in round {r.number} ({why})" for r in history.rounds for site, why in r.missing.items()
    ]
    if missing:
        texts.append("Without an accepted reply: " + "; ".join(missing) + ".")
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
    return "\n".join([title, "", *lines, "", *sentences(history)]) + "\n"


def as_csv(history: History) -> str:
    """The table with full precision; undefined values are empty."""
    rows = site_rows(history)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["site", *PARTS, *MODELS, "blend", "gain"])
    for row in [*rows, mean_row(rows)]:
        writer.writerow([row.site, row.train, row.validation, row.test, *row.dice, row.blend, row.gain])
    return text.getvalue()


def as_json(history: History) -> dict[str, Any]:
    """The whole report for programs: rows, sentences, state of the run."""
    rows = site_rows(history)

    def plain(row: Row) -> dict[str, Any]:
        values = {k.rstrip("_"): v for k, v in asdict(row).items() if k != "of"}
        return values | {"gain": row.gain}

    return {
        "federation": history.start.get("federation"),
        "method": history.start.get("method"),
        "status": history.status,
        "rounds": len([r for r in history.training if r.seconds is not None]),
        "bytes_per_message": history.start.get("bytes_per_message"),
        "sites": [plain(row) for row in rows],
        "mean": plain(mean_row(rows)),
        "sentences": sentences(history),
    }


def write_tables(history: History, folder: Path) -> list[Path]:
    """Writes ``table.md`` and ``table.csv`` into ``folder`` and returns their paths."""
    paths = [folder / "table.md", folder / "table.csv"]
    for path, text in zip(paths, (as_markdown(history), as_csv(history)), strict=True):
        write_text(path, text)
    return paths
