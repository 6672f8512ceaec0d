"""PanNuke: patches of 19 tissues in three folds, one site per tissue.

"Fold 1" … "Fold 3", each with images/foldN/images.npy (float [N, 256, 256, 3] in 0..255), types.npy
(text [N], the tissue) and masks/foldN/masks.npy (float [N, 256, 256, 6], numbers of nuclei by kind, the
last channel background), as warwick.ac.uk/fac/cross_fac/tia/data/pannuke gives them. Which patches come
from one patient is not published: each counts as a patient. The arrays are mapped, never loaded, and
nothing pickled is opened.
"""

import re
from functools import partial
from pathlib import Path

import numpy as np

from .published import Found, Item, PublishedSite, counted, locate

PATCHES = {1: 2656, 2: 2523, 3: 2722}


def find(src: Path) -> Found:
    """One site per tissue, of the folds that are there."""
    tissues: dict[str, list[Item]] = {}
    faults = []
    for fold, n in PATCHES.items():
        names = (f"Fold {fold}", f"fold_{fold}", f"Fold_{fold}", f"fold{fold}")
        folder = next((f for name in names if (f := locate(src, name))), None)
        if folder is None:
            continue
        paths = [_one(folder, name) for name in ("images.npy", "masks.npy", "types.npy")]
        lacking = [
            name for name, path in zip(("images", "masks", "types"), paths, strict=True) if path is None
        ]
        if lacking:
            faults.append(f"{folder.name}: {', '.join(f'{name}.npy' for name in lacking)} is missing")
            continue
        items, wrong = _fold(fold, *(path for path in paths if path))
        faults += wrong or counted(folder.name, len(items), [n])
        for tissue, item in items:
            tissues.setdefault(re.sub(r"[^A-Za-z0-9._-]+", "-", tissue), []).append(item)
    return Found([PublishedSite(f"PanNuke-{name}", tissues[name]) for name in sorted(tissues)], faults)


def _one(folder: Path, name: str) -> Path | None:
    return next(iter(sorted(folder.rglob(name))), None)


def _fold(fold: int, images: Path, masks: Path, types: Path) -> tuple[list[tuple[str, Item]], list[str]]:
    arrays = []
    for path in (images, masks, types):
        try:
            arrays.append(np.load(path, mmap_mode="r", allow_pickle=False))
        except (OSError, ValueError) as error:
            return [], [f"Fold {fold}: {path.name} cannot be read: {error}"]
    pixels, numbers, tissue = arrays
    if (
        pixels.ndim != 4
        or pixels.shape[3] != 3
        or numbers.shape != (*pixels.shape[:3], 6)
        or tissue.shape != pixels.shape[:1]
        or tissue.dtype.kind != "U"
    ):
        shapes = f"{pixels.shape}, {numbers.shape}, {tissue.shape} of {tissue.dtype}"
        return [], [f"Fold {fold}: images, masks and types have shapes that do not belong together: {shapes}"]
    found = []
    for i, name in enumerate(tissue):
        item = Item(
            f"fold{fold}-{i:04d}",
            f"fold{fold}",
            partial(_picture, pixels, i),
            partial(_nuclei, numbers, i),
            (images, types),
            (masks,),
        )
        found.append((str(name), item))
    return found, []


def _picture(pixels: np.ndarray, i: int) -> np.ndarray:
    values = pixels[i]
    if not ((values >= 0) & (values <= 255)).all():
        raise ValueError("the image has values outside of 0 … 255")
    return np.rint(values).astype(np.uint8)


def _nuclei(numbers: np.ndarray, i: int) -> np.ndarray:
    return np.asarray((numbers[i, ..., :5] > 0).any(axis=-1), np.uint8)[None]
