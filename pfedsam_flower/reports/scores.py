"""``scores.csv``: Dice, HD95 and NSD of each case and class."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from ..evaluation.case_scores import ClassScore
from .files import write_text

COLUMNS = (
    "case",
    "class",
    "dice",
    "hd95",
    "nsd",
    "unit",
    "tolerance",
    "predicted_voxels",
    "reference_voxels",
    "predicted_ml",
    "reference_ml",
    "empty",
)


def write_scores(rows: Sequence[ClassScore], path: Path) -> Path:
    """Writes a line per row; what is not defined is blank. Returns ``path``.

    ``unit`` is that of ``hd95`` and ``tolerance``: mm, or pixel where a file does not know its spacing.
    ``empty`` says which of the masks has nothing of the class.

    Raises:
        StoreError: PFS-604 when the file cannot be written.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    table.writerows(_cells(row) for row in rows)
    write_text(path, text.getvalue())
    return path


def _cells(row: ClassScore) -> list[str]:
    def number(value: float | None, digits: int) -> str:
        return "" if value is None else f"{value:.{digits}f}"

    def ml(voxels: int) -> str:
        return number(None if row.voxel_ml is None else voxels * row.voxel_ml, 3)

    return [
        row.case,
        row.name,
        number(row.dice, 4),
        number(row.hd95, 3),
        number(row.nsd, 4),
        row.unit,
        f"{row.tolerance:g}",
        str(row.predicted),
        str(row.reference),
        ml(row.predicted),
        ml(row.reference),
        row.empty,
    ]
