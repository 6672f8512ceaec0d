"""Cases in memory, and the slices of them that train."""

from dataclasses import dataclass

import numpy as np

from ..errors import DataError
from ..settings.run import ImageSettings
from .findings import some
from .fitting import fit, fit_target
from .layouts import Case
from .readers import read_image, read_mask


@dataclass(frozen=True, eq=False)
class CaseData:
    """One case on its own grid.

    Attributes:
        image: float32 [D, H, W, C] in 0..255, C 1 or 3.
        target: bool [K, D, H, W]; all False for a class that is not annotated.
        annotated: bool [K].
        spacing_mm: (z, y, x), None when neither file knows it.
    """

    case: Case
    image: np.ndarray
    target: np.ndarray
    annotated: np.ndarray
    spacing_mm: tuple[float, float, float] | None


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


def load_case(case: Case, labels: tuple[frozenset[int], ...], settings: ImageSettings) -> CaseData:
    """A case from disk, its intensities clipped at two percentiles of the whole case and put in 0..255.

    Args:
        labels: mask values of each class, as ``labels.label_map`` gives them.

    Raises:
        DataError: PFS-202 when image and mask have different grids, PFS-204 when a file cannot be
            read, PFS-205 when the mask has values other than 0 that no class names.
    """
    pixels = read_image(case.image)
    mask, mask_grid = read_mask(case.mask)
    difference = pixels.grid.difference(mask_grid)
    if difference:
        raise DataError(
            "PFS-202", f"image and mask differ: {difference}", where=f"{case.image} and {case.mask}"
        )
    present = np.unique(mask).tolist()
    unknown = sorted(set(present) - {0}.union(*labels))
    if unknown:
        raise DataError(
            "PFS-205",
            f"the mask holds {some(unknown)}, which no class names",
            where=str(case.mask),
            hint="name every value in the setting labels, for example organ=128+255,lesion=255",
            counts={"unknown_values": len(unknown)},
        )
    target = np.stack([np.isin(mask, sorted(values)) for values in labels])
    return CaseData(
        case=case,
        image=to_255(pixels.values, settings.clip_low, settings.clip_high),
        target=target,
        annotated=np.array([bool(values) for values in labels]),
        spacing_mm=pixels.spacing_mm or mask_grid.spacing_mm,
    )


def to_255(values: np.ndarray, clip_low: float, clip_high: float) -> np.ndarray:
    """float32 in 0..255: percentile ``clip_low`` of all values becomes 0, ``clip_high`` 255.

    An image of one value becomes 0. Where both percentiles are one value (nearly all of the image is
    background) the smallest and largest values are used.
    """
    low, high = np.percentile(values, (clip_low, clip_high)).astype(np.float64)
    if low == high:
        low, high = float(values.min()), float(values.max())
    if low == high:
        return np.zeros_like(values, np.float32)
    scaled = np.empty_like(values, np.float32)
    for out, one in zip(scaled, values, strict=True):  # slice by slice: a whole volume in float64 is large
        out[...] = np.clip((one.astype(np.float64) - low) * (255.0 / (high - low)), 0.0, 255.0)
    return scaled


def samples_of(case: CaseData, size: int, stretch: bool = False) -> list[Sample]:
    """One sample per slice, in order, on a square of ``size`` pixels, padded or stretched (see ``fit``)."""
    samples = []
    for d in range(len(case.image)):
        image, valid = fit(case.image[d], size, stretch)
        target = fit_target(case.target[:, d], size, stretch).astype(np.float16)
        samples.append(Sample(image, valid, target, case.annotated, case.case.patient))
    return samples
