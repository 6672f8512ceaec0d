"""The ways in which a reader says no."""

from pathlib import Path

from ...errors import DataError

AGAIN = "copy or export it again"
LARGEST_PICTURE = 2**31 // 12  # 2 GiB as float32 in three channels, of which preparing it needs a few copies
TURNING = range(2, 9)  # EXIF and TIFF orientations but the plain one


def unreadable(path: Path, message: str, hint: str = AGAIN) -> DataError:
    """PFS-204: the bytes are not what their format promises, or the format is not known."""
    return DataError("PFS-204", message, where=str(path), hint=hint)


def unusable(path: Path, message: str, hint: str, **counts: int) -> DataError:
    """PFS-207: whole and readable, but not one regular volume; ``counts`` may travel."""
    return DataError("PFS-207", message, where=str(path), hint=hint, counts=counts)


def refuse_size(path: Path, height: int, width: int) -> None:
    """Raises PFS-204 when one slice of a picture has more than ``LARGEST_PICTURE`` pixels."""
    if height * width > LARGEST_PICTURE:
        raise unreadable(
            path,
            f"the picture is too large: {width} x {height} pixels, and {LARGEST_PICTURE} are the most",
            "cut image and mask into the same tiles, as docs/how-to/formats.md shows under pictures",
        )


def refuse_turned(path: Path, orientation: object) -> None:
    """Raises PFS-207 when viewers turn a picture that is stored otherwise."""
    if orientation in TURNING:
        raise unusable(
            path,
            f"viewers turn it as its EXIF orientation says ({orientation}), so a mask may be turned against "
            "it",
            "save it turned, without that mark, and check its mask",
        )
