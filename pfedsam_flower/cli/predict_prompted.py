"""``pfedsam predict IMAGE --box …``: what a backbone marks for boxes and points that a person gives."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SettingsError, StoreError
from ..model.sam.backbones import BACKBONES, size_problems

if TYPE_CHECKING:
    import numpy as np

    from ..prediction.prompts import Box, Point, Prompt

DEFAULT_BACKBONE = "vit_tiny"


def run(args: argparse.Namespace) -> int:
    """Masks and a picture of the objects that ``args`` asks for; the exit status."""
    from ..data.readers import stem_of
    from ..prediction.prompts import check_prompts
    from ..reports.prompted import write_mask, write_overlay
    from .render import say

    backbone = args.backbone or DEFAULT_BACKBONE
    prompts = objects_of(args.box, args.point)
    size = input_size(backbone, args.size)
    image = read_slice(args.input, args.slice)
    check_prompts(prompts, *image.shape[:2])
    name = stem_of(args.input) + ("" if args.slice is None else f"-slice{args.slice}")
    files = [args.output / f"{name}-mask-{number + 1}.png" for number in range(len(prompts))]
    overlay = args.output / f"{name}-overlay.png"
    new_files([*files, overlay])

    from ..model.sam.load import load_sam  # torch: seconds, when all that was asked is known to be possible
    from ..prediction.prompted import predict_prompted

    sam, report = load_sam(backbone, size, args.checkpoint)
    weights = f"{backbone}, {report.sentence()}"
    if not args.json:
        say(weights)
    answers = predict_prompted(sam.eval(), image, prompts)
    objects = []
    for prompt, answer, file in zip(prompts, answers, files, strict=True):
        write_mask(answer.mask, file)
        pixels = int(answer.mask.sum())
        asked = {"box": prompt.box, "points": prompt.points}
        objects.append(asked | {"pixels": pixels, "quality": answer.quality, "mask": str(file)})
        if not args.json:
            say(f"{prompt}: {pixels} pixels, quality {answer.quality:.2f} by its own estimate, {file}")
    write_overlay(image, prompts, [answer.mask for answer in answers], overlay)
    if args.json:
        print(json.dumps({"weights": weights, "objects": objects, "overlay": str(overlay)}, indent=2))
    else:
        say(f"overlay: {overlay}")
    return 0


def objects_of(boxes: "Sequence[Box]", points: "Sequence[Point]") -> "list[Prompt]":
    """One prompt per object: each box alone, or all points together with the one box that there may be.

    Raises:
        SettingsError: PFS-103 when it cannot be told to which of several boxes the points belong.
    """
    from ..prediction.prompts import Prompt

    if len(boxes) > 1 and points:
        raise SettingsError(
            "PFS-103",
            f"{len(boxes)} boxes are {len(boxes)} objects, and nothing says to which the points belong",
            hint="ask for an object with box and points by itself",
        )
    if points:
        return [Prompt(boxes[0] if boxes else None, tuple(points))]
    return [Prompt(box) for box in boxes]


def read_slice(path: Path, number: int | None) -> "np.ndarray":
    """One slice of an image file, float32 [H, W, C] in 0..255; the percentiles are those of the whole file.

    Raises:
        DataError: PFS-204 when the file cannot be read.
        SettingsError: PFS-103 when it has several slices and ``number`` is None, or has no such slice.
    """
    from ..data.cases import to_255
    from ..data.readers import read_image
    from ..settings.run import ImageSettings

    values, clip = read_image(path).values, ImageSettings()
    there = f"it has {len(values)} slice(s), 0 to {len(values) - 1}"
    if number is None and len(values) > 1:
        raise SettingsError("PFS-103", f"{there}; say which one with --slice N", where=str(path))
    if number is not None and not 0 <= number < len(values):
        raise SettingsError("PFS-103", f"there is no slice {number}: {there}", where=str(path))
    return to_255(values, clip.clip_low, clip.clip_high)[number or 0]


def new_files(paths: "Sequence[Path]") -> None:
    """Makes the folder of ``paths``, in which none of them may exist yet.

    Raises:
        StoreError: PFS-604 when one does, or the folder cannot be made.
    """
    there = [path for path in paths if path.exists()]
    if there:
        raise StoreError(
            "PFS-604",
            "the file exists; nothing was written.",
            where=str(there[0]),
            hint="choose another folder with --output, or move the file away",
        )
    try:
        paths[0].parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            "PFS-604", f"the folder cannot be made: {error.strerror}.", where=str(paths[0].parent)
        ) from error


def input_size(backbone: str, size: int | None) -> int:
    """``size``, or the backbone's own.

    Raises:
        SettingsError: PFS-101 when the backbone cannot work at it.
    """
    from ..settings.run import ImageSettings
    from ..settings.sources import findings, refuse

    if size is None:
        return BACKBONES[backbone].native_size
    _, problems = findings(ImageSettings, {"size": size})
    refuse(problems or size_problems(backbone, size))
    return size
