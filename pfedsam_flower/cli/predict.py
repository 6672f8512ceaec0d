"""``pfedsam predict INPUT``: masks of a trained run, or what a backbone marks for boxes and points."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SettingsError
from ..model.sam.backbones import BACKBONES

if TYPE_CHECKING:
    from ..prediction.prompts import Box, Point

EPILOG = """\
With a trained run (--run): masks of the run's classes for every image of INPUT, on each image's
own grid. NAME.nii.gz, or a PNG or TIFF where the image has no spacing: 0 is background, n the
n-th class of the run; where two classes claim a voxel, the later one of the list has it
(--per-class keeps both). labels.json says which value is which. The folder must be new or empty.
Sub-folders are looked through, too; p5/scan1.png is answered as p5-scan1. Exit status: 0 all is well,
1 an image failed, 3 files were passed over that may have been meant: they are named.

  deployed      the mean of its models, without those that validation ruled out (with --site)
  personalised  the final shared parameters with the site's experts (with --site)
  global        the final shared parameters alone

Without --run a backbone is asked, not a site's model: that one knows classes, not prompts. One
object is asked for with a box, with points, or with a box and points; several boxes are several
objects, without points. Pixels count from 0 at the upper left of the image as it is stored,
whatever --size is. MedSAM and LiteMedSAM were trained with boxes alone: their answer to points
means little. Written: IMAGE-mask-1.png (0 and 255), one for each object, and IMAGE-overlay.png.

examples:
  pfedsam predict scans --run runs/phantoms --sites sites.toml --site north --output masks
  pfedsam predict scan.nii.gz --run runs/phantoms --model global --output masks
  pfedsam predict scans --run runs/phantoms --sites sites.toml --site north \\
      --references drawn-by-hand --output masks
  pfedsam predict scan.png --box 40,30,180,170 --output check
  pfedsam predict volume.nii.gz --slice 17 --point 90,80 --point 30,30,0 \\
      --backbone vit_b --checkpoint sam_vit_b_01ec64.pth --output check
"""

PROMPTED = ("box", "point", "slice", "backbone", "size")
TRAINED = ("model", "sites", "site", "per_class", "probabilities", "references", "tolerance")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of both ways."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.usage = "pfedsam predict INPUT --output FOLDER (--run RUN | --box BOX | --point POINT) [OPTIONS]"
    parser.add_argument(
        "input",
        type=Path,
        metavar="INPUT",
        help="an image or DICOM series folder (one of several: FOLDER#UID); with --run a folder of them too",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="for what is written")
    parser.add_argument("--checkpoint", default="", metavar="FILE", help="weights, where none are included")
    parser.add_argument("--json", action="store_true", help="print the answer for programs to read")
    _add_trained(parser.add_argument_group("a trained run"))
    _add_prompted(parser.add_argument_group("a backbone, with boxes and points"))


def run(args: argparse.Namespace) -> int:
    """Decides which way is meant; the exit status.

    Raises:
        SettingsError: PFS-103 when options of both are mixed.
    """
    trained = args.run is not None
    strange = [
        name for name in (PROMPTED if trained else TRAINED) if getattr(args, name) not in (None, False, [])
    ]
    if strange:
        names = ", ".join("--" + name.replace("_", "-") for name in strange)
        reason = (
            "does not go with --run: a trained model knows classes, no prompts" if trained else "needs --run"
        )
        raise SettingsError("PFS-103", f"{names} {reason}", hint="see pfedsam predict --help")
    if trained:
        from . import predict_trained

        return predict_trained.run(args)
    from . import predict_prompted

    return predict_prompted.run(args)


def _add_trained(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--run",
        type=Path,
        metavar="RUN",
        help="run folder, with settings.json and round-*/shared.safetensors",
    )
    group.add_argument("--sites", type=Path, metavar="FILE", help="sites.toml, or the site's own node config")
    group.add_argument("--site", metavar="NAME", help="whose models, device and labels; see --sites")
    group.add_argument(
        "--model", choices=("deployed", "personalised", "global"), help="see below (default: deployed)"
    )
    group.add_argument(
        "--per-class", action="store_true", help="also classes/CLASS/NAME: each class by itself"
    )
    group.add_argument(
        "--probabilities", action="store_true", help="also probabilities/CLASS/NAME: float32, 0 to 1"
    )
    group.add_argument(
        "--references", type=Path, metavar="FOLDER", help="masks of the same names: writes scores.csv"
    )
    group.add_argument(
        "--tolerance",
        type=_distance,
        metavar="MM",
        help="of the surface Dice, in pixels where there is no spacing (default: 2)",
    )


def _add_prompted(group: "argparse._ArgumentGroup") -> None:
    names = [name for name, row in BACKBONES.items() if row.prompt_masks]
    group.add_argument(
        "--box", type=_box, action="append", default=[], metavar="X1,Y1,X2,Y2", help="around one object"
    )
    group.add_argument(
        "--point",
        type=_point,
        action="append",
        default=[],
        metavar="X,Y[,0]",
        help="on the object; with ,0 beside it",
    )
    group.add_argument("--slice", type=int, metavar="N", help="of a volume, the first is 0")
    group.add_argument(
        "--backbone", choices=names, metavar="NAME", help=", ".join(names) + " (default: vit_tiny)"
    )
    group.add_argument(
        "--size", type=int, metavar="PIXELS", help="side of the network's square (default: its own)"
    )


def _distance(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a distance")
    return value


def _box(text: str) -> "Box":
    x1, y1, x2, y2 = _numbers(text, "X1,Y1,X2,Y2", (4,))
    return x1, y1, x2, y2


def _point(text: str) -> "Point":
    x, y, *label = _numbers(text, "X,Y or X,Y,0", (2, 3))
    if label not in ([], [0.0], [1.0]):
        raise argparse.ArgumentTypeError(f"{text!r}: the third number is 1 on the object and 0 beside it")
    return x, y, label != [0.0]


def _numbers(text: str, form: str, lengths: tuple[int, ...]) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in lengths:
        raise argparse.ArgumentTypeError(f"{text!r} is not {form}")
    return numbers
