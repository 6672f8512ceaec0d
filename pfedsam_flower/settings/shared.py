"""Sites of one file that name the same data: a patient would train at one and be tested at the other."""

import os
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from .site import SiteSettings

Place = tuple[int, int]


def shared_data(sites: Sequence[SiteSettings]) -> list[str]:
    """One sentence per two sites whose images lie in the same folder, or one's within the other's.

    Folders are known by what they are on the disk, so links and other spellings of a path do not hide them.
    One that is missing is nobody's; that it is missing is said where it is read.
    """
    chains = [(site, _chain(_images(site))) for site in sites]
    return [
        f"{one.site} and {other.site} have the same data: {one.data} and {other.data}; a patient of both "
        "would train at one and be tested at the other: name each site's own data, or leave one of them out"
        for (one, here), (other, there) in combinations(chains, 2)
        if here and there and (here[0] in there or there[0] in here)
    ]


def _images(site: SiteSettings) -> Path:
    """The folder of the images, where the site's data is a plain folder; else its data as a whole."""
    data = Path(site.data)
    return data / site.images if (data / site.images).is_dir() else data


def _chain(path: Path) -> list[Place]:
    """Device and number of the path and of the folders above it, from below; empty where there is nothing."""
    whole = Path(os.path.realpath(path))
    try:
        return [(found.st_dev, found.st_ino) for found in (one.stat() for one in (whole, *whole.parents))]
    except OSError:
        return []
