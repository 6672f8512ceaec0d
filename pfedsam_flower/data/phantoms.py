"""Phantom hospitals: synthetic sites on disk, for demos and tests. They look like any other site."""

import os
import shutil
from pathlib import Path

from PIL import Image

from ..errors import StoreError
from ..settings.site import SiteSettings
from ..settings.sources import refuse, sites_from_file
from .phantom_slices import draw_slice
from .phantom_styles import site_names, style_of

LABELS = "organ=128+255,lesion=255"
PATIENT = r"^(.+)-s\d+$"
LISTING = "sites.toml"


def write_phantoms(
    folder: Path, *, seed: int = 0, n_sites: int = 4, patients: int = 12, slices: int = 4, size: int = 128
) -> list[SiteSettings]:
    """Settings of the new sites; writes ``<site>/images``, ``<site>/masks`` and ``sites.toml``.

    The pictures are 8-bit grey PNGs; masks have 128 (organ) and 255 (lesion, inside the organ).
    A picture depends on the seed, its site, patient and slice, and on ``slices`` and ``size`` alone.
    All is written beside and moved in; ``sites.toml`` comes last.

    Args:
        patients, slices: per site and per patient.
        size: side of the pictures, pixels.

    Raises:
        SettingsError: PFS-101 for numbers that make no hospital.
        StoreError: PFS-604 when the folder holds such sites already, or cannot be written.
    """
    least = {"n_sites": (n_sites, 1), "patients": (patients, 1), "slices": (slices, 1), "size": (size, 32)}
    refuse([f"{name} = {n}: at least {low}" for name, (n, low) in least.items() if n < low])
    names = site_names(n_sites)
    beside = folder / f".phantoms-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        taken = [name for name in (*names, LISTING) if (folder / name).exists()]
        if taken:
            raise StoreError(
                "PFS-604",
                f"{', '.join(taken)} exists already",
                where=str(folder),
                hint="choose another folder",
            )
        for name in names:
            _write_site(beside / name, name, seed, patients, slices, size)
        with (beside / LISTING).open("w", encoding="utf-8") as file:
            file.write("\n".join(_table(name) for name in names))
            file.flush()
            os.fsync(file.fileno())
        for name in (*names, LISTING):
            os.replace(beside / name, folder / name)
    except OSError as error:
        raise StoreError("PFS-604", f"the phantoms cannot be written: {error}", where=str(folder)) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return sites_from_file(folder / LISTING)


def _write_site(folder: Path, site: str, seed: int, patients: int, slices: int, size: int) -> None:
    for sub in ("images", "masks"):
        (folder / sub).mkdir(parents=True)
    for patient in range(1, patients + 1):
        for index in range(slices):
            image, mask = draw_slice(style_of(site), seed, site, patient, index, slices, size)
            name = f"{site}-p{patient:02d}-s{index + 1}.png"
            Image.fromarray(image).save(folder / "images" / name)
            Image.fromarray(mask).save(folder / "masks" / name)


def _table(site: str) -> str:
    """A ``[[site]]`` table; folders are relative to the file."""
    texts = {"site": site, "data": site, "state": "state", "labels": LABELS}
    lines = [f'{key} = "{text}"' for key, text in texts.items()]
    return "\n".join(["[[site]]", *lines, f"patient = '{PATIENT}'", ""])
