"""PNG, JPEG and BMP through Pillow: one slice each."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from ..pixels import Grid, Pixels
from .refusals import refuse_size, refuse_turned, unreadable, unusable
from .stored import AS_NUMBERS, lossy, refuse_alpha, refuse_falling_palette

# what is inside must be what the suffix says; Image.open would also apply a limit of its own to the size
KINDS: dict[str, type[ImageFile.ImageFile]] = {
    ".png": PngImageFile,
    ".jpg": JpegImageFile,
    ".jpeg": JpegImageFile,
    ".bmp": BmpImageFile,
}
ORIENTATION = 274  # EXIF
SCALED = {"L;2": 85, "L;4": 17}  # Pillow stretches greys of two and four bits to eight
BMP_HEADER, BMP_PIXELS = 14, 10  # where a BMP says how long its header is, and where its pixels begin
OLD_HEADER = 12  # of OS/2, with shorter numbers
BITS = {"1": 1, "L": 8}


def read(path: Path) -> Pixels:
    """The picture; grey keeps its values, colour is 8 bits, alpha is dropped, a palette becomes its colours.

    Raises:
        DataError: PFS-204 when it is too large, PFS-207 when it has several frames or viewers turn it.
        ValueError, OSError and what else Pillow raises: the caller makes a DataError of it.
    """
    with _checked(path) as image:
        return _pixels(_image(image))


def read_stored(path: Path) -> Pixels:
    """The numbers of a mask as they are stored; an indexed picture is read by index.

    Raises:
        DataError: PFS-204 when the file is a JPEG, or its numbers are not for certain the labels; else as
            ``read``.
    """
    with _checked(path) as image:
        if isinstance(image, JpegImageFile):
            raise lossy(path, "JPEG")
        return _pixels(_labels(path, image))


def grid(path: Path) -> Grid:
    """The grid from the header alone; no pixel is decoded."""
    with _opened(path) as image:
        return Grid((1, image.height, image.width))


def _pixels(values: np.ndarray) -> Pixels:
    values = values.reshape(1, *values.shape[:2], -1)
    return Pixels(values, Grid(values.shape[:3]))


@contextmanager
def _opened(path: Path) -> Iterator[ImageFile.ImageFile]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow tells the screen about odd EXIF data
        with KINDS[path.suffix.lower()](path) as image:
            refuse_size(path, image.height, image.width)
            if getattr(image, "is_animated", False):
                n = getattr(image, "n_frames", 0)
                raise unusable(path, f"it is an animation of {n} frames", "save each as a file", volumes=n)
            # a PNG whose EXIF data come late would be decoded for them
            exif = image.getexif() if isinstance(image, JpegImageFile) or "exif" in image.info else {}
            refuse_turned(path, exif.get(ORIENTATION))
            if isinstance(image, BmpImageFile):
                _refuse_misread(path, image)
            yield image


@contextmanager
def _checked(path: Path) -> Iterator[ImageFile.ImageFile]:
    with _opened(path) as image:
        image.verify()  # checks a PNG's checksums, which reading pixels does not; needs a second opening
    with _opened(path) as image:
        yield image


def _refuse_misread(path: Path, image: ImageFile.ImageFile) -> None:
    """Pillow takes the depth of a BMP with a grey palette from the palette's length."""
    with path.open("rb") as file:
        head = file.read(BMP_HEADER + 16)
    at = BMP_HEADER + (10 if head[BMP_HEADER] == OLD_HEADER else 14)
    depth = int.from_bytes(head[at : at + 2], "little")
    if image.tile[0].codec_name == "raw" and BITS.get(image.mode, depth) != depth:
        raise unreadable(path, f"a BMP of {depth} bits with such a palette cannot be read", "save it as PNG")


def _image(image: ImageFile.ImageFile) -> np.ndarray:
    """float32 [H, W] or [H, W, 3]."""
    if image.mode == "P":
        _refuse_colourless(image)  # and by way of RGBA, else transparent entries turn black
        return np.asarray(image.convert("RGBA").convert("RGB")).astype(np.float32)
    if image.mode in ("LA", "La"):
        _refuse_deep(image)
        return np.asarray(image.convert("LA"))[..., 0].astype(np.float32)
    if _is_grey(image):
        return _grey(image).astype(np.float32)
    _refuse_deep(image)
    return np.asarray(image.convert("RGB")).astype(np.float32)


def _labels(path: Path, image: ImageFile.ImageFile) -> np.ndarray:
    """[H, W] or [H, W, 3], whole numbers."""
    if image.mode == "P":
        indices = np.asarray(image)
        refuse_falling_palette(path, indices, _palette(image))
        return indices
    if _is_grey(image):
        return _grey(image)
    _refuse_deep(image)
    if any(str(args).startswith(("BGR;15", "BGR;16")) for args in _rawmodes(image)):
        raise unreadable(path, "a mask of 5 or 6 bits per colour does not hold its labels", AS_NUMBERS)
    if isinstance(image, BmpImageFile) and "BGRX" in _rawmodes(image):
        _refuse_hidden_alpha(path, image)
    values = np.asarray(image)
    if image.mode in ("LA", "RGBA"):
        refuse_alpha(path, values[..., -1], 255)
        values = values[..., :-1]
    return values


def _refuse_hidden_alpha(path: Path, image: ImageFile.ImageFile) -> None:
    """The fourth byte of a 32-bit BMP is meant to be unused; some programs keep alpha there."""
    with path.open("rb") as file:
        file.seek(BMP_PIXELS)
        file.seek(int.from_bytes(file.read(4), "little"))
        fourth = np.frombuffer(file.read(4 * image.width * image.height), np.uint8)[3::4]
    refuse_alpha(path, fourth, fourth[0] if len(fourth) and fourth[0] in (0, 255) else 255)


def _is_grey(image: ImageFile.ImageFile) -> bool:
    return image.mode.startswith("I;16") or image.mode in ("1", "L", "I", "F")


def _grey(image: ImageFile.ImageFile) -> np.ndarray:
    """[H, W] as stored: 0 and 1 of one bit, 0 … 3 of two, 0 … 15 of four."""
    scale = next((SCALED[args] for args in _rawmodes(image) if args in SCALED), 1)
    values = np.asarray(image)
    return values.astype(np.uint8) if values.dtype == np.bool_ else values // scale if scale > 1 else values


def _rawmodes(image: ImageFile.ImageFile) -> list[str]:
    """How the bits lie in the file, in Pillow's words; known until the pixels are loaded."""
    return [args if isinstance(args, str) else str(args[0]) for *_, args in image.tile if args]


def _refuse_deep(image: ImageFile.ImageFile) -> None:
    if any(";16" in args and not args.startswith("BGR") for args in _rawmodes(image)):
        raise ValueError(
            "16-bit colour or alpha would be cut to 8 bits; store it as 16-bit grey or 8-bit colour"
        )


def _palette(image: ImageFile.ImageFile) -> np.ndarray:
    return np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)


def _refuse_colourless(image: ImageFile.ImageFile) -> None:
    n, largest = len(_palette(image)), int(np.asarray(image).max())
    if largest >= n:
        raise ValueError(f"pixels of colour {largest}, and a palette of {n} colours")
