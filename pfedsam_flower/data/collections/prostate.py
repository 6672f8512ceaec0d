"""Prostate MRI of six sources (SAML).

Layout and names as several public readers of the download agree: folders BIDMC, BMC, HK, I2CVB, RUNMC
and UCL with CaseXX.nii.gz and CaseXX_segmentation.nii.gz (BMC: _Segmentation). Two sources mark two
zones with 1 and 2; the publication segments the whole gland, so every value above 0 becomes 1. It works
on the arrays alone: where a mask's header differs from its image's, the image's grid is used.
Liu et al., "Shape-aware Meta-learning for Generalizing Prostate MRI Segmentation to Unseen Domains",
MICCAI 2020; liuquande.github.io/SAML.
"""

import logging
import re
from functools import partial
from pathlib import Path

import numpy as np

from ...errors import DataError
from ..findings import some
from ..readers import read_grid, read_mask
from .published import Collection, Found, Item, PublishedSite, counted, locate, pairs

log = logging.getLogger(__name__)

CASES = {"BIDMC": 12, "BMC": 30, "HK": 12, "I2CVB": 19, "RUNMC": 30, "UCL": 13}
IMAGE = re.compile(r"^(Case\d+)\.nii(\.gz)?$", re.IGNORECASE)
MASK = re.compile(r"^(Case\d+)_segmentation\.nii(\.gz)?$", re.IGNORECASE)


def find(src: Path) -> Found:
    """All six sites; one that is missing is a fault."""
    sites, faults = [], []
    for name, n in CASES.items():
        folder = locate(src, name)
        if folder is None:
            faults.append(f"the folder {name} is missing")
            continue
        found, wrong = pairs(_named(folder, IMAGE), _named(folder, MASK), name)
        faults += wrong + counted(name, len(found), [n])
        faults += _headers(name, found)
        sites.append(PublishedSite(name, [_item(*one) for one in found]))
    return Found(sites, faults)


def _named(folder: Path, pattern: re.Pattern[str]) -> dict[str, Path]:
    return {match[1]: path for path in sorted(folder.iterdir()) if (match := pattern.match(path.name))}


def _item(name: str, image: Path, mask: Path) -> Item:
    return Item(name, "", image, partial(_gland, mask), (image,), (mask,))


def _gland(mask: Path) -> np.ndarray:
    return (read_mask(mask)[0] > 0).astype(np.uint8)


def _headers(site: str, found: list[tuple[str, Path, Path]]) -> list[str]:
    """Faults of shape; other differences of headers are said in the log."""
    faults, other = [], []
    for name, image, mask in found:
        try:
            grid, of_mask = read_grid(image), read_grid(mask)
        except DataError as error:
            faults.append(f"{site}: {Path(error.where).name}: {error.message}")
            continue
        difference = grid.difference(of_mask)
        if grid.shape != of_mask.shape:
            faults.append(f"{site}: {name}: image and mask differ: {difference}")
        elif difference:
            other.append(name)
    if other:
        text = "%s: %d masks have another header than their image, whose grid is used: %s"
        log.warning(text, site, len(other), some(other))
    return faults


COLLECTION = Collection(("prostate",), "prostate=1", find)
