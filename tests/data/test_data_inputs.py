"""What is to be predicted, and by which name."""

import numpy as np
import pytest
from dicom_files import write_series
from PIL import Image

from pfedsam_flower.data.inputs import find_inputs
from pfedsam_flower.errors import DataError


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(path)


def test_a_link_to_a_series_has_the_links_name(tmp_path):
    series = tmp_path / "archive" / "SMITH_JOHN"
    series.mkdir(parents=True)
    (series / "1.dcm").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "p01").symlink_to(series, target_is_directory=True)
    (one,) = find_inputs(tmp_path / "scans").inputs
    assert one.name == "p01"


def test_two_references_of_one_name_are_refused(tmp_path):
    for name in ("images/a.png", "masks/a.png", "masks/a.tif"):
        picture(tmp_path / name)
    with pytest.raises(DataError, match=r"PFS-202.*more than one reference: a.png and a.tif"):
        find_inputs(tmp_path / "images", tmp_path / "masks")
    (tmp_path / "masks" / "a.tif").unlink()
    assert (
        find_inputs(tmp_path / "images", tmp_path / "masks").inputs[0].reference
        == tmp_path / "masks" / "a.png"
    )


def test_single_dicom_pictures_are_taken_one_by_one_and_a_series_as_one(tmp_path):
    values = np.zeros((1, 4, 4), np.uint16)
    for n in range(3):
        write_series(tmp_path / "x-ray", values, f"p{n}")
    write_series(tmp_path / "ct", np.zeros((3, 4, 4), np.uint16), "s")
    for path in (*(tmp_path / "x-ray").iterdir(), *(tmp_path / "ct").iterdir()):
        path.rename(f"{path}.dcm")
    assert [one.name for one in find_inputs(tmp_path / "x-ray").inputs] == ["p0-0", "p1-0", "p2-0"]
    assert [one.name for one in find_inputs(tmp_path / "ct").inputs] == ["ct"]
    damaged = tmp_path / "x-ray" / "p1-0.dcm"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    assert len(find_inputs(tmp_path / "x-ray").inputs) == 3, "it gets its sentence when it is read"
    write_series(tmp_path / "x-ray", np.zeros((3, 4, 4), np.uint16), "s")
    assert [one.name for one in find_inputs(tmp_path / "x-ray").inputs] == ["x-ray"], (
        "no slice is passed over"
    )
