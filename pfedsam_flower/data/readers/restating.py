"""Headers that SimpleITK has written, made to say what the image's own header says.

It writes millimetres, identity and 0 where nothing is known. What an image leaves open its mask leaves open
too, and both state lengths in one unit, so that a viewer lays one over the other.
"""

from pathlib import Path

from ..pixels import UNITS_MM, Grid
from . import nifti_header

DATA = b"ElementDataFile = LOCAL\n"


def in_nifti(path: Path, grid: Grid, unit: str) -> None:
    """The unit, and no orientation where there is none; for a file that is not packed."""
    codes = {name: code for code, name in nifti_header.UNITS.items()}
    with path.open("r+b") as file:
        file.seek(nifti_header.UNITS_AT)
        others = file.read(1)[0] & ~nifti_header.LENGTH_BITS
        file.seek(nifti_header.UNITS_AT)
        file.write(bytes([others | codes[unit]]))
        if grid.frame is None:
            file.seek(nifti_header.QFORM_CODE)
            file.write(bytes(4))  # the sform's code as well


def in_nrrd(path: Path, grid: Grid, unit: str) -> None:
    """The unit, and without directions spacings and axis minimums, which stand in no space."""
    head, voxels = path.read_bytes().split(b"\n\n", 1)
    lines, frame = head.decode().split("\n"), grid.frame or ()
    units = [f'"{unit}"'] * 3 if unit != "mm" else []
    dropped: tuple[str, ...] = ()
    fields = {"space units": " ".join(units)}
    if len(frame) != 12 and grid.spacing_mm:
        n_lead = sum(line.startswith("kinds: vector") for line in lines)  # an axis without a place
        dropped, fields = ("space",), {"spacings": _listed(grid.spacing_mm[::-1], unit, n_lead)}
        fields["units"] = " ".join(['""'] * n_lead + units if units else [])
        if frame:  # the minimum of nodes is the first voxel's centre
            fields["axis mins"] = _listed(frame, unit, n_lead)
            fields["centerings"] = " ".join(["???"] * n_lead + ["node"] * 3)
    elif len(frame) != 12:
        dropped = ("space directions",) if frame else ("space",)
    lines = [line for line in lines if not line.startswith(dropped)]
    lines += [f"{name}: {value}" for name, value in fields.items() if value]
    path.write_bytes("\n".join(lines).encode() + b"\n\n" + voxels)


def in_metaimage(path: Path, grid: Grid, unit: str) -> None:
    """The unit, and no line that says what is not known."""
    head, voxels = path.read_bytes().split(DATA, 1)
    dropped: tuple[str, ...] = () if grid.spacing_mm else ("ElementSpacing",)
    if len(grid.frame or ()) != 12:
        dropped += ("TransformMatrix", "CenterOfRotation", "AnatomicalOrientation")
    if not grid.frame:
        dropped += ("Offset",)
    lines = [line for line in head.decode().splitlines(keepends=True) if not line.startswith(dropped)]
    if unit != "mm":
        lines.append(f"DistanceUnits = {unit}\n")
    path.write_bytes("".join(lines).encode() + DATA + voxels)


def _listed(lengths_mm: tuple[float, ...], unit: str, n_lead: int) -> str:
    return " ".join(["nan"] * n_lead + [repr(length / UNITS_MM[unit]) for length in lengths_mm])
