"""``pfedsam check-data``: is a site's data fit; facts, findings with remedies, a contact sheet."""

import argparse
import json
from collections import defaultdict
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CODES, SettingsError
from .options import add_set, parse_set

if TYPE_CHECKING:
    from ..data.checks import Examination
    from ..data.facts import Picture
    from ..data.findings import Finding
    from ..settings.run import RunSettings
    from ..settings.site import SiteSettings

OWN = ("labels", "patient", "images", "masks", "channel")
"""The site's settings that decide how its data is read; each is an option of the same name."""
ERRORS, WARNINGS = 1, 3
SHOWN = 10

EPILOG = """\
Every case is read once, one in memory at a time; nothing is written but the contact sheet, nothing is
sent. Exit status: 0 the data is fit, 1 it has errors (or the command failed), 3 it has warnings only.

examples:
  pfedsam check-data /data/prostate --set classes=prostate
  pfedsam check-data --sites hospitals/sites.toml --site north --contact-sheet north.png
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument(
        "data", nargs="?", metavar="SITE_FOLDER", help="what the site setting 'data' would name"
    )
    parser.add_argument("--sites", type=Path, metavar="FILE", help="instead: a sites.toml, or a node config")
    parser.add_argument("--site", metavar="NAME", help="only this one of the file's sites")
    for name in OWN:
        parser.add_argument(f"--{name}", metavar="TEXT", help=f"the site setting '{name}'")
    add_set(parser)
    parser.add_argument("--contact-sheet", type=Path, metavar="FILE.png", help="draw the cases of one site")
    parser.add_argument("--json", action="store_true", help="print everything for programs to read")


def run(args: argparse.Namespace) -> int:
    settings = _settings(parse_set(args.set))
    sites = _sites(args)
    if args.contact_sheet and (len(sites) > 1 or args.contact_sheet.suffix.lower() != ".png"):
        raise SettingsError(
            "PFS-102",
            "--contact-sheet draws one site into one .png file",
            hint="add --site NAME" if len(sites) > 1 else "name a file that ends in .png",
        )
    checked = []
    for site in sites:
        found, pictures = _look(site, settings)
        checked.append((site, found))
        if args.contact_sheet:
            _draw(found, pictures, args.contact_sheet)
        if not args.json:
            _show(site, found)
    if args.json:
        print(json.dumps({"sites": [_plain(site, found) for site, found in checked]}, indent=2))
    elif args.contact_sheet:
        from .render import say

        say(f"contact sheet: {args.contact_sheet}")
    return ERRORS if any(f.errors for _, f in checked) else WARNINGS * any(f.warnings for _, f in checked)


def _settings(flat: dict[str, Any]) -> "RunSettings":
    """The run's settings, read as the run reads them: what is fit here starts there.

    Raises:
        SettingsError: PFS-101.
    """
    if set(flat) <= {
        "classes"
    }:  # all others are held against the tables of models, whose import takes seconds
        from ..site.hello import run_settings

        return run_settings(flat)
    from ..federation.plan import read_plan

    return read_plan(flat)[0]


def _sites(args: argparse.Namespace) -> "list[SiteSettings]":
    """The sites to look at.

    Raises:
        SettingsError: PFS-102.
    """
    from ..settings.shared import shared_data
    from ..settings.sources import refuse, site_from_flat, sites_in, suggest

    own = {name: getattr(args, name) for name in OWN if getattr(args, name) is not None}
    if (args.data is None) == (args.sites is None):
        raise SettingsError("PFS-102", "give either a SITE_FOLDER or --sites FILE")
    if args.data is not None:
        if args.site:
            raise SettingsError("PFS-102", "--site chooses from --sites FILE, not from a folder")
        flat = {"site": "site", "data": args.data, "state": str(Path(args.data) / "state"), **own}
        return [site_from_flat(flat, "the command line")]
    sites = sites_in(args.sites)
    chosen = [site for site in sites if args.site in (None, site.site)]
    if not chosen:
        names = [site.site for site in sites]
        raise SettingsError(
            "PFS-102", f"there is no site {args.site!r}; {suggest(args.site, names)}", where=str(args.sites)
        )
    chosen = [site_from_flat(_flat(site) | own, "the command line") for site in chosen]
    refuse(shared_data(chosen), "PFS-102", str(args.sites))
    return chosen


def _flat(site: "SiteSettings") -> dict[str, Any]:
    from ..settings.sources import to_flat

    return dict(to_flat(site))


def _look(site: "SiteSettings", settings: "RunSettings") -> "tuple[Examination, list[Picture]]":
    from ..data.checks import examine
    from ..data.facts import picture_of
    from ..site.paths import split_path
    from .render import counting

    pictures = []
    with counting(f"looking through {site.data}") as show:

        def watch(number: int, n: int, data: Any) -> None:
            show(number, n)
            if data is not None:
                pictures.append(picture_of(data))

        found = examine(site, settings, split_path(site, settings.federation.name), watch)
    return found, pictures


def _draw(found: "Examination", pictures: "list[Picture]", path: Path) -> None:
    from ..reports.contact_sheet import write_contact_sheet

    files = {finding.where for finding in found.findings}
    suspected = {one.id for one in found.facts if files & {one.image, one.mask}}
    write_contact_sheet(pictures, found.classes, suspected, path)


def _show(site: "SiteSettings", found: "Examination") -> None:
    from ..data.account import told
    from ..reports.checks import fact_lines, fact_rows
    from .render import say, show_table

    say(f"{site.site}: {site.data}")
    if found.facts:
        show_table(("", "least", "median", "most"), fact_rows(found))
    for line in fact_lines(found):
        say(line)
    for line in told(found.account) if found.account else ():
        say(line)
    for severity, findings in (("error", found.errors), ("warning", found.warnings)):
        groups: dict[tuple[str, str], list[Finding]] = defaultdict(list)
        for finding in findings:
            groups[finding.code, finding.hint].append(finding)
        for (code, hint), group in groups.items():
            say(f"\n{severity} {code} {CODES[code]}" + (f": {len(group)}" if len(group) > 1 else ""))
            for finding in group[:SHOWN]:
                say(f"  {finding.where}: {finding.text}" if finding.where else f"  {finding.text}")
            if len(group) > SHOWN:
                say(f"  and {len(group) - SHOWN} more; --json lists them all")
            if hint:
                say(f"  remedy: {hint}")
    n_errors, n_warnings = len(found.errors), len(found.warnings)
    say(
        f"\n{site.site}: {n_errors} error(s), {n_warnings} warning(s)"
        + ("; the data is fit" * (not n_errors))
    )


def _plain(site: "SiteSettings", found: "Examination") -> dict[str, Any]:
    from ..data.account import plain

    return {
        "site": site.site,
        "data": site.data,
        "status": "errors" if found.errors else "warnings" if found.warnings else "fit",
        **asdict(replace(found, account=None)),
        "account": plain(found.account) if found.account else None,
    }
