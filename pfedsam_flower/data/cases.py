"""A case from disk: read, checked, cut into slices, its intensities in 0..255."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..errors import DataError
from ..settings.run import ImageSettings
from .fitting import InputRule, Spacing, channel_places, fit, fit_target
from .labels import LabelMap
from .layouts import Case
from .pixels import Grid, Pixels
from .planes import Slicing, onto, slice_spacing, slicing_of, to_slices
from .readers import read_image, read_mask
from .unnamed import unnamed

RESAMPLE = (
    "resample the mask onto the image's grid with nearest neighbour (antsApplyTransforms -n NearestNeighbor, "
    "c3d -interpolation NearestNeighbor -reslice-identity, or Resample Image in 3D Slicer)"
)
"""The remedy where image and mask have different grids."""


@dataclass(frozen=True, eq=False)
class RawCase:
    """One case as its files hold it; image and mask are on one grid.

    Attributes:
        values: float32 [z, y, x, C], C 1 or 3, not scaled.
        mask: int32 [z, y, x].
        annotated: bool [K].
        grid: the image's; its spacing is the mask's where the image knows none.
    """

    case: Case
    values: np.ndarray
    mask: np.ndarray
    annotated: np.ndarray
    grid: Grid


@dataclass(frozen=True, eq=False)
class CaseData:
    """One case as slices, on their own grid.

    Attributes:
        image: float32 [D, H, W, C] in 0..255, C 1 or 3.
        target: bool [K, D, H, W]; all False for a class that is not annotated.
        annotated: bool [K].
        spacing_mm: between slices, rows and columns; None when neither file knows it.
        grid: the volume as it is stored.
        slicing: how it became slices (``planes.from_slices`` leads back).
    """

    case: Case
    image: np.ndarray
    target: np.ndarray
    annotated: np.ndarray
    spacing_mm: Spacing
    grid: Grid
    slicing: Slicing


@dataclass(frozen=True, eq=False)
class Sample:
    """One slice as the network sees it.

    Attributes:
        image: float32 [C, S, S] in 0..255, zero outside ``valid``.
        valid: (h, w), the upper left part that is image.
        target: float16 [K, S, S] in 0..1, the share of each pixel that a class covers.
        annotated: bool [K].
    """

    image: np.ndarray
    valid: tuple[int, int]
    target: np.ndarray
    annotated: np.ndarray
    patient: str


@dataclass(frozen=True, eq=False)
class Squares:
    """The slices of a case on the network's square, each once; ``sample`` puts neighbours together.

    Attributes:
        image: float32 [D, C, S, S] in 0..255.
        target: float16 [D, K, S, S] in 0..1.
        valid: (h, w), the same for every slice.
    """

    case: Case
    image: np.ndarray
    target: np.ndarray
    annotated: np.ndarray
    valid: tuple[int, int]

    def sample(self, place: int, neighbours: int) -> Sample:
        """Slice ``place`` with its neighbours as channels."""
        places = channel_places(place, len(self.image), neighbours)
        image = np.concatenate([self.image[one] for one in places])
        return Sample(image, self.valid, self.target[place], self.annotated, self.case.patient)


def read_case(case: Case, labels: LabelMap) -> RawCase:
    """Both files of a case, checked against each other; nothing is scaled.

    The image stays as it is stored. A mask whose axes are stored in another order or sense, its voxels at the
    same places, is turned to lie as the image does.

    Args:
        labels: what mask values mean at this site (``labels.labels_of``).

    Raises:
        DataError: PFS-202 when image and mask have different grids, PFS-204 or PFS-207 when a file cannot
            be read or used, PFS-205 when the mask has values other than 0 that no class names.
    """
    pixels = read_image(case.image)
    mask, mask_grid = read_mask(case.mask)
    way, difference = onto(pixels.grid, mask_grid)
    if difference:
        raise DataError(
            "PFS-202",
            f"image and mask differ: {difference}",
            where=f"{case.image} and {case.mask}",
            hint=RESAMPLE,
        )
    mask = to_slices(mask, way)
    wrong = unnamed(mask, labels, str(case.mask))
    if wrong:
        raise wrong
    grid = replace(pixels.grid, spacing_mm=pixels.spacing_mm or mask_grid.spacing_mm)
    return RawCase(case, pixels.values, mask, np.array(labels.annotated), grid)


def prepare(raw: RawCase, labels: LabelMap, settings: ImageSettings) -> CaseData:
    """The case as slices; the intensities of the whole case decide what becomes 0 and 255.

    Raises:
        DataError: PFS-207 when the settings ask for what the image does not have, as in ``prepare_image``.
    """
    pixels = Pixels(raw.values, raw.grid)
    image, slicing, spacing_mm = prepare_image(pixels, settings, where=str(raw.case.image))
    mask = to_slices(raw.mask, slicing)
    target = np.empty((len(labels.classes), *mask.shape), bool)
    for out, values in zip(target, labels.classes, strict=True):
        out[...] = values.holds(mask)
    return CaseData(raw.case, image, target, raw.annotated, spacing_mm, raw.grid, slicing)


def prepare_image(
    pixels: Pixels, settings: ImageSettings, where: str = ""
) -> tuple[np.ndarray, Slicing, Spacing]:
    """An image as slices, for training or for prediction where there is no mask.

    Args:
        where: the file, for the error.

    Returns:
        float32 [D, H, W, C] in 0..255, how it was cut, and mm between slices, rows and columns.

    Raises:
        DataError: PFS-207 when a working spacing is set and the image has none, or when neighbouring
            slices are to be channels and the image has colours.
    """
    if settings.spacing_mm and pixels.spacing_mm is None:
        raise DataError(
            "PFS-207",
            "the image does not say how large its pixels are, and the federation works at "
            f"{settings.spacing_mm:g} mm per pixel",
            where=where,
            hint="export it in a format that keeps the spacing (DICOM, NIfTI, NRRD, MetaImage), "
            "or agree on image.spacing-mm = 0",
        )
    if settings.neighbours and pixels.values.shape[-1] != 1:
        raise DataError(
            "PFS-207",
            f"the image has {pixels.values.shape[-1]} colour channels, and the federation puts neighbouring "
            "slices into them",
            where=where,
            hint="store it as grey, or agree on image.neighbours = 0",
        )
    slicing = slicing_of(pixels.grid, settings.plane)
    values = to_slices(pixels.values, slicing)
    if settings.intensity == "window":
        image = scaled(values, settings.window_low, settings.window_high)
    else:
        image = to_255(values, settings.clip_low, settings.clip_high)
    return image, slicing, slice_spacing(pixels.grid, slicing)


def load_case(case: Case, labels: LabelMap, settings: ImageSettings) -> CaseData:
    """``read_case`` and ``prepare``.

    Raises:
        DataError: PFS-202, PFS-204, PFS-205, PFS-207.
    """
    return prepare(read_case(case, labels), labels, settings)


def to_255(values: np.ndarray, clip_low: float, clip_high: float) -> np.ndarray:
    """float32 in 0..255: percentile ``clip_low`` of all values becomes 0, ``clip_high`` 255.

    An image of one value becomes 0. Where both percentiles are one value (nearly all of the image is
    background) the smallest and largest values are used.
    """
    low, high = np.percentile(values, (clip_low, clip_high)).astype(np.float64)
    if low == high:
        low, high = float(values.min()), float(values.max())
    if low == high:
        return np.zeros(values.shape, np.float32)
    return scaled(values, low, high)


def scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """float32 in 0..255: ``low`` becomes 0, ``high`` 255, what lies outside is cut."""
    result = np.empty(values.shape, np.float32)
    for out, one in zip(result, values, strict=True):  # slice by slice: a whole volume in float64 is large
        out[...] = np.clip((one.astype(np.float64) - low) * (255.0 / (high - low)), 0.0, 255.0)
    return result


def squares_of(case: CaseData, rule: InputRule) -> Squares:
    """The slices of a case, in order, on the rule's square."""
    n, size = len(case.image), rule.size
    image = np.empty((n, case.image.shape[-1], size, size), np.float32)
    target = np.empty((n, len(case.target), size, size), np.float16)
    valid = (0, 0)
    for d in range(n):
        image[d], valid = fit(case.image[d], rule, case.spacing_mm)
        target[d] = fit_target(case.target[:, d], rule, case.spacing_mm)
    return Squares(case.case, image, target, case.annotated, valid)


def samples_of(case: CaseData, rule: InputRule) -> Iterator[Sample]:
    """One sample per slice, in order."""
    squares = squares_of(case, rule)
    return (squares.sample(place, rule.neighbours) for place in range(len(squares.image)))
