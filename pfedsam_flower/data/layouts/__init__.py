"""A site's data → its cases. How the data is kept is told by what the setting ``data`` names.

A layout is a row in ``LAYOUTS``; the first that fits is used.
"""

from pathlib import Path

from ...settings.site import SiteSettings
from ..account import findings_of
from ..findings import Finding, refuse
from . import bids, folder, manifest, nnunet
from .case import PARTS, Case, Layout, Names, Survey

__all__ = ["LAYOUTS", "PARTS", "Case", "find_cases", "layout_of", "survey", "value_names"]

LAYOUTS: dict[str, Layout] = {
    "manifest": manifest.LAYOUT,
    "nnU-Net": nnunet.LAYOUT,
    "BIDS": bids.LAYOUT,
    "folder": folder.LAYOUT,
}


def layout_of(site: SiteSettings) -> str:
    """The key of ``LAYOUTS`` for what ``data`` names; a plain folder where nothing is there."""
    data = Path(site.data)
    return next((name for name, layout in LAYOUTS.items() if layout.fits(data)), "folder")


def find_cases(site: SiteSettings) -> list[Case]:
    """The site's cases, sorted by id.

    Raises:
        DataError: PFS-201 (nothing there, nothing usable), PFS-202 (image without mask, mask without
            image, two files of one name), PFS-208 (the manifest or dataset.json is wrong), with all
            findings at once.
        SettingsError: PFS-102 when nothing but the site's settings is wrong.
    """
    found = survey(site)
    refuse(found.findings, site.data)
    return found.cases


def survey(site: SiteSettings) -> Survey:
    """Its cases, findings about the rest, and the account of its files."""
    name = layout_of(site)
    cases, findings, account = LAYOUTS[name].survey(site)
    findings += findings_of(account) if account else []
    if site.channel and name not in ("nnU-Net", "BIDS"):
        text = f"channel = {site.channel!r} is for nnU-Net and BIDS data sets; {site.data} is none"
        findings.append(Finding("PFS-102", text))
    return Survey(cases, findings, account)


def value_names(site: SiteSettings) -> Names:
    """Mask values by the name that the data set itself gives them (nnU-Net and BIDS can), without background.

    Empty where there are none, or where the description cannot be read: ``survey`` says why.
    """
    return LAYOUTS[layout_of(site)].names(Path(site.data))
