"""Optic disc and cup in fundus photographs, as two papers divide them into sites.

*FedDG* (the data of DoFE, github.com/emma-sjwang/Dofe, dataloaders/): Domain1 … Domain4 are Drishti-GS,
RIM-ONE-r3, REFUGE train and REFUGE validation, cut out around the disc: DomainN/train|test/ROIs/image
and mask, PNG. Masks are grey: above 200 background, 51 to 200 the rim of the disc, up to 50 the cup.

*FedFMS* (github.com/LIU-YUXI/FedFMS, preprocess_fundus.py): REFUGE, ORIGA and G1020 as the collection
"glaucoma-datasets" has them (Images and Masks, REFUGE below train, val and test; 0 background, 1 rim,
2 cup), and Drishti-GS1 as published: Training and Test with Images, GT/NAME/SoftMap (Test_GT in Test),
one grey map of the experts' agreement for disc and cup each, cut at 100 of 255.
G1020 has several photographs of some patients without saying which: each counts as a patient there.

Both come out with values 1 (rim) and 2 (cup); the disc is both.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from ..readers import read_mask
from .published import Collection, Found, Item, PublishedSite, counted, files, locate, pairs

DOMAINS = {
    "Domain1": ("Drishti-GS", 101),
    "Domain2": ("RIM-ONE-r3", 159),
    "Domain3": ("REFUGE-train", 400),
    "Domain4": ("REFUGE-val", 400),
}
FEDFMS = {"REFUGE": 1200, "ORIGA": 650, "G1020": 1020, "Drishti-GS1": 101}
REFUGE_PARTS = ("train", "val", "test")
PICTURES = (".png", ".jpg", ".jpeg")
AGREED = 100


def find(src: Path) -> Found:
    """The sites of one of the two papers; both at one place would put the same eyes into two sites."""
    domains = {name: folder for name in DOMAINS if (folder := locate(src, name))}
    fedfms = [site for look in (_refuge, _plain, _drishti) for site in look(src)]
    if domains and fedfms:
        named = ", ".join(site.name for site, _ in fedfms)
        return Found(
            [], [f"both {', '.join(domains)} and {named} are there and share images; give one of them"]
        )
    if domains:
        return _domains(domains)
    if not fedfms:
        wanted = f"{', '.join(DOMAINS)} (FedDG) and {', '.join(FEDFMS)} (FedFMS)"
        return Found([], [f"none of the folders {wanted} is there"])
    faults = [fault for site, wrong in fedfms for fault in _checked(site, FEDFMS[site.name], wrong)]
    return Found([site for site, _ in fedfms], faults)


def _checked(site: PublishedSite, n: int, faults: list[str]) -> list[str]:
    return faults + counted(site.name, len(site.items), [n])


def _domains(folders: dict[str, Path]) -> Found:
    sites, faults = [], []
    for domain, (name, n) in DOMAINS.items():
        if domain not in folders:
            faults.append(f"the folder {domain} is missing")
            continue
        items = []
        for part in ("train", "test"):
            rois = folders[domain] / part / "ROIs"
            found, wrong = pairs(
                files(rois / "image", *PICTURES), files(rois / "mask", *PICTURES), f"{domain}/{part}"
            )
            items += [_item(one, part, image, (mask,), _inverted) for one, image, mask in found]
            faults += wrong
        site = PublishedSite(name, items)
        faults += _checked(site, n, [])
        sites.append(site)
    return Found(sites, faults)


def _refuge(src: Path) -> list[tuple[PublishedSite, list[str]]]:
    folder = locate(src, "REFUGE")
    if folder is None:
        return []
    items, faults = [], []
    for part in REFUGE_PARTS:
        more, wrong = _labelled(folder / part, part)
        items += more
        faults += wrong
    return [(PublishedSite("REFUGE", items), faults)]


def _plain(src: Path) -> list[tuple[PublishedSite, list[str]]]:
    found = []
    for name in ("ORIGA", "G1020"):
        folder = locate(src, name)
        if folder:
            items, faults = _labelled(folder, "")
            found.append((PublishedSite(name, items), faults))
    return found


def _labelled(folder: Path, part: str) -> tuple[list[Item], list[str]]:
    images, masks = files(folder / "Images", *PICTURES), files(folder / "Masks", *PICTURES)
    where = f"{folder.parent.name}/{folder.name}" if part else folder.name
    found, faults = pairs(images, masks, where)
    return [_item(one, part, image, (mask,), _as_labelled) for one, image, mask in found], faults


def _drishti(src: Path) -> list[tuple[PublishedSite, list[str]]]:
    items, faults = [], []
    for part, truth in (("Training", "GT"), ("Test", "Test_GT")):
        folder = locate(src, part)
        if folder is None or not (folder / truth).is_dir():
            continue
        images: dict[str, Path] = {}
        for sub in sorted(
            p for p in (folder / "Images").glob("**") if p.is_dir()
        ):  # some copies sort by diagnosis
            images |= files(sub, ".png")
        soft = {
            one: (
                folder / truth / one / "SoftMap" / f"{one}_ODsegSoftmap.png",
                folder / truth / one / "SoftMap" / f"{one}_cupsegSoftmap.png",
            )
            for one in images
        }
        for one, image in images.items():
            lacking = [path.name for path in soft[one] if not path.is_file()]
            if lacking:
                faults.append(f"Drishti-GS1/{part}: {', '.join(lacking)} is missing")
            else:
                items.append(_item(one, part.lower(), image, soft[one], _agreed))
    return [(PublishedSite("Drishti-GS1", items), faults)] if items or faults else []


def _item(
    name: str, part: str, image: Path, masks: tuple[Path, ...], read: Callable[..., np.ndarray]
) -> Item:
    return Item(name, part, image, partial(read, *masks), (image,), masks)


def _inverted(path: Path) -> np.ndarray:
    grey = read_mask(path)[0]
    if (grey[:, [0, 0, -1, -1], [0, -1, 0, -1]] <= 200).any():
        raise ValueError("its corners are not background; another coding than the published one")
    return np.select([grey > 200, grey > 50], [0, 1], 2).astype(np.uint8)


def _as_labelled(path: Path) -> np.ndarray:
    values = read_mask(path)[0]
    if values.max() > 2:
        raise ValueError(f"it holds {values.max()}; 0, 1 and 2 were published")
    return values.astype(np.uint8)


def _agreed(disc: Path, cup: Path) -> np.ndarray:
    of_disc, of_cup = (read_mask(path)[0] >= AGREED for path in (disc, cup))
    if of_disc.shape != of_cup.shape:
        raise ValueError("the maps of disc and cup have different sizes")
    return np.where(of_cup, 2, of_disc).astype(np.uint8)


COLLECTION = Collection(("disc", "cup"), "disc=1+2,cup=2", find)
