"""Nuclei: whichever of PanNuke, MoNuSeg, TNBC and DSB2018 are there. One class, ``nucleus`` = 1.

Each comes with the borders of single nuclei; here all nuclei are one class, as in FedFMS, and nuclei that
touch become one.

*MoNuSeg* (monuseg.grand-challenge.org): "MoNuSeg 2018 Training Data" with Tissue Images (.tif) and
Annotations (.xml), MoNuSegTestData with both in one folder. A <Region> is a polygon of <Vertex X Y>
in pixels; it is filled with its border. Regions of fewer than three corners enclose nothing.

*TNBC* (doi.org/10.5281/zenodo.1175282): Slide_01 … Slide_11 and GT_01 … GT_11, PNG of the same names;
a slide is a patient.

*DSB2018* (stage 1 of the 2018 Data Science Bowl, BBBC038): stage1_train/ID/images/ID.png and one mask per
nucleus in masks. It mixes kinds of microscopy, and which is not published: three sites are made of it, by
what its pixels say (colour: tissue; grey on dark: fluorescence; grey on light: brightfield).
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image, ImageDraw

from ...errors import DataError
from ..readers import read_grid, read_image, read_mask
from . import pannuke
from .published import Collection, Found, Item, PublishedSite, counted, files, locate, pairs

MONUSEG = {"train": (30, 37), "test": (14,)}  # the download was first of 30, later of 37 training images
TNBC_CASES = 50
DSB_CASES = 670


def find(src: Path) -> Found:
    """Every collection that is there, each checked by itself."""
    found = [look(src) for look in (pannuke.find, _monuseg, _tnbc, _dsb)]
    sites = [site for one in found for site in one.sites]
    faults = [fault for one in found for fault in one.faults]
    if not sites and not faults:
        wanted = (
            "Fold 1 (PanNuke), MoNuSeg 2018 Training Data, TNBC_NucleiSegmentation, stage1_train (DSB2018)"
        )
        faults.append(f"none of the folders {wanted} is there")
    return Found(sites, faults)


def _monuseg(src: Path) -> Found:
    train, test = locate(src, "MoNuSeg 2018 Training Data"), locate(src, "MoNuSegTestData")
    items, faults = [], []
    for part, folder in (("train", train), ("test", test)):
        if folder is None:
            continue
        while (folder / folder.name).is_dir():  # the archive has a folder of its own name
            folder = folder / folder.name
        pictures, polygons = (
            (folder / "Tissue Images", folder / "Annotations") if part == "train" else (folder,) * 2
        )
        found, wrong = pairs(files(pictures, ".tif"), files(polygons, ".xml"), f"MoNuSeg {part}")
        faults += wrong + counted(f"MoNuSeg {part}", len(found), MONUSEG[part])
        items += [
            Item(one, part, image, partial(_filled, image, xml), (image,), (xml,))
            for one, image, xml in found
        ]
    return Found([PublishedSite("MoNuSeg", items)] if items else [], faults)


def _filled(image: Path, xml: Path) -> np.ndarray:
    _, height, width = read_grid(image).shape
    mask = Image.new("L", (width, height))
    draw = ImageDraw.Draw(mask)
    try:
        regions = list(ElementTree.parse(xml).iter("Region"))
        for region in regions:
            corners = [(float(v.attrib["X"]), float(v.attrib["Y"])) for v in region.iter("Vertex")]
            if not np.isfinite(corners).all():
                raise ValueError("a corner is not a number")
            if len(corners) > 2:
                draw.polygon(corners, fill=1, outline=1)
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        raise ValueError(f"the annotation cannot be read: {error}") from error
    filled = np.asarray(mask, np.uint8)[None]
    if regions and not filled.any():
        raise ValueError("all its regions lie outside of the image")
    return filled


def _tnbc(src: Path) -> Found:
    slide = locate(src, "Slide_01")
    if slide is None:
        return Found([], [])
    items, faults = [], []
    for folder in sorted(slide.parent.glob("Slide_*")):
        masks = files(folder.with_name(folder.name.replace("Slide", "GT")), ".png")
        found, wrong = pairs(files(folder, ".png"), masks, folder.name)
        faults += wrong
        items += [
            Item(f"{folder.name}-{one}", "", image, partial(_any_of, [mask]), (image,), (mask,))
            for one, image, mask in found
        ]
    faults += counted("TNBC", len(items), [TNBC_CASES])
    return Found([PublishedSite("TNBC", items, patient=r"^(Slide_\d+)-")], faults)


def _dsb(src: Path) -> Found:
    folder = locate(src, "stage1_train")
    if folder is None:
        return Found([], [])
    kinds: dict[str, list[Item]] = {}
    faults = []
    cases = sorted(path for path in folder.iterdir() if path.is_dir())
    for case in cases:
        image, masks = case / "images" / f"{case.name}.png", tuple(files(case / "masks", ".png").values())
        if not image.is_file() or not masks:
            faults.append(
                f"stage1_train/{case.name}: {'a mask' if image.is_file() else 'the image'} is missing"
            )
            continue
        try:
            kind = _kind(read_image(image).values)
        except DataError as error:
            faults.append(f"stage1_train/{case.name}: {error.message}")
            continue
        item = Item(case.name, "", image, partial(_any_of, masks), (image,), masks)
        kinds.setdefault(kind, []).append(item)
    faults += counted("DSB2018", len(cases), [DSB_CASES])
    return Found([PublishedSite(f"DSB2018-{kind}", kinds[kind]) for kind in sorted(kinds)], faults)


def _kind(values: np.ndarray) -> str:
    """What kind of microscopy pixels [D, H, W, C] in 0..255 look like."""
    if (values != values[..., :1]).any():
        return "tissue"
    return "fluorescence" if np.median(values) < 128 else "brightfield"


def _any_of(paths: Sequence[Path]) -> np.ndarray:
    first, *rest = (read_mask(path)[0] > 0 for path in paths)
    for path, mask in zip(paths[1:], rest, strict=True):
        if mask.shape != first.shape:
            raise ValueError(f"{path.name} has another size than {paths[0].name}")
        first = first | mask
    return first.astype(np.uint8)


COLLECTION = Collection(("nucleus",), "nucleus=1", find)
