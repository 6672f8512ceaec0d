"""Learning curves: validation Dice per round, one panel per site."""

import math
from pathlib import Path

from .files import write_whole
from .history import History, curve

# Okabe and Ito's colours stay apart for colour-blind readers; markers and dashes say the same in grey.
MODELS = {
    "alone": ("alone", "#5A5A5A", "s", (0, (4, 2))),
    "global": ("global", "#0072B2", "o", "solid"),
    "personal": ("personalised", "#D55E00", "^", "solid"),
}


def write_curves(history: History, path: Path) -> Path | None:
    """Writes validation Dice over completed rounds and returns ``path``; None when nothing was measured.

    Raises:
        StoreError: PFS-604 when the file cannot be written.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    lines = {s: {m: curve(history, s, f"validation.dice.{m}") for m in MODELS} for s in history.sites}
    lines = {site: curves for site, curves in lines.items() if any(curves.values())}
    if not lines:
        return None
    columns = min(4, len(lines))
    rows = math.ceil(len(lines) / columns)
    figure = Figure(figsize=(max(4.5, 3.0 * columns), 2.7 * rows + 0.9), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axis, (site, curves) in zip(axes, lines.items(), strict=False):
        for model, (label, colour, marker, dashes) in MODELS.items():
            if curves[model]:
                x, y = zip(*curves[model], strict=True)
                axis.plot(x, y, color=colour, marker=marker, linestyle=dashes, label=label, markersize=5)
        axis.set_title(site, fontsize=11)
        axis.set_ylim(-0.02, 1.02)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(color="#E0E0E0", linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[len(lines) :]:
        axis.set_visible(False)
    handles = {
        label: line for axis in axes for line, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    labels = [label for label, *_ in MODELS.values() if label in handles]
    figure.legend([handles[n] for n in labels], labels, loc="outside upper center", ncols=3, frameon=False)
    figure.supxlabel("rounds completed", fontsize=10)
    figure.supylabel("Dice, validation patients", fontsize=10)
    write_whole(path, lambda beside: figure.savefig(beside, dpi=150))
    return path
