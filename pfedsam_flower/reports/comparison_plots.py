"""Pictures of a comparison: rows as bars, Dice against bytes, learning curves, use of the experts."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..evaluation.comparison import Comparison
from ..evaluation.curves import Curve
from ..evaluation.resampling import Interval
from .files import write_whole
from .plots import MODELS
from .tables import bytes_text

# Okabe and Ito's colours stay apart for colour-blind readers; place, marker or label says the same in grey.
METHOD, REFERENCE, OTHER = "#D55E00", "#5A5A5A", "#56B4E9"
SITES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "o^sDvPX"
FAINT = "#D8D8D8"
Bars = Mapping[str, tuple[float, Interval | None]]
Name = tuple[str, str]
"""How a bar is called, and its colour."""


def write_sites(comparison: Comparison, path: Path) -> Path | None:
    """Writes Dice of each row, over sites and at each site, as bars with intervals; returns ``path``."""
    panels: dict[str, Bars] = {
        "mean over sites": {r.row: (r.dice.mean_over_sites, r.dice.interval) for r in comparison.rows}
    }
    for site, n in comparison.patients.items():
        panels[f"{site} (n = {n})"] = {
            r.row: (r.dice.sites[site], r.intervals[site]) for r in comparison.rows if site in r.dice.sites
        }
    return _bars(panels, _row_names(comparison), "Dice, test patients", ".3f", path)


def write_gains(comparison: Comparison, path: Path) -> Path | None:
    """Writes what each row gains over the reference as bars with intervals; None without a reference."""
    rows = {r.row: (r.dice.gains, r.gain) for r in comparison.rows if r.row != comparison.reference}
    panels: dict[str, Bars] = {
        "mean over sites": {row: (gain.mean, gain.interval) for row, (_, gain) in rows.items() if gain}
    }
    if not panels["mean over sites"]:
        return None
    for site, n in comparison.patients.items():
        panels[f"{site} (n = {n})"] = {
            row: (gains[site], gain.sites[site])
            for row, (gains, gain) in rows.items()
            if gain and site in gains
        }
    label = f"gain in Dice over {comparison.reference}"
    return _bars(panels, _row_names(comparison), label, "+.3f", path)


def _row_names(comparison: Comparison) -> dict[str, Name]:
    return {r.row: (r.row + " †" * bool(r.lacks), _colour(r.row, comparison)) for r in comparison.rows}


def _bars(panels: Mapping[str, Bars], names: Mapping[str, Name], label: str, form: str, path: Path) -> Path:
    """One panel each. Bars begin at 0, so that lengths may be compared; the value stands at the right."""
    from matplotlib.ticker import MaxNLocator

    rows = [row for row in names if any(row in bars for bars in panels.values())]
    lines, columns = _grid(len(panels), 5)
    size = (1.6 + 2.3 * columns, (0.25 * len(rows) + 0.8) * lines + 0.4)
    figure, axes = _figure(size, lines, columns)
    ends = [end for bars in panels.values() for value, within in bars.values()
            for end in (0.0, value, *((within.low, within.high) if within else ()))]  # fmt: skip
    low, width = min(ends), max(max(ends) - min(ends), 1e-3)
    ticks = [at for at in MaxNLocator(4).tick_values(low, low + width) if low <= at <= low + 1.1 * width]
    for axis, (title, bars) in zip(axes, panels.items(), strict=False):
        axis.set_title(title, fontsize=10)
        axis.axvline(0, color="#404040", linewidth=0.8)
        shown = [(place, row, *bars[row]) for place, row in enumerate(rows) if row in bars]
        colours = [names[row][1] for _, row, _, _ in shown]
        axis.barh([n for n, *_ in shown], [value for *_, value, _ in shown], height=0.72, color=colours)
        spans = [(place, span.low, span.high) for place, _, _, span in shown if span]
        for place, *span in spans:
            axis.plot(span, (place, place), color="black", linewidth=1.1, marker="|", markersize=4)
        for place, _, value, _ in shown:
            text = axis.text(
                low + 1.38 * width, place, f"{value:{form}}", fontsize=8, ha="right", va="center"
            )
            text.set_in_layout(False)  # it lies inside; measuring hundreds of them takes long
        axis.set_xlim(low - 0.04 * width * (low < 0), low + 1.4 * width)
        axis.grid(axis="x", color="#E0E0E0", linewidth=0.6)
        axis.set_axisbelow(True)
        axis.set_xticks(ticks)
        axis.tick_params(axis="x", labelbottom=True, labelsize=9)
        axis.tick_params(axis="y", length=0)
    axes[0].set_yticks(range(len(rows)), [names[row][0] for row in rows], fontsize=9)
    axes[0].set_ylim(len(rows) - 0.4, -0.6)
    figure.supxlabel(label, fontsize=10)
    return _save(figure, path)


def write_bytes(comparison: Comparison, path: Path) -> Path | None:
    """Writes Dice against measured bytes per site and round; None when no row has them."""
    dice = {r.row: r.dice.mean_over_sites for r in comparison.rows}
    size = {r.row: r.costs["bytes_up"] + r.costs["bytes_down"] for r in comparison.rows
            if "bytes_up" in r.costs and "bytes_down" in r.costs}  # fmt: skip
    if not size:
        return None
    rows = sorted(size, key=lambda row: -dice[row])
    positive = [math.log10(n) for n in size.values() if n > 0]
    nothing = min(positive, default=0.0) - 0.4
    at = {row: math.log10(n) if n > 0 else nothing for row, n in size.items()}
    low, high = min(dice[row] for row in rows), max(dice[row] for row in rows)
    margin = max(0.06 * (high - low), 0.004)
    bottom, top = low - margin, high + margin
    left, right = min(at.values()), max(at.values())
    edge = right + max(0.12 * (right - left), 0.1)
    figure, (axis,) = _figure((7.5, max(3.6, 0.23 * len(rows) + 1.2)), 1, 1)
    # labels in one column, in the order of the points: many rows send the same number of bytes
    heights = _apart([dice[row] for row in rows], 0.8 * (top - bottom) / len(rows), bottom)
    lacks = {r.row: r.lacks for r in comparison.rows}
    for row, height in zip(rows, heights, strict=True):
        colour = _colour(row, comparison)
        axis.plot((at[row], edge), (dice[row], height), color=FAINT, linewidth=0.7, zorder=1)
        axis.plot(at[row], dice[row], "o", color=colour, markersize=7, markeredgecolor="white",
                  zorder=2 + (row == comparison.method))  # fmt: skip
        text = f"{dice[row]:.3f}  {row}" + " †" * bool(lacks[row])
        weight = "bold" if row == comparison.method else "normal"
        axis.text(edge + 0.01 * (edge - left), height, text, fontsize=8.5, va="center", weight=weight)
    axis.set_xlim(left - 0.06 * (edge - left), edge)
    axis.set_ylim(bottom, top)
    places = {nothing: "none"} if len(positive) < len(size) else {}
    places |= {math.log10(n): bytes_text(n).replace(".0 ", " ") for n in _ticks(positive)}
    axis.set_xticks(list(places), list(places.values()))
    axis.set_xlabel("bytes per site and round, up and down (logarithmic)")
    axis.set_ylabel("Dice, mean over sites")
    axis.grid(color="#EDEDED", linewidth=0.6)
    return _save(figure, path)


def _apart(values: Sequence[float], gap: float, low: float) -> list[float]:
    """The falling ``values``, moved as little as it takes to be ``gap`` apart and not below ``low``."""
    moved: list[float] = []
    for value in values:
        moved.append(min(value, moved[-1] - gap) if moved else value)
    for n in range(len(moved) - 1, -1, -1):
        moved[n] = max(moved[n], low if n == len(moved) - 1 else moved[n + 1] + gap)
    return moved


def _ticks(logs: Sequence[float]) -> list[float]:
    """Places near the points: round numbers (1, 2, 5 times a power of 10), five at most; the ends if few."""
    if not logs:
        return []
    low, high = min(logs) - 0.1, max(logs) + 0.1
    powers = range(math.floor(low), math.ceil(high) + 1)
    fine = [n * 10.0**p for p in powers for n in (1, 2, 5) if low <= math.log10(n) + p <= high]
    if len(fine) < 2:
        return sorted({10 ** min(logs), 10 ** max(logs)})
    return fine[:: math.ceil(len(fine) / 5)]


def write_curves(comparison: Comparison, path: Path) -> Path | None:
    """Writes validation Dice over rounds, a panel per row, all others faint behind; None without any."""
    curves = [curve for curve in comparison.curves if curve.rounds]

    def style(curve: Curve) -> dict[str, Any]:
        label, colour, marker, dashes = MODELS.get(curve.name, (curve.name, "#009E73", "D", "dotted"))
        return {"label": label, "color": colour, "marker": marker, "linestyle": dashes}

    return _lines(curves, style, "Dice, validation patients", "rounds completed", path, behind=True)


def write_gates(comparison: Comparison, path: Path) -> Path | None:
    """Writes how evenly each site used its experts, a panel per row; None without any.

    Over rounds; where experts were trained in one round only, as bars.
    """
    curves = sorted((curve for curve in comparison.gates if curve.rounds), key=lambda curve: curve.name)
    names = list(dict.fromkeys(curve.name for curve in curves))
    label = "use of the experts\n(0 one alone, 1 all alike)"
    if curves and all(len(curve.rounds) == 1 for curve in curves):
        panels: dict[str, dict[str, tuple[float, Interval | None]]] = {}
        for curve in curves:
            panels.setdefault(curve.row, {})[curve.name] = (curve.values[0], None)
        return _bars(panels, {name: (name, OTHER) for name in names}, label, ".2f", path)

    def style(curve: Curve) -> dict[str, Any]:
        n = names.index(curve.name)
        dashes = ("solid", "dashed", "dotted")[n // len(SITES) % 3]
        marker, colour = MARKERS[n % len(MARKERS)], SITES[n % len(SITES)]
        return {"label": curve.name, "color": colour, "marker": marker, "linestyle": dashes}

    return _lines(curves, style, label, "round", path, limits=(-0.03, 1.03))


def _lines(
    curves: Sequence[Curve],
    style: Callable[[Curve], dict[str, Any]],
    label: str,
    under: str,
    path: Path,
    *,
    behind: bool = False,
    limits: tuple[float, float] | None = None,
) -> Path | None:
    """One panel per row with its curves; ``behind``: with those of all rows faint behind them."""
    from matplotlib.ticker import MaxNLocator

    rows = list(dict.fromkeys(curve.row for curve in curves))
    if not rows:
        return None
    lines, columns = _grid(len(rows), 4)
    size = (max(4.8, 2.5 * columns + 0.6), 2.1 * lines + 1.0)
    figure, axes = _figure(size, lines, columns)
    for place, (axis, row) in enumerate(zip(axes, rows, strict=False)):
        axis.tick_params(axis="x", labelbottom=place + columns >= len(rows))
        for curve in curves if behind else ():
            axis.plot(curve.rounds, curve.values, color=FAINT, linewidth=0.8, zorder=1)
        for curve in curves:
            if curve.row == row:
                axis.plot(curve.rounds, curve.values, markersize=3.5, linewidth=1.6, zorder=2, **style(curve))
        axis.set_title(row, fontsize=10)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(color="#EDEDED", linewidth=0.6)
        if limits:
            axis.set_ylim(*limits)
    handles = {text: handle for axis in axes
               for handle, text in zip(*axis.get_legend_handles_labels(), strict=True)}  # fmt: skip
    widest = 0.6 + 0.085 * max(len(text) for text in handles)
    figure.legend(
        handles.values(), handles.keys(), loc="outside upper center", frameon=False, fontsize=9,
        ncols=max(1, int(size[0] / widest)),
    )  # fmt: skip
    figure.supxlabel(under, fontsize=10)
    figure.supylabel(label, fontsize=10)
    return _save(figure, path)


def _grid(panels: int, widest: int) -> tuple[int, int]:
    """Lines and columns for so many panels, the last line as full as can be."""
    lines = math.ceil(panels / widest)
    return lines, math.ceil(panels / lines)


def _colour(row: str, comparison: Comparison) -> str:
    return {comparison.method: METHOD, comparison.reference: REFERENCE}.get(row, OTHER)


def _figure(size: tuple[float, float], lines: int, columns: int) -> tuple[Any, list[Any]]:
    """A figure and its panels, line by line; panels that are not needed are hidden when it is saved."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, list(axes)


def _save(figure: Any, path: Path) -> Path:
    for axis in figure.axes:
        axis.set_visible(axis.has_data())
    write_whole(path, lambda beside: figure.savefig(beside, dpi=150))
    return path


Write = Callable[[Comparison, Path], Path | None]
PICTURES: dict[str, tuple[str, Write]] = {
    "sites.png": ("Dice of each row at each site", write_sites),
    "gains.png": ("Gain of each row at each site", write_gains),
    "bytes.png": ("Dice against bytes per round", write_bytes),
    "curves.png": ("Validation Dice over rounds", write_curves),
    "gates.png": ("Use of the experts at each site", write_gates),
}
"""Captions and writers, by file name."""
