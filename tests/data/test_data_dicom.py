"""DICOM files and series: read as pydicom reads them, or refused with the reason."""

import io
import logging
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import DIRECTIONS, VALUES, refused
from dicom_files import write_placed as write_series
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import JPEGBaseline8Bit, RLELossless

from benchmarks.volume_files import FORMATS, FRAME, SPACING, dicom, save_slice
from pfedsam_flower.data.readers import Series, is_case_path, read_grid, read_image, read_mask, series_in
from pfedsam_flower.errors import DataError

FILES = [name for name in FORMATS if name.startswith("dicom") and name != "dicom series"]


def test_a_series_is_sorted_by_place_and_keeps_its_geometry(tmp_path):
    folder = FORMATS["dicom series"](tmp_path, "p1", VALUES, np.random.default_rng(3)).path
    by_name = [pydicom.dcmread(path).ImagePositionPatient[0] for path in sorted(folder.iterdir())]
    assert by_name not in (sorted(by_name), sorted(by_name, reverse=True))
    pixels = read_image(folder)
    np.testing.assert_array_equal(pixels.values[..., 0], VALUES - 1024.0)
    assert pixels.grid.spacing_mm == pytest.approx(SPACING, rel=1e-6)
    np.testing.assert_allclose(pixels.grid.frame, FRAME, atol=1e-5)
    assert read_grid(folder) == pixels.grid


def test_slices_of_other_slopes_are_each_rescaled(tmp_path):
    for k, slope in enumerate((1, 0.5, 2.25)):
        position = np.array(FRAME[:3]) + k * SPACING[0] * DIRECTIONS[:, 2]
        save_slice(tmp_path / f"{k}", VALUES[k], position, RescaleSlope=slope, RescaleIntercept=3)
    expected = VALUES[:3] * np.array([1, 0.5, 2.25])[:, None, None] + 3
    np.testing.assert_allclose(read_image(tmp_path).values[..., 0], expected)


@pytest.mark.parametrize("name", FILES)
def test_single_files_of_every_syntax_equal_pydicom(tmp_path, name):
    smooth = np.add.outer(np.zeros(1), np.add.outer(9 * np.arange(20), 5 * np.arange(18))).astype(np.int16)
    path = FORMATS[name](tmp_path, "a", smooth, np.random.default_rng(0)).path
    pixels, file = read_image(path), pydicom.dcmread(path)
    np.testing.assert_array_equal(pixels.values[0, ..., 0], file.pixel_array - 1024.0)
    assert pixels.grid.spacing_mm == (1.0, *map(float, file.PixelSpacing))
    np.testing.assert_allclose(pixels.grid.frame, FRAME, atol=1e-6)
    assert read_grid(path) == pixels.grid


def test_what_is_not_said_is_none(tmp_path):
    nowhere = {"ImagePositionPatient": None, "ImageOrientationPatient": None}
    save_slice(tmp_path / "a.dcm", VALUES[0], FRAME[:3], **nowhere)
    save_slice(tmp_path / "b.dcm", VALUES[0], FRAME[:3], **nowhere, PixelSpacing=None)
    assert (a := read_image(tmp_path / "a.dcm").grid).frame is None
    assert a.spacing_mm == (1.0, 0.75, 0.5)
    assert (b := read_image(tmp_path / "b.dcm").grid).frame is None
    assert b.spacing_mm is None


@pytest.mark.parametrize(("bits", "signed"), [(16, 1), (16, 0), (12, 0)])
def test_white_is_low_is_turned(tmp_path, bits, signed):
    values = VALUES[0] if signed else np.abs(VALUES[0])
    path = tmp_path / "a.dcm"
    elements = {"BitsStored": bits, "HighBit": bits - 1, "PixelRepresentation": signed}
    save_slice(path, values, FRAME[:3], PhotometricInterpretation="MONOCHROME1", RescaleSlope=2, **elements)
    turned = (-1 if signed else 2**bits - 1) - values.astype(float)
    np.testing.assert_array_equal(read_image(path).values[0, ..., 0], 2 * turned - 1024)


def test_colour_has_three_channels(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 256, (9, 7, 3)).astype(np.uint8)
    save_slice(tmp_path / "a.dcm", rgb, FRAME[:3])
    planes = np.ascontiguousarray(np.moveaxis(rgb, -1, 0))
    save_slice(tmp_path / "b.dcm", rgb, FRAME[:3], PlanarConfiguration=1, PixelData=planes.tobytes() + b"\0")
    np.testing.assert_array_equal(read_image(tmp_path / "a.dcm").values[0], rgb)
    np.testing.assert_array_equal(read_image(tmp_path / "b.dcm").values[0], rgb)
    save_slice(tmp_path / "c.dcm", rgb, FRAME[:3], PhotometricInterpretation="YBR_FULL")
    refused(tmp_path / "c.dcm", "YBR_FULL")


@pytest.mark.parametrize(
    ("places", "match"),
    [
        ((0, 1, 2, 4, 5), "lacks 1 slice: most lie 2.5 mm apart, some 5 mm"),
        ((0, 1, 2, 3, 7), "lacks 3 slices"),
        ((0, 1, 2.4, 3, 4), "unevenly spaced slices: 1.5 to 3.5 mm apart"),
        ((0, 0, 0), "all 3 slices at one place"),
        ((0, 1, 2, 0, 1, 2), "2 images at each of 3 places"),
        ((0, 1, 1, 2), "more than one image at 1 of 3 places"),
    ],
)
def test_series_that_are_no_volume(tmp_path, places, match):
    error = refused(write_series(tmp_path / "p1", places), match)
    assert "1.2.3.4" in error.message
    assert f"files {len(places)}" in error.public()
    assert "1.2.3.4" not in error.public()


@pytest.mark.parametrize("tilt", [0.3, -18.5])
def test_a_tilted_gantry_is_refused(tmp_path, tilt):
    step = SPACING[0] * (DIRECTIONS[:, 2] + np.tan(np.radians(tilt)) * DIRECTIONS[:, 1])
    refused(
        write_series(tmp_path / "p1", [k * step for k in range(5)]), f"sideways by {abs(tilt):.1f} degrees"
    )


def test_rounded_positions_are_no_tilt(tmp_path):
    """0.01 mm of a step of 0.5 mm is more than a degree."""
    steps = np.outer(0.2 * SPACING[0] * np.arange(3), DIRECTIONS[:, 2])
    steps[1] += 0.008 * DIRECTIONS[:, 0]
    assert read_image(write_series(tmp_path / "p1", steps)).spacing_mm[0] == pytest.approx(0.5, rel=1e-6)


@pytest.mark.parametrize("jitter", [0.004, 0.03])
def test_rounding_of_places_is_regular_and_more_is_not(tmp_path, jitter):
    folder = write_series(tmp_path / "p1", [0, 1 + jitter, 2, 3 - jitter, 4])
    if jitter < 0.01:
        assert read_image(folder).spacing_mm[0] == pytest.approx(2.5, rel=1e-6)
    else:
        refused(folder, "unevenly spaced")


def test_rounded_places_of_thin_slices_are_regular(tmp_path):
    rounded = [np.round(0.25 * k * SPACING[0] * DIRECTIONS[:, 2], 2) for k in range(6)]
    assert read_image(write_series(tmp_path / "p1", rounded)).spacing_mm[0] == pytest.approx(0.625, rel=0.01)


@pytest.mark.parametrize(
    ("elements", "match"),
    [
        ({"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}, "mixes slices of 2 orientations"),
        ({"PixelSpacing": [0.75, 0.51]}, "mixes pixel spacings"),
        ({"ImagePositionPatient": None}, "1 of the 6 files"),
        ({"Rows": 7, "Columns": 9}, "different size"),
        ({"ImageOrientationPatient": [1, 0, 0, 0.5, 1, 0]}, "orientations"),
    ],
)
def test_one_slice_unlike_the_others(tmp_path, elements, match):
    folder = write_series(tmp_path / "p1")
    position = np.array(FRAME[:3]) + 3 * SPACING[0] * DIRECTIONS[:, 2]
    save_slice(folder / "s10.dcm", VALUES[3], position, series="1.2.3.4", **elements)
    refused(folder, match)


def test_several_series_are_told_apart(tmp_path):
    write_series(tmp_path, name="a")
    write_series(tmp_path, uid="1.2.3.5", name="b", places=range(4), SeriesDescription="neck", Modality="MR")
    assert series_in(tmp_path) == [Series("1.2.3.4", "head", "CT", 6), Series("1.2.3.5", "neck", "MR", 4)]
    error = refused(tmp_path, "holds 2 series")
    assert "1.2.3.5 (MR neck, 4 files)" in error.hint
    named = Path(f"{tmp_path}#1.2.3.5")
    assert read_image(named).values.shape == (4, 9, 7, 1)
    assert read_grid(named).shape == (4, 9, 7)
    assert is_case_path(named)
    refused(Path(f"{tmp_path}#9.9"), "no series 9.9")


def test_files_beside_a_series(tmp_path, caplog):
    write_series(tmp_path)
    for name in ("notes.txt", ".DS_Store", "thumb.db"):
        (tmp_path / name).write_bytes(b"x" * 400)
    save_slice(
        tmp_path / "seg.dcm", VALUES[0], FRAME[:3], series="7", SOPClassUID="1.2.840.10008.5.1.4.1.1.66.4"
    )
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    seg.file_meta.MediaStorageSOPClassUID = seg.SOPClassUID
    seg.save_as(tmp_path / "seg.dcm")
    with caplog.at_level(logging.INFO):
        assert read_image(tmp_path).values.shape == (6, 9, 7, 1)
    assert "notes.txt" in caplog.text
    refused(tmp_path / "seg.dcm", "DICOM-SEG.*\n.*\n.*highdicom")
    (tmp_path / "s99").write_bytes(b"x" * 400)  # named as slices are
    refused(tmp_path, "no DICOM file meta", "PFS-204")


@pytest.mark.parametrize(
    ("uid", "match"),
    [
        ("1.2.840.10008.5.1.4.1.1.481.2", "RTDOSE"),
        ("1.2.840.10008.5.1.4.1.1.481.5", "without an image"),
        ("1.2.840.10008.5.1.4.1.1.88.33", "without an image"),
        ("1.2.840.10008.5.1.4.1.1.66", "without an image"),
    ],
)
def test_what_is_no_picture(tmp_path, uid, match):
    path = tmp_path / "a.dcm"
    save_slice(path, VALUES[0], FRAME[:3])
    file = pydicom.dcmread(path)
    file.file_meta.MediaStorageSOPClassUID = uid
    file.save_as(path)
    refused(path, match)


@pytest.mark.parametrize(
    ("uid", "match"),
    [("1.2.840.10008.5.1.4.1.1.3.1", "film of ultrasound"), ("1.2.840.10008.5.1.4.1.1.4.1", "multi-frame")],
)
def test_several_frames(tmp_path, uid, match):
    path = tmp_path / "a.dcm"
    save_slice(path, VALUES[0], FRAME[:3], NumberOfFrames=3, PixelData=VALUES[:3].tobytes())
    file = pydicom.dcmread(path)
    file.file_meta.MediaStorageSOPClassUID = uid
    file.save_as(path)
    assert "frames 3" in refused(path, match).public()


@pytest.mark.parametrize(
    ("elements", "match"),
    [
        ({"Rows": 8}, "promises 112 bytes of pixels, it has 126"),
        ({"PixelData": None}, "no pixels"),
        ({"PixelSpacing": [0, 1]}, "spacing is"),
        ({"Rows": 0}, "0 x 7 pixels"),
        ({"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}, "promises 63 bytes"),
    ],
)
def test_headers_that_contradict_themselves(tmp_path, elements, match):
    save_slice(tmp_path / "a.dcm", VALUES[0], FRAME[:3], **elements)
    refused(tmp_path / "a.dcm", match, "PFS-204")


def test_transfer_syntaxes_that_are_not_read_are_named(tmp_path):
    path = tmp_path / "a.dcm"
    save_slice(path, VALUES[0], FRAME[:3])
    body = path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.9.9\0")
    path.write_bytes(body)
    refused(path, "transfer syntax 1.2.840.10008.1.9.9", "PFS-204")


def test_sequences_of_any_kind_are_passed_over(tmp_path):
    """Nested, with and without lengths, private and of unknown type; implicit and explicit."""
    inner = pydicom.Dataset()
    inner.CodeValue = "T-1"
    icon = pydicom.Dataset()
    icon.PixelData = encapsulate([b"\1\2\3\4"])
    icon["PixelData"].VR, icon["PixelData"].is_undefined_length = "OB", True
    outer = pydicom.Dataset()
    outer.ConceptNameCodeSequence = Sequence([inner, inner])
    for syntax in ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2"):
        for k, undefined in enumerate((True, False)):
            path = tmp_path / f"{syntax}-{k}.dcm"
            save_slice(path, VALUES[0], FRAME[:3], syntax=syntax)
            file = pydicom.dcmread(path)
            file.RequestAttributesSequence = Sequence([outer, outer])
            file.IconImageSequence = Sequence([icon])
            file.private_block(0x0029, "us", create=True).add_new(0x10, "UN", b"\1\2\3\4")
            for element in (file["RequestAttributesSequence"], outer["ConceptNameCodeSequence"]):
                element.is_undefined_length = undefined
            inner.is_undefined_length_sequence_item = outer.is_undefined_length_sequence_item = undefined
            file.save_as(path)
            np.testing.assert_array_equal(read_image(path).values[0, ..., 0], VALUES[0] - 1024.0)


def test_a_cut_rle_file_does_not_hang(tmp_path):
    """GDCM waits for ever on these when it is asked."""
    path = dicom(pack=RLELossless)(tmp_path, "a", VALUES, np.random.default_rng(0)).path
    whole = path.read_bytes()
    for share in (0.5, 0.7, 0.9, 0.99):
        path.write_bytes(whole[: int(len(whole) * share)])
        refused(path, "cut or damaged", "PFS-204")


def test_rle_that_unpacks_to_less_is_refused(tmp_path):
    path = dicom(pack=RLELossless)(tmp_path, "a", VALUES, np.random.default_rng(0)).path
    file = pydicom.dcmread(path)
    file.Rows = 10
    file.save_as(path)
    refused(path, "compressed pixels", "PFS-204")


def jpeg_file(path: Path, damage: bool) -> np.ndarray:
    """A colour JPEG in DICOM, and its pixels as Pillow has them."""
    ramp = np.add.outer(np.arange(48), np.arange(40)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(ramp).save(buffer, "JPEG", quality=95)
    body = bytearray(buffer.getvalue())
    if damage:
        half = len(body) // 2 + len(body) // 4
        body[half : half + 12] = b"\xff\xd4" * 6  # markers that do not belong here
    save_slice(path, ramp, FRAME[:3])
    file = pydicom.dcmread(path)
    file.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 8, 8, 7, 0
    file.PixelData = encapsulate([bytes(body)])
    file["PixelData"].VR, file["PixelData"].is_undefined_length = "OB", True
    file.save_as(path)
    return np.asarray(Image.open(io.BytesIO(buffer.getvalue())), np.float64)


def test_jpeg_inside_dicom(tmp_path, capfd):
    expected = jpeg_file(tmp_path / "a.dcm", damage=False)
    assert np.abs(read_image(tmp_path / "a.dcm").values[0, ..., 0] - (expected - 1024)).max() <= 2
    jpeg_file(tmp_path / "b.dcm", damage=True)
    with pytest.raises(DataError) as caught:
        read_image(tmp_path / "b.dcm")
    assert caught.value.code == "PFS-204"
    assert capfd.readouterr() == ("", "")


def test_case_paths(tmp_path):
    assert is_case_path(write_series(tmp_path / "p1"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other/a.txt").write_text("x" * 200)
    (tmp_path / "a.png").touch()
    assert is_case_path(tmp_path / "a.png")
    assert not any(is_case_path(tmp_path / name) for name in ("other", "absent.png", "absent#1.2"))
    refused(tmp_path / "other", "no DICOM file", "PFS-204")


def test_a_series_can_be_a_mask(tmp_path):
    for k in range(3):
        position = np.array(FRAME[:3]) + k * SPACING[0] * DIRECTIONS[:, 2]
        save_slice(tmp_path / f"{k}.dcm", VALUES[k] > 0, position, series="1.2.9", RescaleIntercept=0)
    mask, grid = read_mask(tmp_path)
    np.testing.assert_array_equal(mask, VALUES[:3] > 0)
    assert grid == read_grid(tmp_path)
