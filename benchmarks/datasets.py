"""Two public collections as cases, pooled over their sites, split by patient by name alone.

The split depends on nothing but the patients' names, so a table can be made again anywhere.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pfedsam_flower.data.cases import CaseData, load_case
from pfedsam_flower.data.labels import label_map
from pfedsam_flower.data.layouts import find_cases
from pfedsam_flower.settings.run import ImageSettings
from pfedsam_flower.settings.site import SiteSettings

TEST_SHARE = 0.35


@dataclass(frozen=True)
class Collection:
    """How one collection is read.

    Attributes:
        label: mask value of its one class. patient: as in ``SiteSettings``.
        by_site: scores are averaged within each site first (the sites are kinds of picture).
        objects: components looked at per image in the box test, largest first.
    """

    label: str
    patient: str
    by_site: bool
    objects: int


COLLECTIONS = {
    "lgg": Collection("target=255", "^(TCGA_[A-Z]+_[0-9A-Z]+)_[0-9]+$", by_site=False, objects=1000),
    "nuclei": Collection("target=255", "^([0-9a-f]{12})", by_site=True, objects=8),
}


@dataclass(frozen=True, eq=False)
class Pooled:
    """All cases of a collection; ``site_of`` is by case id."""

    train: list[CaseData]
    test: list[CaseData]
    site_of: dict[str, str]


def load(name: str, folder: Path) -> Pooled:
    """A collection: ``folder/SITE/images`` and ``masks``, intensities clipped at 0.5 and 99.5 percent."""
    how = COLLECTIONS[name]
    labels = label_map(how.label, ("target",))
    train, test, site_of = [], [], {}
    found = []
    for site in sorted(path for path in folder.iterdir() if path.is_dir()):
        settings = SiteSettings(site=site.name, data=str(site), state=str(site), patient=how.patient)
        found += [(site.name, case) for case in find_cases(settings)]
    names = sorted({case.patient for _, case in found}, key=_order)
    held = set(names[: round(TEST_SHARE * len(names))])
    for site_name, case in found:
        (test if case.patient in held else train).append(load_case(case, labels, ImageSettings()))
        site_of[case.id] = site_name
    return Pooled(train, test, site_of)


def some_patients(cases: list[CaseData], count: int | None, seed: int) -> list[CaseData]:
    """The cases of ``count`` patients, drawn by the seed; None: all."""
    names = sorted({case.case.patient for case in cases}, key=_order)
    if count is None:
        return cases
    chosen = set(np.random.default_rng(seed).choice(names, size=count, replace=False).tolist())
    return [case for case in cases if case.case.patient in chosen]


def _order(patient: str) -> str:
    return hashlib.sha256(patient.encode()).hexdigest()
