"""Masks and probabilities → files on the image's own grid.

NRRD and MetaImage are answered in their own format, which keeps the grid in double precision; everything
else that knows where it lies as NIfTI, which keeps it in single. Where nothing is known (PNG, TIFF, JPEG) a
file with millimetres would claim what nobody measured, so the answer is a PNG, or a TIFF of a page per slice.
"""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from zlib import crc32

import numpy as np
from PIL import Image

from ..data.pixels import Grid
from ..data.readers.writing import write_volume
from ..errors import StoreError

OWN_FORMAT = {".nrrd": ".nrrd", ".nhdr": ".nrrd", ".mha": ".mha", ".mhd": ".mha"}


def to_label_map(masks: np.ndarray) -> np.ndarray:
    """Whole numbers [D, H, W]: 0 background, n the n-th class; the last of several classes wins.

    Classes may be nested (an organ and the lesion in it): the later, finer one stands. So do nnU-Net's
    regions by default.

    Args:
        masks: bool [K, D, H, W].
    """
    labels = np.zeros(masks.shape[1:], np.min_scalar_type(len(masks)))
    for value, mask in enumerate(masks, 1):
        labels[mask] = value
    return labels


def write_case(
    folder: Path,
    name: str,
    classes: Sequence[str],
    grid: Grid,
    masks: np.ndarray,
    probabilities: np.ndarray | None = None,
    *,
    per_class: bool = False,
    like: str = "",
) -> list[Path]:
    """Writes ``NAME`` with its suffix, and on demand ``classes/CLASS/NAME`` and ``probabilities/CLASS/NAME``.

    All of a case's files are there afterwards, or none.

    Args:
        masks: bool [K, *grid.shape], as stored (z, y, x).
        probabilities: float32, likewise, 0..1.
        per_class: write each class by itself too, 0 and 1; where classes overlap both have the voxel.
        like: suffix of the image's file.

    Returns:
        The files, the label map first.

    Raises:
        StoreError: PFS-604 when a file cannot be written.
    """
    written: list[Path] = []
    try:
        for place, values in _outputs(name, classes, masks, probabilities, per_class):
            path = folder / place.with_name(place.name + suffix_for(grid, values, like))
            path.parent.mkdir(parents=True, exist_ok=True)
            written.append(path)
            _write(path, values, grid)
    except BaseException as error:
        for path in written:
            path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise StoreError(
                "PFS-604", f"a mask cannot be written: {error.strerror}", where=str(folder)
            ) from error
        raise
    return written


def suffix_for(grid: Grid, values: np.ndarray, like: str) -> str:
    """Of the file that keeps this grid and these values, for an image of suffix ``like``."""
    if _in_space(grid):
        return OWN_FORMAT.get(like, ".nii.gz")
    return ".png" if len(values) == 1 and values.dtype == np.uint8 else ".tif"


def _in_space(grid: Grid) -> bool:
    return grid.spacing_mm is not None or grid.frame is not None


def _outputs(
    name: str, classes: Sequence[str], masks: np.ndarray, probabilities: np.ndarray | None, per_class: bool
) -> Iterator[tuple[Path, np.ndarray]]:
    yield Path(name), to_label_map(masks)
    for one, mask in zip(classes, masks, strict=True) if per_class else ():
        yield Path("classes", _folder(one), name), mask.astype(np.uint8)
    for one, values in zip(classes, probabilities, strict=True) if probabilities is not None else ():
        yield Path("probabilities", _folder(one), name), values


def _folder(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name)


def _write(path: Path, values: np.ndarray, grid: Grid) -> None:
    if _in_space(grid):
        write_volume(path, values, grid)
        return
    first, *more = (Image.fromarray(np.ascontiguousarray(page)) for page in values)
    # short, as the name may be as long as it can
    beside = path.with_name(f".{os.getpid()}-{crc32(os.fsencode(path.name)):08x}{path.suffix}")
    try:
        if path.suffix == ".png":
            first.save(beside)
        else:
            first.save(beside, save_all=True, append_images=more, compression="tiff_deflate")
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
