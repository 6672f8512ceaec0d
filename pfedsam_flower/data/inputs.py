"""What a person wants masks of: one image, or a folder of them."""

from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError
from .findings import some
from .readers import READERS, dicom, is_case_path, stem_of, suffix_of


@dataclass(frozen=True)
class Input:
    """One image or volume.

    Attributes:
        name: of its file without suffix, or of its folder; unique among the inputs.
        reference: the mask to compare with, None where none is asked for.
    """

    name: str
    path: Path
    reference: Path | None = None


def find_inputs(path: Path, references: Path | None = None) -> list[Input]:
    """The image or DICOM series that ``path`` is, or those that lie in it, sorted by name.

    Args:
        references: folder of masks of the same names, every input must have one.

    Raises:
        DataError: PFS-201 nothing to read, PFS-202 two inputs of one name, inputs without reference, or a
            folder that is a series and holds other images too.
    """
    paths = _paths(path)
    if not paths:
        raise DataError(
            "PFS-201",
            "the folder has no image",
            where=str(path),
            hint="known: DICOM series, " + ", ".join(READERS),
        )
    by_name: dict[str, list[Path]] = {}
    for one in paths:
        by_name.setdefault(name_of(one), []).append(one)
    _refuse_doubles(by_name, "image", path)
    masks = _masks(references) if references else {}
    lacking = [name for name in by_name if references and name not in masks]
    if lacking:
        raise DataError(
            "PFS-202",
            f"{len(lacking)} of {len(by_name)} images have no reference of the same name: {some(lacking)}",
            where=str(references),
            hint="leave --references out to get masks alone",
        )
    return [Input(name, found[0], masks.get(name)) for name, found in sorted(by_name.items())]


def name_of(path: Path) -> str:
    """What the outputs of an image are called: its file's stem, or its folder and the series named."""
    if path.is_dir():  # a link's own name, as in training: its target's may be the patient's
        return path.name if path.name not in ("", "..") else path.resolve().name
    return stem_of(path) if suffix_of(path) else path.name.replace("#", "-")


def _paths(path: Path) -> list[Path]:
    """The path itself if it is a file or a series, else what lies in it."""
    if not path.is_dir():
        if not path.exists() and "#" not in path.name:
            raise DataError("PFS-201", "there is no such file or folder", where=str(path))
        return [path]
    inside = [one for one in sorted(path.iterdir()) if one.name[0] != "." and is_case_path(one)]
    if not is_case_path(path):
        return inside
    others = [one.name for one in inside if suffix_of(one) != ".dcm"]
    if not others and dicom.all_apart(path):
        return inside
    if others:
        raise DataError(
            "PFS-202",
            f"the folder holds DICOM files, and {len(others)} other images: {some(others)}",
            where=str(path),
            hint="put them in folders of their own, or name the series that is meant: FOLDER#UID",
        )
    return [path]


def _masks(folder: Path) -> dict[str, Path]:
    """Files that may be masks, by name.

    Raises:
        DataError: PFS-201 when the folder cannot be read, PFS-202 when two masks have one name.
    """
    by_name: dict[str, list[Path]] = {}
    try:
        for one in sorted(folder.iterdir()):
            if one.is_file() and suffix_of(one):
                by_name.setdefault(stem_of(one), []).append(one)
    except OSError as error:
        raise DataError(
            "PFS-201", f"the folder of references cannot be read: {error.strerror}", where=str(folder)
        ) from error
    _refuse_doubles(by_name, "reference", folder)
    return {name: found[0] for name, found in by_name.items()}


def _refuse_doubles(by_name: dict[str, list[Path]], what: str, folder: Path) -> None:
    double = [" and ".join(p.name for p in found) for found in by_name.values() if len(found) > 1]
    if double:
        raise DataError(
            "PFS-202",
            f"{len(double)} names belong to more than one {what}: {some(double)}",
            where=str(folder),
            hint="keep one of each name",
        )
