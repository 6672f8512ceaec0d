"""Everybody's patients at one site: the upper reference of a comparison. Only the listing is written."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ..data.folds import Folds
from ..data.labels import BACKGROUND, LabelMap, labels_of
from ..data.layouts import find_cases
from ..data.splits import PARTS
from ..data.values import Values
from ..errors import SettingsError
from ..settings.site import SiteSettings
from ..settings.sources import refuse, suggest
from ..site.files import write_whole
from .protocol import POOLED

SEPARATOR = ":"
"""Between site and patient; a site's name cannot have it."""


def merged_sites(
    sites: Sequence[SiteSettings], names: Sequence[str], folder: Path, classes: tuple[str, ...]
) -> list[SiteSettings]:
    """The sites, with the named ones as one hospital at the place of the first: ``A-and-B``.

    Its manifest is written into ``folder``.

    Raises:
        SettingsError: PFS-101 when a name is no site or there are fewer than two; as ``pooled_site``.
    """
    known = [site.site for site in sites]
    refuse(
        [f"--merge {name}: no such site; {suggest(name, known)}" for name in names if name not in known]
        + ([f"--merge {','.join(names)}: two different sites at least"] if len(set(names)) < 2 else [])
    )
    together = [site for site in sites if site.site in names]
    merged = pooled_site(together, folder, together[0].state, classes, "-and-".join(s.site for s in together))
    # a manifest does not ask for them, but they say what is in it, and a run is known by that
    meaning = [f"{site.channel}:{site.images}:{site.masks}" for site in together]
    merged = merged.model_copy(update={"masks": "+".join(meaning)})
    return [merged if site is together[0] else site for site in sites if site not in together[1:]]


def pooled_site(
    sites: Sequence[SiteSettings],
    folder: Path,
    state: str,
    classes: tuple[str, ...],
    name: str = POOLED,
) -> SiteSettings:
    """A site with the cases of all sites; writes their manifest into ``folder``.

    Raises:
        SettingsError: PFS-102 when the same mask value means something else at another site.
        DataError: as ``find_cases``.
    """
    rows, meanings = [], {}
    for site in sites:
        meanings[site.site] = labels_of(site, classes)
        rows += [
            {
                "image": str(case.image.absolute()),
                "mask": str(case.mask.absolute()),
                "patient": pooled_name(site.site, case.patient),
                "id": f"{site.site}--{case.id}",
            }
            for case in find_cases(site)
        ]
    first = sites[0]
    other = [one for one, meaning in meanings.items() if meaning.classes != meanings[first.site].classes]
    if other:
        raise SettingsError(
            "PFS-102",
            f"the masks of {len(sites)} sites are to lie at one, {name}, and {other[0]} has other mask "
            f"values or classes than {first.site}",
            where="the setting labels",
            hint=f"leave {name} out, or write masks with the same values",
        )
    manifest = folder / f"{name}.json"
    write_whole(manifest, json.dumps(rows, indent=1).encode("utf-8", "surrogateescape"))
    labels = labels_text(classes, *meanings.values())
    return first.model_copy(
        update={"site": name, "data": str(manifest), "state": state, "labels": labels, "channel": ""}
    )


def labels_text(classes: tuple[str, ...], *meanings: LabelMap) -> str:
    """The setting ``labels`` that says what the first meaning says, with the background of all of them."""
    background = Values.union(*(one.background for one in meanings))
    named = [*zip(classes, meanings[0].classes, strict=True), (BACKGROUND, background)]
    return ",".join(f"{name}={values}" for name, values in named if values)


def pooled_split(folds: Folds, sites: Sequence[SiteSettings], run: int) -> dict[str, object]:
    """The content of the pooled site's ``split.json``: each part is that of all sites together."""
    splits = {site.site: asdict(folds.split(site.site, run)) for site in sites}
    parts = {
        part: sorted(pooled_name(site, patient) for site, split in splits.items() for patient in split[part])
        for part in PARTS
    }
    return {"version": 1, "seed": folds.seed, **parts}


def pooled_name(site: str, patient: str) -> str:
    """A patient's name at the pooled site."""
    return f"{site}{SEPARATOR}{patient}"


def unpooled_name(patient: str) -> tuple[str, str]:
    """Site and patient of a name at the pooled site."""
    site, _, name = patient.partition(SEPARATOR)
    return site, name
