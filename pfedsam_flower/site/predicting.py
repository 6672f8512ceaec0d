"""One image → its masks on disk, and scores where there is a reference. One case in memory at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..data.cases import prepare_image, read_case
from ..data.fitting import Spacing
from ..data.inputs import Input
from ..data.labels import LabelMap
from ..data.layouts import Case
from ..data.pixels import Grid, Pixels
from ..data.planes import Slicing, to_slices
from ..data.readers import read_image, suffix_of
from ..errors import DataError
from ..evaluation.case_scores import ClassScore, score_case
from ..prediction.predictor import SLICES_AT_ONCE
from ..prediction.writer import write_case
from ..settings.run import ImageSettings
from .trained import Trained, mixed_logits

Watch = Callable[[int, int], None]
"""Called with the slices that are done, and how many there are."""


@dataclass(frozen=True)
class Wanted:
    """What to write, and what to compare with.

    Attributes:
        folder: of the outputs.
        per_class, probabilities: see ``prediction.writer.write_case``.
        labels: what the values of the references mean.
        tolerance: of the surface Dice, mm (pixels where the spacing is not known).
    """

    folder: Path
    per_class: bool
    probabilities: bool
    labels: LabelMap
    tolerance: float


@dataclass(frozen=True, eq=False)
class Predicted:
    """What came of an image.

    Attributes:
        voxels: of each class, before the classes are put into one label map.
        shared_voxels: that more than one class claims.
        voxel_ml: volume of one voxel, None when the spacing is not known.
        scores: a row per class that the references annotate; empty without a reference.
    """

    files: list[Path]
    voxels: list[int]
    shared_voxels: int
    voxel_ml: float | None
    scores: list[ClassScore]


def predict_case(trained: Trained, one: Input, wanted: Wanted, watch: Watch) -> Predicted:
    """Reads an image and its reference, predicts slice by slice, scores, writes.

    Raises:
        DataError: PFS-202, PFS-204, PFS-205, PFS-207 of image or reference, or the case is too large.
        StoreError: PFS-604 when a file cannot be written; none of the case's files is left then.
    """
    try:
        prepared, references = _read(one, trained.run.image, wanted)
        masks, probabilities = _predict(trained, prepared, wanted.probabilities, watch)
        grid, classes = prepared.grid, trained.run.classes
        scores = [] if references is None else _score(one.name, classes, masks, references, grid, wanted)
        files = write_case(
            wanted.folder,
            one.name,
            classes,
            grid,
            masks,
            probabilities,
            per_class=wanted.per_class,
            like=suffix_of(one.path),
        )
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise DataError(
            "PFS-207", "the case does not fit into the memory of this machine", where=str(one.path)
        ) from error
    voxel_ml = float(np.prod(grid.spacing_mm)) / 1000 if grid.spacing_mm else None
    shared = sum(int((plane.sum(axis=0) > 1).sum()) for plane in masks.swapaxes(0, 1))
    return Predicted(files, [int(mask.sum()) for mask in masks], shared, voxel_ml, scores)


@dataclass(frozen=True, eq=False)
class _Prepared:
    """An image as slices (``prepare_image``), and the grid that it is stored on."""

    image: np.ndarray
    slicing: Slicing
    spacing_mm: Spacing
    grid: Grid


def _read(one: Input, settings: ImageSettings, wanted: Wanted) -> tuple[_Prepared, np.ndarray | None]:
    """The image, and the classes' masks in the reference, bool [K, z, y, x]."""
    references = None
    if one.reference is None:
        pixels = read_image(one.path)
    else:
        raw = read_case(Case(one.name, one.name, one.path, one.reference), wanted.labels)
        pixels = Pixels(raw.values, raw.grid)
        references = np.stack([values.holds(raw.mask) for values in wanted.labels.classes])
    prepared = prepare_image(pixels, settings, where=str(one.path))
    return _Prepared(*prepared, pixels.grid), references


def _predict(
    trained: Trained, case: _Prepared, probabilities: bool, watch: Watch
) -> tuple[np.ndarray, np.ndarray | None]:
    """Masks, bool [K, z, y, x], and the probabilities if wanted, float32, as the image is stored.

    The network sees some slices at a time, so that of a large volume no model's logits are held whole.
    """
    image, around, shape = case.image, trained.rule.neighbours, (len(trained.run.classes), *case.grid.shape)
    masks, kept = np.zeros(shape, bool), np.zeros(shape, np.float32) if probabilities else None
    watch(0, len(image))
    for start in range(0, len(image), SLICES_AT_ONCE):
        stop = min(start + SLICES_AT_ONCE, len(image))
        first = max(0, start - around)
        logits = mixed_logits(trained, image[first : stop + around], case.spacing_mm)
        for k, values in enumerate(logits[:, start - first : stop - first]):
            to_slices(masks[k], case.slicing)[start:stop] = (
                values > 0
            )  # a view: what is set is the stored array
            if kept is not None:
                to_slices(kept[k], case.slicing)[start:stop] = torch.from_numpy(values).sigmoid().numpy()
        watch(stop, len(image))
    return masks, kept


def _score(
    name: str, classes: Sequence[str], masks: np.ndarray, references: np.ndarray, grid: Grid, wanted: Wanted
) -> list[ClassScore]:
    annotated = np.array(wanted.labels.annotated)
    return score_case(name, classes, masks, references, annotated, grid.spacing_mm, wanted.tolerance)
