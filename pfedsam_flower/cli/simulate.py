"""``pfedsam simulate``: one virtual node per site on Flower's simulation engine."""

import argparse

from .options import add_sites
from .rehearse import run_sites


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_sites(parser, "simulation")


def run(args: argparse.Namespace) -> int:
    return run_sites(args, "simulation")
