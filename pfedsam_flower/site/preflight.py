"""The answer to a coordinator's preflight: what this site's data is like, in counts and ranges.

What may leave is bounded by the type ``PreflightReply``; what goes in is decided here. Counts of 1 to 4
become "<5". A range is that of all cases but the one with the smallest and the one with the largest value,
so that no single case sets an end, and stands only where five cases or more are behind it. Spacings and
sizes are rounded to three significant digits, intensities and shares of voxels to two.
"""

import logging
from collections import Counter
from collections.abc import Iterable

from ..contract.messages import (
    FEW,
    SMALLEST_COUNT,
    ClassFacts,
    Count,
    PreflightReply,
    PreflightRequest,
    Range,
)
from ..data.checks import Examination, examine, repeated
from ..data.findings import Finding
from ..data.samples import outline_of
from ..settings.site import SiteSettings
from .consent import check_patients
from .hello import run_settings
from .paths import split_path

log = logging.getLogger(__name__)


def answer_preflight(request: PreflightRequest, site: SiteSettings) -> PreflightReply:
    """Look through all of the site's data and say what it is like.

    What was found is logged here in full; only ``summary`` of it leaves.

    A site that has fewer patients than it asks of itself says that alone, as it does to hello.

    Raises:
        PfedsamError: PFS-101 settings, PFS-706.
    """
    run = run_settings(request.settings)
    if site.minimum_patients:
        split = outline_of(site, run, split_path(site, run.federation.name)).split
        check_patients(site, 0 if split is None else len(split.train))
    found = examine(site, run, split_path(site, run.federation.name))
    for finding in found.findings:
        level = logging.ERROR if finding.severity == "error" else logging.WARNING
        log.log(level, "%s %s", finding.code, finding.sentence())
    return summary(found, site.site)


def summary(found: Examination, site: str) -> PreflightReply:
    """What of an examination may leave the site."""
    facts = found.facts
    spaced = [one.spacing_mm for one in facts if one.spacing_mm]
    n_voxels = sum(shape[0] * shape[1] * shape[2] for shape in (one.shape for one in facts))
    classes = []
    for k, annotated in enumerate(found.annotated):
        marked = [one.voxels[k] for one in facts if one.voxels[k]]
        enough = annotated and len(marked) >= SMALLEST_COUNT
        share = rounded(sum(marked) / n_voxels, 2) if enough else None
        classes.append(ClassFacts(annotated=annotated, cases=count(len(marked)), share=share))
    errors = found.errors
    return PreflightReply(
        site=site,
        cases=count(found.n_cases),
        patients=count(len({one.patient for one in facts})),
        slices=middle((one.shape[0] for one in facts), 3),
        height=middle((one.shape[1] for one in facts), 3),
        width=middle((one.shape[2] for one in facts), 3),
        spacing_between=middle((spacing[0] for spacing in spaced), 3),
        spacing_row=middle((spacing[1] for spacing in spaced), 3),
        spacing_column=middle((spacing[2] for spacing in spaced), 3),
        spacing_known=count(len(spaced)),
        orientations=_counts(one.axes for one in facts if one.axes),
        channels=_counts(str(one.channels) for one in facts),
        intensity_low=middle((one.intensity[1] for one in facts), 2),
        intensity_middle=middle((one.intensity[2] for one in facts), 2),
        intensity_high=middle((one.intensity[3] for one in facts), 2),
        classes=tuple(classes),
        empty_masks=count(sum(not any(one.voxels) for one in facts)),
        duplicates=count(sum(len(group) - 1 for group in repeated(facts))),
        errors=_counts(finding.code for finding in errors),
        warnings=_counts(finding.code for finding in found.warnings),
        refused=_first_code(errors),
    )


def count(n: int) -> Count:
    """A count that may travel."""
    return FEW if 0 < n < SMALLEST_COUNT else n


def middle(values: Iterable[float], digits: int) -> Range | None:
    """The range of all values but the smallest and the largest one, rounded; None for fewer than five."""
    ordered = sorted(float(value) for value in values)
    if len(ordered) < SMALLEST_COUNT:
        return None
    return Range(low=rounded(ordered[1], digits), high=rounded(ordered[-2], digits))


def rounded(value: float, digits: int) -> float:
    """To so many significant digits."""
    return float(f"{value:.{digits}g}")


def _counts(names: Iterable[str]) -> dict[str, Count]:
    return {name: count(n) for name, n in sorted(Counter(names).items())}


def _first_code(errors: list[Finding]) -> str | None:
    """The code that says why: of the data before that of a setting, as in ``data.findings.refuse``."""
    codes = [finding.code for finding in errors]
    return next((code for code in codes if not code.startswith("PFS-1")), codes[0] if codes else None)
