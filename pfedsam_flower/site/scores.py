"""Scores of every test case, written at the site in the closing round; they stay there.

Voxel counts, not only Dice: what is pooled (a patient's slices, say) is decided by who reads them.
"""

import csv
import io
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np

from ..data.cases import CaseData
from ..errors import StoreError
from ..evaluation.case_scores import score_case
from ..evaluation.metrics import overlap
from .files import write_whole

FILE = "scores.csv"


@dataclass(frozen=True)
class CaseScore:
    """One model on one test case and class.

    Attributes:
        model: ``global``, ``personal``, ``alone``, ``blend``, ``deployed``.
        both, predicted, reference: voxels.
        hd95, nsd: None where not defined or not asked for. unit: theirs, mm or pixel, '' when not asked for.
    """

    model: str
    patient: str
    case: str
    name: str
    both: int
    predicted: int
    reference: int
    hd95: float | None
    nsd: float | None
    unit: str


def case_scores(
    model: str, case: CaseData, logits: np.ndarray, classes: tuple[str, ...], *, surface: bool
) -> list[CaseScore]:
    """A row per class that the site annotates; ``logits`` [K, D, H, W] on the case's grid."""
    distances = {}
    if surface:
        scored = score_case(case.case.id, classes, logits > 0, case.target, case.annotated, case.spacing_mm)
        distances = {row.name: row for row in scored}
    rows = []
    for k in np.flatnonzero(case.annotated).tolist():
        one, far = overlap(logits[k] > 0, case.target[k]), distances.get(classes[k])
        rows.append(
            CaseScore(
                model,
                case.case.patient,
                case.case.id,
                classes[k],
                one.both,
                one.predicted,
                one.reference,
                far.hd95 if far else None,
                far.nsd if far else None,
                far.unit if far else "",
            )
        )
    return rows


def write_scores(path: Path, rows: Iterable[CaseScore]) -> None:
    """A line per row; what is not defined is blank.

    Raises:
        StoreError: PFS-604.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(field.name for field in fields(CaseScore))
    table.writerows(astuple(row) for row in rows)
    write_whole(path, text.getvalue().encode())


def read_scores(path: Path) -> list[CaseScore]:
    """What ``write_scores`` wrote.

    Raises:
        StoreError: PFS-603 when it is missing or damaged.
    """

    def number(text: str) -> float | None:
        return float(text) if text else None

    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [
                CaseScore(
                    row["model"],
                    row["patient"],
                    row["case"],
                    row["name"],
                    int(row["both"]),
                    int(row["predicted"]),
                    int(row["reference"]),
                    number(row["hd95"]),
                    number(row["nsd"]),
                    row["unit"],
                )
                for row in csv.DictReader(file)
            ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError("PFS-603", f"the scores cannot be read: {error}", where=str(path)) from error
