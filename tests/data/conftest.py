"""Small site folders for the tests of the data room."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pfedsam_flower.settings.site import SiteSettings


def save_png(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def make_site(tmp_path: Path) -> Callable[..., SiteSettings]:
    """A site of ``patients`` x ``slices`` pictures of 20 x 30 pixels; lesions have value 255."""

    def make(patients: int = 5, slices: int = 2, **settings: object) -> SiteSettings:
        rng = np.random.default_rng(0)
        for p in range(patients):
            for s in range(slices):
                mask = np.zeros((20, 30), np.uint8)
                mask[5 : 9 + s, 6 : 12 + p] = 255
                save_png(
                    tmp_path / f"site/images/p{p}-s{s}.png", rng.integers(0, 256, (20, 30)).astype(np.uint8)
                )
                save_png(tmp_path / f"site/masks/p{p}-s{s}.png", mask)
        given = {"site": "a", "data": str(tmp_path / "site"), "state": str(tmp_path / "state")}
        given |= {"labels": "lesion=255", "patient": r"^(.+)-s\d+$"} | settings
        return SiteSettings(**given)

    return make
