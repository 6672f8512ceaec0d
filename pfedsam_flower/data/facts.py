"""Numbers that say what one case is like, and a small picture of it. All of it stays at the site."""

import hashlib
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from .cases import CaseData, RawCase
from .pixels import Grid
from .planes import to_slices

LETTERS = (("L", "R"), ("P", "A"), ("S", "I"))
"""Where ITK's x, y and z grow to, and the opposite."""
PICTURE_SIDE = 160


@dataclass(frozen=True)
class CaseFacts:
    """One case.

    Attributes:
        image, mask: the files.
        shape: slices, rows and columns as the network gets them.
        spacing_mm: between slices, rows and columns; None when no file knows it.
        axes: where the stored axes x, y, z point, as in ``LPS``; empty when the file does not say.
        intensity: least value, percentiles 1, 50 and 99, largest value, as stored.
        at_top: share of the values that equal the largest.
        voxels: those of each class, in the federation's order.
        digest: of the image's slices; equal for the same content stored another way.
    """

    id: str
    patient: str
    image: str
    mask: str
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float] | None
    axes: str
    channels: int
    intensity: tuple[float, float, float, float, float]
    at_top: float
    voxels: tuple[int, ...]
    digest: str


@dataclass(frozen=True, eq=False)
class Picture:
    """One slice of a case: the one on which most is marked, or the middle one.

    Attributes:
        image: uint8 [H, W] or [H, W, 3], thinned to about ``PICTURE_SIDE`` pixels.
        masks: bool [K, H, W].
        aspect: height of a pixel over its width.
        edges: letters of the patient's direction at the top and left edge; empty when unknown.
    """

    id: str
    image: np.ndarray
    masks: np.ndarray
    aspect: float
    edges: tuple[str, str]


def case_facts(raw: RawCase, data: CaseData) -> CaseFacts:
    """The facts of a case that was read (``raw``) and prepared (``data``)."""
    slices = np.ascontiguousarray(to_slices(raw.values, data.slicing))
    least, low, middle, high, largest = np.percentile(slices, (0, 1, 50, 99, 100))
    content = hashlib.sha256(repr(slices.shape).encode())
    content.update(slices.data)
    depth, height, width, channels = slices.shape
    return CaseFacts(
        id=raw.case.id,
        patient=raw.case.patient,
        image=str(raw.case.image),
        mask=str(raw.case.mask),
        shape=(depth, height, width),
        spacing_mm=data.spacing_mm,
        axes=axis_letters(raw.grid),
        channels=channels,
        intensity=(float(least), float(low), float(middle), float(high), float(largest)),
        at_top=float(np.count_nonzero(slices == largest) / slices.size),
        voxels=tuple(int(np.count_nonzero(one)) for one in data.target),
        digest=content.hexdigest(),
    )


def axis_letters(grid: Grid) -> str:
    """Where the stored axes x, y and z point, each by the nearest patient axis; empty without a frame."""
    if grid.frame is None or len(grid.frame) != 12:
        return ""
    direction = np.array(grid.frame[3:]).reshape(3, 3)
    patient = max(  # the patient axis of each stored one
        permutations(range(3)),
        key=lambda axes: round(sum(abs(direction[axes[stored], stored]) for stored in range(3)), 9),
    )
    return "".join(LETTERS[axis][int(direction[axis, stored] < 0)] for stored, axis in enumerate(patient))


def picture_of(data: CaseData) -> Picture:
    """The slice of a case that a person should see."""
    marked = data.target.sum(axis=(0, 2, 3))
    place = int(marked.argmax()) if marked.any() else len(data.image) // 2
    step = max(1, -(-max(data.image.shape[1:3]) // PICTURE_SIDE))
    rows, columns = (max(1, min(step, n // 2)) for n in data.image.shape[1:3])  # two of each stay
    image = data.image[place, ::rows, ::columns].astype(np.uint8)
    pixel = data.spacing_mm[1] / data.spacing_mm[2] if data.spacing_mm else 1.0
    return Picture(
        id=data.case.id,
        image=image[..., 0] if image.shape[-1] == 1 else image,
        masks=data.target[:, place, ::rows, ::columns].copy(),
        aspect=pixel * rows / columns,
        edges=_edges(data),
    )


def _edges(data: CaseData) -> tuple[str, str]:
    letters = axis_letters(data.grid)
    if not letters:
        return "", ""
    opposite = {one: other for pair in LETTERS for one, other in (pair, pair[::-1])}

    def first(axis: int) -> str:  # the letter at the edge where slices' axis 1 (rows) or 2 (columns) starts
        grows_to = letters[2 - data.slicing.axes[axis]]
        return grows_to if data.slicing.flips[axis] else opposite[grows_to]

    return first(1), first(2)
