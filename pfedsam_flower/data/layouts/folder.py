"""The plain layout: a folder of images, a folder of masks, the same names in both."""

from pathlib import Path

from ...settings.site import SiteSettings
from ..findings import Finding
from .case import Case, Layout, Survey, entries_in, patients_of, unmatched


def survey(site: SiteSettings) -> Survey:
    """See ``Layout``."""
    findings: list[Finding] = []
    images = entries_in(Path(site.data) / site.images, "images", findings)
    masks = entries_in(Path(site.data) / site.masks, "masks", findings)
    if images and masks:
        findings += unmatched(images, masks)
    patients, more = patients_of(site.patient, sorted(images.keys() & masks.keys()))
    cases = [Case(stem, patient, images[stem], masks[stem]) for stem, patient in patients.items()]
    return cases, findings + more


LAYOUT = Layout(fits=lambda data: not data.is_file(), survey=survey, names=lambda data: {})
