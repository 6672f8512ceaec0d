"""Where the files of a DICOM series lie, from their headers."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..findings import some
from ..pixels import Grid
from .dicom_header import Header
from .refusals import unreadable, unusable
from .stack import Refusal, Stack, frame_of, stack

GEOMETRY = {"position": 3, "orientation": 6, "spacing": 2}
# At the patient, at the detector, of a digitised film: the first that is given (PS3.3 10.7)
SPACINGS = ("spacing", "detector_spacing", "scanned_spacing")


def is_placed(file: Header) -> bool:
    """Whether a file says where it lies."""
    return bool(file.text("position") and file.text("orientation"))


def stacked(files: Sequence[Header]) -> Stack | Refusal:
    """Order and grid of files that are placed, have pixel spacings, and are of one size; at least two.

    Raises:
        DataError: PFS-204 when an element is not what it should be.
    """
    shape = files[0].integer("rows"), files[0].integer("columns")
    positions, orientations, spacings = (
        np.array([_vector(file, name, n) for file in files]) for name, n in GEOMETRY.items()
    )
    result = stack(positions, orientations, spacings, shape)
    if len(files) > 2 or isinstance(result, Refusal):
        return result
    said = abs((files[0].numbers("slice_spacing") or (0.0,))[0])
    n_between = round(result.step_mm / said) - 1 if said else 0
    if n_between < 1 or abs(result.step_mm - (n_between + 1) * said) > 0.01 * said:
        return result  # of two slices the distance is all there is, unless the files know a smaller one
    return Refusal(
        f"lacks {n_between} slice{'s' * (n_between != 1)}: its two lie {result.step_mm:.4g} mm apart, "
        f"and say that slices lie {said:.4g} mm apart",
        "copy the missing files into the folder, or export the series again",
        {"missing": n_between},
    )


def volume(path: Path, files: list[Header], name: str) -> tuple[list[Header], Grid]:
    """The files in the order of their slices and the grid that they make up; ``name`` is the series'.

    Raises:
        DataError: PFS-207 when they are no regular volume, PFS-204 as ``stacked``.
    """
    lost = [file for file in files if not is_placed(file)]
    if lost or not files[0].text("spacing"):
        raise unusable(
            path,
            f"{len(lost) or len(files)} of the {len(files)} files of {name} do not say where they lie",
            "use them as single images, or export the series with its geometry",
            files=len(files),
        )
    found = stacked(files)
    if isinstance(found, Refusal):
        reason, hint = _told(found, files)
        counts = {"files": len(files), **found.counts}
        raise unusable(path, f"{name} of {len(files)} files {reason}", hint, **counts)
    row, column = _vector(files[0], "spacing", 2)
    shape = (len(files), files[0].integer("rows"), files[0].integer("columns"))
    place = Grid(shape, (found.step_mm, row, column), (*found.origin, *found.direction))
    return [files[k] for k in found.order], place


def single(file: Header) -> Grid:
    """The grid of one slice; like SimpleITK it is 1 mm thick where no distance of slices is given.

    Raises:
        DataError: PFS-204 or PFS-207 when the header gives none.
    """
    shape = (1, file.integer("rows"), file.integer("columns"))
    name = next((n for n in SPACINGS if file.text(n)), "")
    spacing = None
    if name:
        row, column = _vector(file, name, 2)
        spacing = (abs((file.numbers("slice_spacing") or (0.0,))[0]) or 1.0, row, column)
    elif len(aspect := file.numbers("aspect")) == 2 and aspect[0] != aspect[1]:
        raise unusable(
            file.path,
            f"its pixels are not square ({aspect[0]:g} high to {aspect[1]:g} wide) and of no size in mm",
            "resample image and mask to square pixels, or add the Pixel Spacing",
        )
    if not is_placed(file):
        return Grid(shape, spacing)
    direction = frame_of(
        np.array(_vector(file, "orientation", 6)), spacing[1:] if spacing else (1.0, 1.0), shape[1:]
    )
    if isinstance(direction, Refusal):
        raise unusable(file.path, f"the file {direction.reason}", direction.hint)
    return Grid(shape, spacing, (*_vector(file, "position", 3), *direction.ravel().tolist()))


def _told(found: Refusal, files: list[Header]) -> tuple[str, str]:
    """Reason and remedy with the files that they are about; they stay at the site."""
    if found.gaps:
        places = [
            f"{gap.missing} between {_called(files[gap.before])} at {gap.from_mm:.4g} mm and "
            f"{_called(files[gap.after])} at {gap.to_mm:.4g} mm"
            for gap in found.gaps
        ]
        return f"{found.reason}; missing: {some(places)}", found.hint
    copies = [
        [files[k] for k in group]
        for group in found.doubles
        if len({files[k].text("image") for k in group}) == 1 and files[group[0]].text("image")
    ]
    if copies and len(copies) == len(found.doubles):
        named = [" = ".join(file.path.name for file in group) for group in copies]
        reason = f"{found.reason}: copies of one image (SOP Instance UID): {some(named)}"
        return reason, "keep one file of each"
    if found.odd:
        return f"{found.reason}: {some(files[k].path.name for k in found.odd)} unlike the others", found.hint
    return found.reason, found.hint


def _called(file: Header) -> str:
    number = file.text("number")
    return file.path.name + (f" (instance {number})" if number else "")


def _vector(file: Header, name: str, n: int) -> tuple[float, ...]:
    numbers = file.numbers(name)
    if len(numbers) != n or not np.isfinite(numbers).all() or (name in SPACINGS and min(numbers) <= 0):
        raise unreadable(file.path, f"its {name} is {file.text(name)!r}, not {n} numbers that can be one")
    return numbers
