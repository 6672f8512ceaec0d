"""``scores.csv``: one line per case and class, blank where nothing is defined."""

import csv

import numpy as np

from pfedsam_flower.evaluation.case_scores import score_case
from pfedsam_flower.reports.scores import write_scores


def test_lines_can_be_read_again(tmp_path) -> None:
    prediction, reference = np.zeros((2, 2, 6, 6), bool), np.zeros((2, 2, 6, 6), bool)
    prediction[0, :, 1:4, 1:4] = reference[0, :, 1:4, 1:4] = True
    prediction[1, 0, 0, :5] = True
    rows = score_case(
        'one, "two"', ("organ", "lesion"), prediction, reference, np.ones(2, bool), (5.0, 1.0, 1.0), 2
    )
    rows += score_case("slice", ("organ",), prediction[:1], reference[:1], np.ones(1, bool), None, 2)
    with write_scores(rows, tmp_path / "scores.csv").open(encoding="utf-8", newline="") as file:
        organ, lesion, slice_ = csv.DictReader(file)
    assert organ == {
        "case": 'one, "two"',
        "class": "organ",
        "dice": "1.0000",
        "hd95": "0.000",
        "nsd": "1.0000",
        "unit": "mm",
        "tolerance": "2",
        "predicted_voxels": "18",
        "reference_voxels": "18",
        "predicted_ml": "0.090",
        "reference_ml": "0.090",
        "empty": "",
    }
    assert (lesion["dice"], lesion["hd95"], lesion["nsd"], lesion["empty"]) == ("0.0000", "", "", "reference")
    assert (slice_["unit"], slice_["predicted_ml"]) == ("pixel", "")
