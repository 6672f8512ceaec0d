"""A hospital that comes when all is trained: it takes the shared parameters and does the closing round alone.

How many of its patients that takes is what is asked: the same closing round, and training alone beside it,
with 1, 2, 4 and all of a fold's training patients, for each fold of the newcomer, so that each of its
patients is tested once.
"""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..data.folds import Folds, first_of
from ..settings.site import SiteSettings
from ..site.files import write_whole
from ..site.onboarding import onboard
from ..site.paths import cache_path, split_path, store_folder
from ..site.recall import Recall
from ..site.scores import FILE, read_scores
from ..site.trained import open_global

SIZES = {"1": 1, "2": 2, "4": 4, "all": None}
"""Training patients of the newcomer; a site that has fewer takes all."""


def onboarded_scores(
    folder: Path, site: SiteSettings, folds: Folds, work: Path, checkpoint: str, recall: Recall
) -> list[dict[str, Any]]:
    """The newcomer's test patients with what it trained and would deploy: as rows of a record.

    The models are named ``personal of 1`` … ``personal of all``, and so are ``alone``, ``blend`` and
    ``deployed``.

    Args:
        folder: of a run in which the site did not take part. work: for the newcomer's states.
        recall: who remembers steps that other runs share.

    Raises:
        PfedsamError: data, checkpoint, run folder, or disk.
    """
    run = open_global(folder, site, checkpoint).run
    name = run.federation.name
    rows = []
    for number, split in enumerate(folds.sites[site.site]):
        for size, count in SIZES.items():
            state = work / "newcomer" / f"{number}-{size}"
            newcomer = site.model_copy(
                update={"state": str(state), "checkpoint": checkpoint or site.checkpoint}
            )
            record = {"version": 1, "seed": folds.seed, **asdict(first_of(split, count))}
            write_whole(split_path(newcomer, name), json.dumps(record).encode("utf-8", "surrogateescape"))
            images = (work / "newcomer" / f"prepared-{number}").absolute()
            images.mkdir(exist_ok=True)
            cache_path(newcomer, name).symlink_to(images, target_is_directory=True)
            onboard(folder, newcomer, recall=recall)
            for one in read_scores(store_folder(newcomer, name, run.method) / FILE):
                if one.model != "global":
                    found = replace(one, model=f"{one.model} of {size}")
                    rows.append({"site": site.site} | asdict(found))
    return rows
