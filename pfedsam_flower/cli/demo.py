"""``pfedsam demo``: phantom hospitals, real Flower processes, a table and a picture, in minutes."""

import argparse
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import StoreError
from .options import add_set, parse_set, plan

if TYPE_CHECKING:
    from ..settings.site import SiteSettings

# What the demo runs with; --set goes on top.
DEMO_SETTINGS: dict[str, Any] = {
    "federation.name": "demo",
    "federation.sites": "north,harbour,valley",
    "federation.minimum-sites": 3,
    "rounds": 3,
    "classes": "organ,lesion",
    "image.size": 224,
    "training.global-steps": 12,
    "training.closing-steps": 12,
    "training.batch-size": 4,
}
DEMO_PHANTOMS = {"seed": 0, "n_sites": 3, "patients": 10, "slices": 3, "size": 112}
# Few patients train and many test: so it is at a hospital that asks whether to take part.
DEMO_SHARES = {"test_share": 0.4}
MARKER = ".pfedsam-demo"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("demo"),
        help="made new; that of an earlier demo is replaced (default: demo)",
    )
    add_set(parser)


def run(args: argparse.Namespace) -> int:
    from ..data.phantoms import write_phantoms
    from ..reports.history import read_history
    from ..settings.sources import sites_from_file
    from .launch import launch
    from .render import say, show_report
    from .report import write_report

    folder = args.folder.absolute()
    settings, coordinator, flat = plan(DEMO_SETTINGS | parse_set(args.set), folder)
    fresh_folder(folder)
    write_phantoms(folder / "hospitals", **DEMO_PHANTOMS)
    listed = sites_from_file(folder / "hospitals" / "sites.toml")
    sites = [site.model_copy(update=DEMO_SHARES) for site in listed]
    say(f"phantom hospitals: {', '.join(site.site for site in sites)}")
    reason = launch(sites, flat, folder, "deployment")
    if reason:
        print(f"the run failed: {reason}\n  logs: {folder / 'logs'}", file=sys.stderr)
        return 1
    run_folder = Path(coordinator.folder) / settings.federation.name
    written = write_report(run_folder)
    show_report(read_history(run_folder))
    say("")
    pictures = [("picture", _picture(sites, run_folder, folder / "demo.png"))] if settings.rounds else []
    for text, path in (
        *pictures,
        *((path.name, path) for path in written),
        ("hospitals", folder / "hospitals"),
        ("run folder", run_folder),
        ("logs", folder / "logs"),
    ):
        say(f"{text + ':':<12}{path}")
    return 0


def fresh_folder(folder: Path) -> None:
    """Makes the folder, marked as a demo's; an earlier demo's is removed first.

    Raises:
        StoreError: PFS-604 when it holds something else, is in use, or cannot be written.
    """
    from ..site.files import locked

    ours = folder.is_dir() and not folder.is_symlink() and (folder / MARKER).is_file()
    empty = folder.is_dir() and not any(folder.iterdir())
    if (folder.exists() or folder.is_symlink()) and not ours and not empty:
        raise StoreError(
            "PFS-604",
            "the folder exists and was not made by an earlier demo; nothing in it was touched.",
            where=str(folder),
            hint="choose another one with --folder",
        )
    with locked(folder):  # not under the feet of a demo that is running
        pass
    try:
        if ours:
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARKER).touch()
    except OSError as error:
        raise StoreError(
            "PFS-604", f"the folder cannot be made: {error.strerror}.", where=str(folder)
        ) from error


def _picture(sites: "list[SiteSettings]", run_folder: Path, path: Path) -> Path:
    from ..reports.pictures import overlay_figure
    from ..site.deployed import example_predictions

    return overlay_figure([(site.site, *example_predictions(site, run_folder)) for site in sites], path)
