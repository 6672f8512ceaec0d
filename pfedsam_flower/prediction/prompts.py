"""What a person asks a SAM for: boxes and points in an image's own pixels. Plain numbers, no torch.

Pixels count from 0 at the upper left, x to the right and y downwards, as segment-anything counts them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import SettingsError

Box = tuple[float, float, float, float]
Point = tuple[float, float, bool]


@dataclass(frozen=True)
class Prompt:
    """What marks one object: a box, points, or both.

    Attributes:
        box: (x1, y1, x2, y2), upper left and lower right corner.
        points: (x, y, positive); a negative point lies beside the object.
    """

    box: Box | None = None
    points: tuple[Point, ...] = ()

    def __str__(self) -> str:
        words = [f"box {_numbers(self.box)}"] if self.box else []
        words += [
            f"{'point' if inside else 'negative point'} {_numbers((x, y))}" for x, y, inside in self.points
        ]
        return ", ".join(words) or "nothing"


def check_prompts(prompts: Sequence[Prompt], height: int, width: int) -> None:
    """Nothing when every prompt can be asked on an image of ``height`` x ``width`` pixels.

    Raises:
        SettingsError: PFS-103 with every fault: no prompt, a box or a point outside the image, corners
            in the wrong order, only negative points.
    """
    found = [fault for prompt in prompts for fault in _faults(prompt, height, width)]
    if not prompts:
        found = ["no box and no point is given, and a prompted SAM marks nothing by itself"]
    if found:
        raise SettingsError(
            "PFS-103",
            f"{len(found)} prompt(s) cannot be used on this image of {width} x {height} pixels (x, y):\n"
            + "\n".join(f"  - {fault}" for fault in found),
            hint="pixels count from 0 at the upper left; a box is X1,Y1,X2,Y2, its upper left corner first",
            counts={"faults": len(found)},
        )


def scaled(xy: np.ndarray, shape: tuple[int, int], other: tuple[int, int]) -> np.ndarray:
    """Positions on a grid of ``shape`` (height, width), on a grid of ``other``; float64 [N, 2], x before y.

    As segment-anything scales them: pixel numbers in proportion, half a pixel added afterwards by its
    prompt encoder.
    """
    return np.asarray(xy, np.float64).reshape(-1, 2) * (other[1] / shape[1], other[0] / shape[0])


def _faults(prompt: Prompt, height: int, width: int) -> list[str]:
    found = []
    if prompt.box:
        x1, y1, x2, y2 = prompt.box
        said = f"box {_numbers(prompt.box)}"
        if x2 <= x1:
            found.append(f"{said}: x2 = {x2:g} is not to the right of x1 = {x1:g}")
        if y2 <= y1:
            found.append(f"{said}: y2 = {y2:g} is not below y1 = {y1:g}")
        # so written that NaN is outside
        if not all(0 <= x <= width for x in (x1, x2)) or not all(0 <= y <= height for y in (y1, y2)):
            found.append(f"{said}: reaches outside the image")
    for x, y, _ in prompt.points:
        if not (0 <= x < width and 0 <= y < height):
            found.append(f"point {_numbers((x, y))}: lies outside the image")
    if not prompt.box and not any(inside for _, _, inside in prompt.points):
        found.append(f"{prompt}: says only where the object is not")
    return found


def _numbers(values: Sequence[float]) -> str:
    return ",".join(f"{value:g}" for value in values)
