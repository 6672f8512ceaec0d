"""Cases of a public collection → folders of images and masks, the list of sites, the list of cases."""

import csv
import hashlib
import shutil
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from ...errors import DataError
from ..pixels import Grid
from ..readers import read_image, suffix_of
from ..readers.writing import write_volume
from .published import Collection, Item, PublishedSite

Progress = Callable[[int, int, str], None]

LISTING = "sites.toml"
CASE_LIST = "cases.csv"
HEADER = ("site", "id", "part", "role", "file", "source", "sha256")


def write_sites(
    folder: Path, src: Path, sites: list[PublishedSite], collection: Collection, progress: Progress | None
) -> list[str]:
    """Writes all sites into ``folder``, one case in memory at a time; one sentence per case that is wrong.

    ``cases.csv`` has one line per published file: site and id of the case, its part in the publication,
    whether it gave the image or the mask, the file written, the published file below ``src``, its SHA-256.
    """
    total = sum(len(site.items) for site in sites)
    done, faults = 0, []
    digest = lru_cache(maxsize=16)(_sha256)  # PanNuke's thousands of cases share three files
    with (folder / CASE_LIST).open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(HEADER)
        for site in sites:
            for sub in ("images", "masks"):
                (folder / site.name / sub).mkdir(parents=True)
            for item in site.items:
                if progress:
                    progress(done, total, site.name)
                done += 1
                try:
                    image, mask = _write(folder / site.name, item)
                except (DataError, ValueError) as error:
                    reason = error.message if isinstance(error, DataError) else str(error)
                    faults.append(f"{site.name}/{item.id}: {reason}")
                    continue
                for role, written, sources in (
                    ("image", image, item.image_files),
                    ("mask", mask, item.mask_files),
                ):
                    for source in sources:
                        made, given = (
                            written.relative_to(folder).as_posix(),
                            source.relative_to(src).as_posix(),
                        )
                        rows.writerow((site.name, item.id, item.part, role, made, given, digest(source)))
    listing = "\n".join(_table(site, collection.labels) for site in sites)
    (folder / LISTING).write_text(listing, encoding="utf-8")
    return faults


def _write(folder: Path, item: Item) -> tuple[Path, Path]:
    """Image and mask of one case; the mask lies on the image's grid.

    Raises:
        DataError: PFS-204, PFS-207 when a published file cannot be used.
        ValueError: when image and mask have different sizes.
    """
    if isinstance(item.image, Path):
        image = folder / "images" / (item.id + suffix_of(item.image))
        shutil.copyfile(item.image, image)
    else:
        image = folder / "images" / f"{item.id}.png"
        Image.fromarray(item.image()).save(image)
    grid = read_image(image).grid
    values = item.mask()
    if values.shape != grid.shape:
        raise ValueError(f"the image is {_size(grid.shape)}, the mask {_size(values.shape)}")
    return image, _write_mask(folder / "masks", item.id, values, grid)


def _write_mask(folder: Path, name: str, values: np.ndarray, grid: Grid) -> Path:
    if grid.spacing_mm:
        path = folder / f"{name}.nii.gz"
        write_volume(path, values, grid)
    else:
        path = folder / f"{name}.png"
        Image.fromarray(values[0]).save(path)
    return path


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _table(site: PublishedSite, labels: str) -> str:
    """A ``[[site]]`` table; folders are relative to the file."""
    texts = {"site": site.name, "data": site.name, "state": "state", "labels": labels}
    lines = [f'{key} = "{text}"' for key, text in texts.items()]
    return "\n".join(["[[site]]", *lines, f"patient = '{site.patient}'", ""])
