"""A run's models on data that they were not made for: an unseen hospital's, or another site's experts."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..data.cases import load_case
from ..data.labels import labels_of
from ..data.layouts import find_cases
from ..settings.site import SiteSettings
from ..site.scores import CaseScore, case_scores
from ..site.trained import Trained, mixed_logits, open_global, open_trained


def unseen_scores(folder: Path, site: SiteSettings, checkpoint: str) -> list[dict[str, Any]]:
    """The global model of a run on every patient of a site that did not take part: as rows of a record.

    Args:
        folder: the run's, ended. checkpoint: path of the backbone's weights, '' for those in the package.

    Raises:
        PfedsamError: data, checkpoint or run folder.
    """
    patients = {case.patient for case in find_cases(site)}
    found = scores_with(open_global(folder, site, checkpoint), site, patients, "global")
    return [{"site": site.site} | asdict(one) for one in found]


def exchanged_scores(
    folder: Path, sites: Sequence[SiteSettings], tested: Mapping[str, Collection[str]], checkpoint: str
) -> list[dict[str, Any]]:
    """Every site's test patients with every site's experts: the model is named ``experts of SITE``.

    Args:
        sites: with the states that the run left. tested: patients by site.

    Raises:
        PfedsamError: as ``unseen_scores``; SettingsError PFS-103 when the method keeps nothing personal.
    """
    rows = []
    for owner in sites:
        trained = open_trained(folder, "personalised", owner, checkpoint)
        for site in sites:
            found = scores_with(trained, site, tested[site.site], f"experts of {owner.site}")
            rows += [{"site": site.site} | asdict(one) for one in found]
    return rows


def scores_with(
    trained: Trained, site: SiteSettings, patients: Collection[str], model: str
) -> list[CaseScore]:
    """Scores of these patients' cases, in the order of case ids, under the name ``model``."""
    run = trained.run
    labels = labels_of(site, run.classes)
    rows: list[CaseScore] = []
    for case in find_cases(site):
        if case.patient in patients:
            data = load_case(case, labels, run.image)
            logits = mixed_logits(trained, data.image, data.spacing_mm)
            rows += case_scores(model, data, logits, run.classes, surface=run.evaluation.surface)
    return rows
