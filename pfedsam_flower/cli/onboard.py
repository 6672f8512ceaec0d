"""``pfedsam onboard``: a new hospital fits its own part to what others have trained."""

import argparse
from pathlib import Path

NAMES = {
    "alone": "trained alone, all global and closing steps",
    "global": "the others' model as it is",
    "personal": "with its own part",
    "deployed": "the mix that it would deploy",
}


EPILOG = """\
Asked again, it gives the same answer; 'pfedsam site reset' sets the state aside to begin anew.

example:
  pfedsam onboard --run runs/prostate --sites island.toml
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument(
        "--run", type=Path, required=True, metavar="FOLDER", help="the run folder, or a copy of it"
    )
    parser.add_argument(
        "--sites", type=Path, required=True, metavar="FILE", help="sites.toml or the site's file"
    )
    parser.add_argument("--site", metavar="NAME", help="which of them")
    parser.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help="optimiser steps of its own part (default: the run's closing steps)",
    )
    parser.add_argument(
        "--json", action="store_true", help="what the site's closing round says, for programs"
    )


def run(args: argparse.Namespace) -> int:
    """Fits, writes the site's state, prints what it is worth on the site's test patients."""
    from ..site.onboarding import onboard
    from .predict_trained import named_site
    from .render import say, show_table

    site = named_site(args.sites, args.site)
    assert site is not None  # --sites is required
    reply = onboard(args.run, site, args.steps)
    if args.json:
        print(reply.model_dump_json(indent=2))
        return 0
    cells = []
    for name, what in NAMES.items():
        dice = reply.metrics.get(f"test.dice.{name}")
        if dice is not None:
            share = reply.metrics.get(f"mix.{name}")
            cells.append((name, f"{dice:.3f}", "" if share is None else f"{share:.2f}", what))
    say(f"{reply.site}: {reply.n_train_patients} training patients, {reply.n_train_samples} slices")
    show_table(("Model", "Test Dice", "Share of mix", ""), cells)
    there = f"--run {args.run} --sites {args.sites} --site {reply.site}"
    say(f"masks: pfedsam predict INPUT {there} --output FOLDER")
    return 0
