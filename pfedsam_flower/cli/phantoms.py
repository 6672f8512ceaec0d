"""``pfedsam phantoms FOLDER``: generated hospitals, so that everything runs with no data at hand."""

import argparse
from pathlib import Path

from ..errors import StoreError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="made new")
    parser.add_argument("--sites", type=int, default=4, help="hospitals (default: 4)")
    parser.add_argument("--patients", type=int, default=12, help="patients per hospital (default: 12)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same files (default: 0)")


def run(args: argparse.Namespace) -> int:
    from ..data.phantoms import write_phantoms
    from .render import say

    if args.folder.exists() and (not args.folder.is_dir() or any(args.folder.iterdir())):
        raise StoreError(
            "PFS-604",
            "the folder exists and is not empty; nothing was written.",
            where=str(args.folder),
            hint="choose another one",
        )
    sites = write_phantoms(args.folder, seed=args.seed, n_sites=args.sites, patients=args.patients)
    say(f"{len(sites)} phantom hospitals in {args.folder}: {', '.join(site.site for site in sites)}")
    say(f"next: pfedsam rehearse --sites {args.folder / 'sites.toml'} --set classes=organ,lesion")
    return 0
