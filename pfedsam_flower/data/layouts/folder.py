"""The plain layout: a folder of images, a folder of masks, the same names in both."""

from pathlib import Path

from ...settings.site import SiteSettings
from ..account import Account, account_of
from ..findings import Finding
from ..listing import Listing, files_below
from .case import Case, Layout, Survey, by_name, listed, outside, partners, patients_of, unmatched


def survey(site: SiteSettings) -> Survey:
    """See ``Layout``."""
    findings: list[Finding] = []
    data = Path(site.data)
    state = Path(site.state)
    folders = data / site.images, data / site.masks
    listings = (  # one folder may lie in the other
        listed(folders[0], "images", findings, without=(folders[1], state)),
        listed(folders[1], "masks", findings, without=(folders[0], state)),
    )
    images, masks = (
        by_name(listing.entries, folder, findings) for listing, folder in zip(listings, folders, strict=True)
    )
    pairs = partners(images, masks)
    if images and masks:
        findings += unmatched(images, masks, pairs)
    patients, more = patients_of(site.patient, sorted(pairs))
    cases = [Case(name, one, images[name].path, pairs[name].path) for name, one in patients.items()]
    used = [path for name in pairs for one in (images[name], pairs[name]) for path in one.files]
    return Survey(cases, findings + more, _account(data, state, folders, listings, used))


def _account(
    data: Path, state: Path, folders: tuple[Path, Path], listings: tuple[Listing, Listing], used: list[Path]
) -> Account:
    passed_over = listings[0].passed_over | listings[1].passed_over
    files = [path for listing in listings for one in listing.entries for path in one.files]
    passed_over |= {path: outside(path, state) for path in files_below(data, without=folders)}
    if state.is_dir() and any(state.resolve().is_relative_to(folder.resolve()) for folder in folders):
        passed_over |= dict.fromkeys(files_below(state), "state")
    return account_of(data, files, used, passed_over)


LAYOUT = Layout(fits=lambda data: not data.is_file(), survey=survey, names=lambda data: {})
