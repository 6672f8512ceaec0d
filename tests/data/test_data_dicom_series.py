"""Folders of DICOM files: which are one series, which are one volume, and what is asked where both may be."""

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import DIRECTIONS, VALUES, refused, write_placed
from pydicom.uid import MediaStorageDirectoryStorage

from benchmarks.volume_files import FRAME, SPACING, save_slice
from pfedsam_flower.data.inputs import find_inputs
from pfedsam_flower.data.readers import dicom, is_case_path, read_grid, read_image, stem_of, suffix_of

EACH = "1.2.3.{}"  # a series UID of its own for every file


def position(place: float) -> np.ndarray:
    return np.array(FRAME[:3]) + place * SPACING[0] * DIRECTIONS[:, 2]


@pytest.mark.parametrize("places", [range(6), (5, 4, 3, 2, 1, 0), (0, 1), (0, 1, 3, 4), (0, 0, 1, 1, 2, 2)])
def test_slices_with_a_uid_each_are_asked_about(tmp_path, places):
    """Whole, in reverse, two, with one missing, and two volumes."""
    folder = write_placed(tmp_path / "p1", places, EACH)
    n = len(places)
    error = refused(folder, f"its {n} files have a series UID each, yet all of them lie one behind the other")
    assert f"series {len(places)}" in error.public()
    assert "p1#1.2, or give all files one Series Instance UID" in error.hint
    assert "single pictures: put each into a folder of its own" in error.hint
    assert not dicom.all_apart(folder)
    assert [one.path for one in find_inputs(folder).inputs] == [folder]


def test_a_scout_beside_slices_with_a_uid_each(tmp_path):
    folder = write_placed(tmp_path / "p1", uid=EACH)
    save_slice(
        folder / "scout", VALUES[0], position(0), series="9", ImageOrientationPatient=[1, 0, 0, 0, 0, 1]
    )
    refused(folder, "its 7 files have a series UID each, yet 6 of them lie")
    assert not dicom.all_apart(folder)
    refused(Path(f"{folder}#1.2"), "2 orientations: scout unlike the others")


def test_both_answers_are_understood(tmp_path):
    folder = write_placed(tmp_path / "p1", uid=EACH)
    named = Path(f"{folder}#1.2")
    assert is_case_path(named)
    np.testing.assert_array_equal(read_image(named).values[..., 0], VALUES - 1024.0)
    for path in list(folder.iterdir()):
        (folder / path.stem).mkdir()
        path.rename(folder / path.stem / path.name)
    assert len(find_inputs(folder).inputs) == 6
    (one,) = {read_grid(found.path).shape for found in find_inputs(folder).inputs}
    assert one == (1, 9, 7)


def test_a_study_with_slices_missing_is_told_as_a_series_is(tmp_path):
    refused(Path(f"{write_placed(tmp_path / 'p1', (0, 1, 3), EACH)}#1.2"), "lacks 1 slice")


def test_a_study_is_no_name_for_series_of_several_files(tmp_path):
    write_placed(tmp_path, range(3), "1.2.9", name="a")
    write_placed(tmp_path, range(3, 6), "1.2.8", name="b")
    refused(Path(f"{tmp_path}#1.2"), "no series 1.2")


@pytest.mark.parametrize(
    "elements",
    [
        {"ImagePositionPatient": None},
        {"ImageOrientationPatient": None},
        {"PixelSpacing": None},
        {"ImagePositionPatient": [1, 2, 3]},
        {"ImagePositionPatient": [1, 2]},
        {"ImageOrientationPatient": [1, 2]},
    ],
)
def test_pictures_are_pictures(tmp_path, elements):
    """X-rays, which say nothing or the same of where they lie."""
    assert dicom.all_apart(write_placed(tmp_path / "p1", range(3), EACH, **elements))
    assert len(find_inputs(tmp_path / "p1").inputs) == 3


@pytest.mark.parametrize("places", [(0, 1), (0, 1, 3)])
def test_few_slices_of_different_patients_are_pictures(tmp_path, places):
    folder = write_placed(tmp_path / "p1", places, EACH)
    for k, path in enumerate(sorted(folder.iterdir())):
        file = pydicom.dcmread(path)
        file.StudyInstanceUID = f"1.2.{k}"
        file.save_as(path)
    assert dicom.all_apart(folder)


def test_localisers_in_three_planes_are_pictures(tmp_path):
    for k, plane in enumerate(([1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, -1], [1, 0, 0, 0, 0, -1])):
        save_slice(
            tmp_path / f"{k}.dcm", VALUES[k], position(k), series=f"1.{k}", ImageOrientationPatient=plane
        )
    assert dicom.all_apart(tmp_path)


@pytest.mark.parametrize(
    ("places", "match"),
    [
        ((0, 1, 2, 4, 5), r"lacks 1 slice: most lie 2.5 mm apart, some 5 mm; missing: 1 between s3.dcm "),
        (
            (0, 1, 3),
            r"lacks 1 slice: some lie 2.5 mm apart, others 5 mm; missing: 1 between s7.dcm .instance 2",
        ),
        ((1, 2, 5, 7, 8), "lacks 3 slices.*missing: 2 between s7.*mm, 1 between s3"),
        ((0, 0.4, 4, 4.4, 8), "unevenly spaced"),
        ((0, 1, 2.5), "unevenly spaced"),
    ],
)
def test_a_missing_slice_is_named_by_its_neighbours(tmp_path, places, match):
    refused(write_placed(tmp_path / "p1", places), match)


def test_the_place_of_a_missing_slice_is_in_mm_along_the_normal(tmp_path):
    flat = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
    for k, z in enumerate((0, 3, 9)):
        save_slice(tmp_path / f"IM{k:04d}", VALUES[k], (0, 0, z), number=k + 1, **flat)
    match = r"1 between IM0001 .instance 2. at 3 mm and IM0002 .instance 3. at 9 mm"
    assert "IM0001" not in refused(tmp_path, match).public()


def test_two_slices_of_which_the_middle_one_is_missing(tmp_path):
    """Two always lie evenly; the files may know better."""
    folder = write_placed(tmp_path / "p1", (0, 2), SpacingBetweenSlices=SPACING[0])
    refused(folder, "lacks 1 slice: its two lie 5 mm apart, and say that slices lie 2.5 mm apart")
    assert read_image(write_placed(tmp_path / "p2", (0, 2))).spacing_mm[0] == pytest.approx(5)


def test_a_copied_file_is_named(tmp_path):
    folder = write_placed(tmp_path / "p1")
    shutil.copy(folder / "s7.dcm", folder / "s7 (1).dcm")
    error = refused(folder, r"copies of one image .SOP Instance UID.: s7 .1..dcm = s7.dcm")
    assert error.hint == "keep one file of each"


def test_reconstructions_in_one_series_are_told_apart(tmp_path):
    """Also where they lie between each other and would make one volume."""
    write_placed(tmp_path, (0, 2, 4), name="a", ConvolutionKernel="B30f")
    write_placed(tmp_path, (1, 3), name="b", ConvolutionKernel="B70f")
    refused(tmp_path, "mixes reconstructions .Convolution Kernel. in its 5 files: b0.dcm, b7.dcm")


@pytest.mark.parametrize(
    ("elements", "match"),
    [
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}, "mixes slices of 2 orientations: scout unlike"),
        ({"Rows": 7, "Columns": 9}, r"different size or colour in its 7 files: scout\n"),
    ],
)
def test_a_scout_in_the_series_is_named(tmp_path, elements, match):
    folder = write_placed(tmp_path / "p1")
    save_slice(folder / "scout", VALUES[0], position(9), series="1.2.3.4", **elements)
    refused(folder, match)


def test_a_directory_beside_a_series_is_passed_over(tmp_path):
    folder = write_placed(tmp_path / "p1")
    save_slice(folder / "DICOMDIR", VALUES[0], FRAME[:3], SeriesInstanceUID=None, PixelData=None)
    file = pydicom.dcmread(folder / "DICOMDIR")
    file.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    file.save_as(folder / "DICOMDIR")
    assert read_image(folder).values.shape == (6, 9, 7, 1)
    pictures = write_placed(tmp_path / "p2", range(3), EACH, ImagePositionPatient=None)
    shutil.copy(folder / "DICOMDIR", pictures)
    assert dicom.all_apart(pictures)
    medium = tmp_path / "medium"
    medium.mkdir()
    folder.rename(medium / "IMAGES")
    shutil.copy(medium / "IMAGES/DICOMDIR", medium)
    assert [one.path.name for one in find_inputs(medium).inputs] == ["IMAGES"]


def test_names_say_nothing(tmp_path):
    folder = write_placed(tmp_path / "p1")
    for name, path in zip(("IM000001", "a.IMA", "b", "c.dicom", "1", "d.dcm"), folder.iterdir(), strict=True):
        path.rename(folder / name)
    np.testing.assert_array_equal(read_image(folder).values[..., 0], VALUES - 1024.0)
    assert [one.path for one in find_inputs(folder).inputs] == [folder]


@pytest.mark.parametrize(("name", "stem"), [("IM000001", "IM000001"), ("p1.IMA", "p1"), ("i.123", "i.123")])
def test_one_picture_of_any_name(tmp_path, name, stem):
    save_slice(tmp_path / name, VALUES[0], FRAME[:3], ImagePositionPatient=None)
    save_slice(tmp_path / "other.dcm", VALUES[0], FRAME[:3], series="9", ImagePositionPatient=None)
    assert (suffix_of(tmp_path / name), stem_of(tmp_path / name)) == (".dcm", stem)
    np.testing.assert_array_equal(read_image(tmp_path / name).values[0, ..., 0], VALUES[0] - 1024.0)
    assert {one.name for one in find_inputs(tmp_path).inputs} == {stem, "other"}


def test_the_size_of_pixels(tmp_path):
    """At the patient before at the detector before of a film; without any, pixels must be square."""
    path, nowhere = tmp_path / "a.dcm", {"ImagePositionPatient": None, "ImageOrientationPatient": None}
    sizes = {"PixelSpacing": [1, 2], "ImagerPixelSpacing": [3, 4], "NominalScannedPixelSpacing": [5, 6]}
    for first in list(sizes):
        save_slice(path, VALUES[0], FRAME[:3], **{"PixelSpacing": None, **sizes}, **nowhere)
        assert read_grid(path).spacing_mm == (1.0, *sizes.pop(first))
    save_slice(path, VALUES[0], FRAME[:3], PixelSpacing=None, PixelAspectRatio=[1, 1], **nowhere)
    assert read_grid(path).spacing_mm is None
    save_slice(path, VALUES[0], FRAME[:3], PixelSpacing=None, PixelAspectRatio=[2, 1], **nowhere)
    refused(path, "pixels are not square .2 high to 1 wide. and of no size in mm")
