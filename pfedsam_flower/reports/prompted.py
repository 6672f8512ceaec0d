"""The picture of a prompted prediction, drawn pixel by pixel: no plotting library for lines and areas."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from ..prediction.prompts import Prompt
from .files import write_whole

# Okabe and Ito's palette without black: told apart with any colour vision.
COLOURS = ("#56B4E9", "#E69F00", "#009E73", "#F0E442", "#CC79A7", "#D55E00", "#0072B2")
SIDE = 768  # a smaller image is enlarged, by a whole number, to about this many pixels


def write_mask(mask: np.ndarray, path: Path) -> Path:
    """Writes a mask, bool [H, W], as an 8-bit PNG of 0 and 255; returns ``path``.

    Raises:
        StoreError: PFS-604 when the file cannot be written.
    """
    picture = Image.fromarray(mask.astype(np.uint8) * np.uint8(255))
    write_whole(path, picture.save)
    return path


def write_overlay(
    image: np.ndarray, prompts: Sequence[Prompt], masks: Sequence[np.ndarray], path: Path
) -> Path:
    """Writes the image with each object's area, outline, box and points; returns ``path``.

    Boxes are thin lines, points discs, negative points crosses; one colour per object.

    Args:
        image: [H, W, C] in 0..255, C 1 or 3.
        masks: bool [H, W], what came for each prompt.

    Raises:
        StoreError: PFS-604 when the file cannot be written.
    """
    height, width = image.shape[:2]
    zoom = max(1, SIDE // max(height, width))
    line = max(2, zoom * max(height, width) // 384)
    pixels = np.clip(np.broadcast_to(image, (height, width, 3)), 0, 255).astype(np.uint8)
    picture = Image.fromarray(pixels).resize((width * zoom, height * zoom), Image.Resampling.NEAREST)
    for number, (prompt, mask) in enumerate(zip(prompts, masks, strict=True)):
        colour = COLOURS[number % len(COLOURS)]
        area = Image.fromarray(mask).convert("L").resize(picture.size, Image.Resampling.NEAREST)
        inner = area.filter(ImageFilter.MinFilter(2 * line + 1))
        edge = Image.fromarray(np.asarray(area) - np.asarray(inner))
        picture.paste(colour, mask=area.point(lambda value: value // 4))
        picture.paste(colour, mask=edge)
        _draw(ImageDraw.Draw(picture), prompt, zoom, line, colour)
    write_whole(path, picture.save)
    return path


def _draw(draw: ImageDraw.ImageDraw, prompt: Prompt, zoom: int, line: int, colour: str) -> None:
    if prompt.box:
        # a box may end with the image; its line then lies on the last pixel
        ends = (draw.im.size[0] - 1, draw.im.size[1] - 1) * 2
        corners = [min(round(value * zoom), end) for value, end in zip(prompt.box, ends, strict=True)]
        draw.rectangle(corners, outline="black", width=line + 2)
        draw.rectangle(corners, outline=colour, width=line)
    for x, y, inside in prompt.points:
        x, y, radius = (x + 0.5) * zoom, (y + 0.5) * zoom, 4 * line  # the middle of the pixel
        for shade, r in (("black", radius + 1), (colour, radius)):
            if inside:
                draw.ellipse((x - r, y - r, x + r, y + r), fill=shade)
            else:
                thick = line + 2 if shade == "black" else line
                draw.line((x - r, y - r, x + r, y + r), fill=shade, width=thick)
                draw.line((x - r, y + r, x + r, y - r), fill=shade, width=thick)
