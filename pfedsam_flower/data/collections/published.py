"""A public collection as it was unpacked: sites, their cases, and what does not fit the publication."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..findings import some

Make = Callable[[], np.ndarray]


@dataclass(frozen=True)
class Item:
    """One case of a collection.

    Attributes:
        id: its name at the site, without suffix.
        part: the part of the publication it comes from (train, test, fold1), '' where it has none.
        image: a file that is copied as it is, or a function that gives uint8 [H, W, 3].
        mask: gives uint8 [D, H, W] (D = 1 for pictures), values as the collection's ``labels`` say.
        image_files, mask_files: what was published, for the case list.
    """

    id: str
    part: str
    image: Path | Make
    mask: Make
    image_files: tuple[Path, ...]
    mask_files: tuple[Path, ...]


@dataclass(frozen=True)
class PublishedSite:
    """One site: its name in the federation, its cases, and the setting ``patient`` that fits their ids."""

    name: str
    items: list[Item]
    patient: str = r"^(.+)$"


@dataclass(frozen=True)
class Found:
    """What is at a place: sites, and one sentence for everything that is not as it was published."""

    sites: list[PublishedSite]
    faults: list[str]


@dataclass(frozen=True)
class Collection:
    """How one collection becomes site folders.

    Attributes:
        classes: names for the setting ``classes`` of a federation.
        labels: the setting ``labels`` of each site.
        find: what is at a place; looks at names, and at headers where it must.
    """

    classes: tuple[str, ...]
    labels: str
    find: Callable[[Path], Found]


def locate(src: Path, name: str) -> Path | None:
    """The folder of that name: ``src`` itself, in it, or one or two levels below (as archives unpack)."""
    if src.name == name:
        return src
    for pattern in (name, f"*/{name}", f"*/*/{name}"):
        found = sorted(p for p in src.glob(pattern) if p.is_dir() and "__MACOSX" not in p.parts)
        if found:
            return found[0]
    return None


def files(folder: Path, *suffixes: str) -> dict[str, Path]:
    """Files with one of the suffixes by stem; hidden ones (and macOS' ``._`` twins) are not looked at."""
    if not folder.is_dir():
        return {}
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in suffixes and p.name[0] != ".")
    return {path.stem: path for path in found}


def pairs(
    images: dict[str, Path], masks: dict[str, Path], where: str
) -> tuple[list[tuple[str, Path, Path]], list[str]]:
    """(name, image, mask) of what is in both, and a sentence about what is in one alone."""
    alone = sorted(images.keys() ^ masks.keys())
    faults = [f"{where}: {len(alone)} names have an image or a mask alone: {some(alone)}"] if alone else []
    return [(name, images[name], masks[name]) for name in sorted(images.keys() & masks.keys())], faults


def counted(where: str, n: int, published: Iterable[int]) -> list[str]:
    """A sentence where there are more or fewer cases than were published."""
    allowed = list(published)
    if n in allowed:
        return []
    return [f"{where}: {n} cases, but {' or '.join(map(str, allowed))} were published"]
