"""Mask values that no class names: what kind of mask that is, and what to do about it."""

import numpy as np

from ..errors import DataError
from .findings import some
from .labels import LabelMap

SEVERAL = 5
"""With fewer values between, or objects, nothing is said of edges or instances."""
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
    text, hint = _edges(marked, often, labels) or _instances(marked) or _others(unknown)
    return DataError(
        "PFS-205",
        f"the mask holds {some(unknown)}, which no class names{text}",
        where=where,
        hint=hint,
        counts={"unknown_values": len(unknown)},
    )


def _edges(marked: np.ndarray, often: np.ndarray, labels: LabelMap) -> tuple[str, str] | None:
    """Many values between 0 and the largest, each rare beside it, or beside those that have a name."""
    full = labels.known.holds(marked)
    full[-1] = True
    between, largest = often[~full], int(marked[-1])
    if len(between) < SEVERAL or largest > 65535 or often[full].max() < RARE * np.median(between):
        return None
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


def _instances(marked: np.ndarray) -> tuple[str, str] | None:
    """Many values one after the other: single objects, numbered."""
    number, span = len(marked), int(marked[-1] - marked[0]) + 1
    if number < 2 * SEVERAL or span > 2 * number:
        return None
    upper = next(one for one in (255, 65535, 2**24) if marked[-1] <= one)
    text = f": {number} values from {marked[0]} to {marked[-1]}, as where single objects are numbered"
    hint = (
        f"if they are instances of one class, name the range in the setting labels, for example "
        f"nucleus=1-{max(upper, 65535)}; the class is then where any of them is"
    )
    return text, hint


def _others(unknown: list[int]) -> tuple[str, str]:
    return "", (
        "name every value in the setting labels, for example organ=128+255,lesion=255; values that "
        f"are none of the classes as background={'+'.join(map(str, unknown[:3]))}"
    )
