"""Mask values that no class names: what kind of mask that is, and what to do about it."""

import numpy as np

from ..errors import DataError
from .findings import some
from .labels import LabelMap
from .readers import LARGEST_LABEL

SEVERAL, MANY = 5, 10
"""With fewer values between nothing is said of soft edges; with fewer values in all, each may be named."""
EVEN = 1 / 3
"""Of numbered objects more voxels than this share have a neighbour of the same value; of a picture fewer."""
RARE = 3
"""A soft edge's values are each so many times rarer than the full one, at the median."""


def unnamed(mask: np.ndarray, labels: LabelMap, where: str) -> DataError | None:
    """The error for a mask with values other than 0 that no class names; None when it has none.

    Args:
        mask: whole numbers of any shape.
        where: its file.

    Returns:
        PFS-205 with the number of such values.
    """
    present, counts = np.unique(mask, return_counts=True)
    unknown = present[~labels.known.holds(present)].tolist()
    if not unknown:
        return None
    marked, often = present[present != 0], counts[present != 0]
    text, hint = _edges(marked, often, labels) or _many(mask, marked) or _others(unknown)
    return DataError(
        "PFS-205",
        f"the mask holds {some(unknown)}, which no class names{text}",
        where=where,
        hint=hint,
        counts={"unknown_values": len(unknown)},
    )


def _edges(marked: np.ndarray, often: np.ndarray, labels: LabelMap) -> tuple[str, str] | None:
    """Many values between 0 and the largest, each rare beside it, or beside those that have a name."""
    full = labels.known.holds(marked) & (often >= RARE * np.median(often))
    full[-1] = True
    between, largest = often[~full], int(marked[-1])
    if len(between) < SEVERAL or largest > 65535 or often[full].max() < RARE * np.median(between):
        return None
    largest = 255 if 240 <= largest <= 255 else largest  # JPEG does not reach the top everywhere
    text = f": its edges are soft ({len(between)} values between), as brushes, resizing and JPEG make them"
    if full.sum() == 1:
        half = largest // 2
        hint = (
            f"name a threshold in the setting labels, for example lesion={half + 1}-{largest},"
            f"background=1-{half}; or write the masks anew with hard edges"
        )
    else:  # the way from 0 to the larger value leads through the smaller one
        hint = "write the masks anew with hard edges: nearest neighbour when resizing, no antialiasing, PNG"
    return text, hint


def _many(mask: np.ndarray, marked: np.ndarray) -> tuple[str, str] | None:
    """More values than one names: single objects, numbered; or a picture that is no mask."""
    if len(marked) < MANY:
        return None
    told = f": {len(marked)} values from {marked[0]} to {marked[-1]}, as "
    inside = mask[..., :-1] != 0
    if np.count_nonzero(inside & (mask[..., :-1] == mask[..., 1:])) > EVEN * np.count_nonzero(inside):
        upper = 65535 if marked[-1] <= 65535 else LARGEST_LABEL
        hint = (
            "if they are instances of one class, name the range in the setting labels, for example "
            f"nucleus=1-{upper}; the class is then where any of them is"
        )
        return told + "where single objects are numbered", hint
    largest = int(marked[-1])
    hint = (
        "check that the files are masks; a map of probabilities is cut by the setting labels, for example "
        f"lesion={largest // 2 + 1}-{largest},background=1-{largest // 2}"
    )
    return told + "a picture or a map of probabilities has", hint


def _others(unknown: list[int]) -> tuple[str, str]:
    return "", (
        "name every value in the setting labels, for example organ=128+255,lesion=255; values that "
        f"are none of the classes as background={'+'.join(map(str, unknown[:3]))}"
    )
