"""A site's cases on one sheet: the slice on which most is marked, with the outlines of the mask."""

import math
from collections.abc import Sequence
from pathlib import Path

from ..data.facts import Picture
from .files import write_whole

COLUMNS = 6
LARGEST = 48
# Okabe and Ito's colours without black and blue: they stay apart for colour-blind readers, on grey too.
COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#D55E00", "#CC79A7")


def chosen(pictures: Sequence[Picture], suspected: set[str]) -> list[Picture]:
    """At most ``LARGEST`` pictures in order: the suspected cases first of all, the others evenly spaced."""
    first = [picture for picture in pictures if picture.id in suspected][:LARGEST]
    others = [picture for picture in pictures if picture.id not in suspected]
    room = min(LARGEST - len(first), len(others))
    return first + [others[i * len(others) // room] for i in range(room)]


def write_contact_sheet(
    pictures: Sequence[Picture], classes: Sequence[str], suspected: set[str], path: Path
) -> Path:
    """Writes the sheet and returns ``path``.

    The letters at the edges say where the patient's right, left, front (A), back (P), head (S) and feet
    (I) are; files that do not know it have none.

    Args:
        pictures: one per case; at most ``LARGEST`` of them are shown.
        suspected: ids of the cases with findings; they come first, with a red name.

    Raises:
        StoreError: PFS-604 when the file cannot be written.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    shown = chosen(pictures, suspected)
    columns = min(COLUMNS, max(1, len(shown)))
    lines = max(1, math.ceil(len(shown) / columns))
    figure = Figure(
        figsize=(1.7 * columns + 0.2, 1.85 * lines + 0.6), layout="constrained", facecolor="white"
    )
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, picture in zip(axes, shown, strict=False):
        axis.imshow(
            picture.image, cmap="gray", vmin=0, vmax=255, aspect=picture.aspect, interpolation="nearest"
        )
        for mask, colour in zip(picture.masks, _colours(len(classes)), strict=True):
            if mask.any() and not mask.all() and min(mask.shape) > 1:  # a line has no outline
                axis.contour(mask.astype(float), [0.5], colors=[colour], linewidths=1.0)
        name = picture.id if len(picture.id) <= 22 else picture.id[:21] + "…"
        axis.set_title(name, fontsize=7, color="#C00000" if picture.id in suspected else "black")
        top, left = picture.edges
        box = {"facecolor": "black", "alpha": 0.5, "pad": 0.5, "linewidth": 0}
        for x, y, letter in ((0.5, 0.95, top), (0.04, 0.5, left)):
            axis.text(x, y, letter, transform=axis.transAxes, color="white", fontsize=7, ha="center",
                      va="center", bbox=box if letter else None)  # fmt: skip
    handles = [Line2D([], [], color=colour, label=name)
               for name, colour in zip(classes, _colours(len(classes)), strict=True)]  # fmt: skip
    handles += [
        Line2D([], [], linestyle="none", label=f"{len(shown)} of {len(pictures)} cases; red: with a finding")
    ]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=min(6, len(handles)), fontsize=8, frameon=False
    )
    write_whole(path, lambda beside: figure.savefig(beside, dpi=150))
    return path


def _colours(n: int) -> list[str]:
    return [COLOURS[k % len(COLOURS)] for k in range(n)]
