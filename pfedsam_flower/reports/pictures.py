"""Pictures of predictions: what each model marks on one image of each site."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .files import write_whole

Mask = np.ndarray[Any, Any]
Example = tuple[str, np.ndarray[Any, Any], Mask, Mapping[str, Mask]]

REFERENCE = "#F0E442"
COLOURS = {"alone": "#CC79A7", "global": "#56B4E9", "personalised": "#D55E00"}


def dice(mask: Mask, reference: Mask) -> float | None:
    """2 |A and B| / (|A| + |B|) in 0..1; None when both are empty."""
    total = int(mask.sum()) + int(reference.sum())
    return 2 * int((mask & reference).sum()) / total if total else None


def overlay_figure(rows: Sequence[Example], path: Path) -> Path:
    """Writes one row per site: image, reference, and what each model marks, with Dice; returns ``path``.

    Args:
        rows: (site, image [H, W] or [H, W, 3] in 0..255, reference bool [H, W], masks bool [H, W] by the
            names of ``COLOURS``; a model that a site does not have is left out of its mapping).

    Raises:
        StoreError: PFS-604 when the file cannot be written.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    models = [model for model in COLOURS if any(model in masks for _, _, _, masks in rows)]
    figure = Figure(figsize=(2.1 * (2 + len(models)) + 0.3, 2.4 * len(rows) + 0.5), layout="constrained")
    axes = figure.subplots(len(rows), 2 + len(models), squeeze=False)
    for line, (site, image, reference, masks) in zip(axes, rows, strict=True):
        for axis in line:
            axis.imshow(_grey_or_colour(image), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
            axis.spines[:].set_visible(False)
        line[0].set_ylabel(site, fontsize=12)
        line[0].set_title("image", fontsize=10)
        line[1].set_title("reference", fontsize=10)
        _fill(line[1], reference, REFERENCE)
        for axis, model in zip(line[2:], models, strict=True):
            if model not in masks:
                axis.set_visible(False)
                continue
            value = dice(masks[model], reference)
            said = "nothing to find" if value is None else f"Dice {value:.2f}"
            axis.set_title(f"{model}  {said}", fontsize=10)
            _fill(axis, masks[model], COLOURS[model])
            _outline(axis, reference, REFERENCE, "dashed")
    key = Line2D([], [], color=REFERENCE, linestyle="dashed", linewidth=1.5, label="outline of the reference")
    legend = figure.legend(
        handles=[key], loc="outside lower center", frameon=True, facecolor="#303030", fontsize=9
    )
    legend.get_texts()[0].set_color("white")
    write_whole(path, lambda beside: figure.savefig(beside, dpi=150))
    return path


def _grey_or_colour(image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Whole numbers for colour images: matplotlib reads float colours as 0..1."""
    single = image.ndim == 3 and image.shape[2] == 1
    clipped: np.ndarray[Any, Any] = np.clip(image[..., 0] if single else image, 0, 255).astype(np.uint8)
    return clipped


def _fill(axis: Any, mask: Mask, colour: str) -> None:
    """A translucent area with an opaque edge."""
    from matplotlib.colors import to_rgba

    layer = np.zeros((*mask.shape, 4))
    layer[mask] = to_rgba(colour, 0.35)
    axis.imshow(layer, interpolation="nearest")
    _outline(axis, mask, colour, "solid")


def _outline(axis: Any, mask: Mask, colour: str, style: str) -> None:
    if mask.any():
        # A margin of zeros, so that an area at the image's border is closed too.
        padded = np.pad(mask.astype(float), 1)
        x, y = np.arange(-1, mask.shape[1] + 1), np.arange(-1, mask.shape[0] + 1)
        axis.contour(x, y, padded, [0.5], colors=[colour], linewidths=1.3, linestyles=style)
        axis.set_xlim(-0.5, mask.shape[1] - 0.5)
        axis.set_ylim(mask.shape[0] - 0.5, -0.5)
