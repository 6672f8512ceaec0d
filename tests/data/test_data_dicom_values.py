"""What the stored numbers of a DICOM file mean for an image, and that a mask is its stored numbers."""

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import VALUES, refused, write_placed
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, JPEG2000Lossless, RLELossless

from benchmarks.volume_files import FRAME, save_slice
from pfedsam_flower.data.readers import read_grid, read_image, read_mask
from pfedsam_flower.data.readers.dicom_frames import loss
from pfedsam_flower.data.readers.dicom_header import Header
from pfedsam_flower.errors import DataError

MR, PET, CAPTURE, MAMMOGRAPHY = (f"1.2.840.10008.5.1.4.1.1.{n}" for n in ("4", "128", "7", "1.2"))
LABELS = np.random.default_rng(1).integers(0, 4, (9, 7)).astype(np.int16)
UNSIGNED = {"PixelRepresentation": 0}
BYTES = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, **UNSIGNED}
RAMP = np.add.outer(40 * np.arange(48), 40 * np.arange(40)).astype(np.uint16)
RGB = np.stack([RAMP // 20, RAMP // 30, 255 - RAMP // 20], axis=-1).astype(np.uint8)


def edited(path, **elements):
    """The file with elements set by keyword, None removes one; its class, if given, in both places."""
    file = pydicom.dcmread(path)
    for name, value in elements.items():
        if value is None:
            delattr(file, name)
        else:
            setattr(file, name, value)
    file.file_meta.MediaStorageSOPClassUID = file.SOPClassUID
    file.save_as(path)
    return path


def compressed(path, values, syntax=JPEG2000Lossless, jpeg=False, options=None, **elements):
    """A file whose pixels Pillow has compressed."""
    body = io.BytesIO()
    kind = {"format": "JPEG"} if jpeg else {"format": "JPEG2000", "no_jp2": True}
    Image.fromarray(values).save(body, **kind, **(options or {}))
    save_slice(path, values, FRAME[:3], **elements)
    file = pydicom.dcmread(path)
    file.file_meta.TransferSyntaxUID = syntax
    file.PixelData = encapsulate([body.getvalue()])
    file["PixelData"].VR, file["PixelData"].is_undefined_length = "OB", True
    file.save_as(path)
    return path


def pixels(path):
    return read_image(path).values[0, ..., 0]


def mask_refused(path, match):
    with pytest.raises(DataError, match=match) as caught:
        read_mask(path)
    assert caught.value.code == "PFS-204"
    assert read_grid(path).shape


@given(
    bits=st.integers(1, 16),
    signed=st.booleans(),
    packed=st.booleans(),
    above=st.integers(0, 2**16 - 1),
    seed=st.integers(0, 9),
)
def test_only_the_stored_bits_count(tmp_path_factory, bits, signed, packed, above, seed):
    """Overlays, or anything, may stand above them."""
    low = -(2 ** (bits - 1)) if signed else 0
    expected = np.random.default_rng(seed).integers(low, low + 2**bits, (9, 7))
    cells = (expected & (2**bits - 1)) | (above << bits & 0xFFFF)
    path = tmp_path_factory.mktemp("bits") / "a.dcm"
    elements = {"BitsStored": bits, "HighBit": bits - 1, "PixelRepresentation": int(signed)}
    pack = RLELossless if packed and bits > 8 else ""  # pydicom packs 8 bits of 16 as if 8 were allocated
    save_slice(path, cells.astype(np.uint16), FRAME[:3], RescaleIntercept=0, pack=pack, **elements)
    np.testing.assert_array_equal(pixels(path), expected)


@pytest.mark.parametrize(("stored", "high"), [(12, 15), (12, 13), (12, 10), (20, 19), (0, 0)])
def test_bits_that_do_not_fit_are_refused(tmp_path, stored, high):
    save_slice(tmp_path / "a.dcm", VALUES[0], FRAME[:3], BitsStored=stored, HighBit=high)
    refused(tmp_path / "a.dcm", f"stores {stored} bits of 16, with bit {high} as the highest", "PFS-204")


@pytest.mark.parametrize("sop_class", [MR, PET, CAPTURE, MAMMOGRAPHY])
def test_slope_and_intercept_count_in_every_class(tmp_path, sop_class):
    save_slice(tmp_path / "a.dcm", VALUES[0], FRAME[:3], RescaleSlope="0.25", RescaleIntercept=-3)
    edited(tmp_path / "a.dcm", SOPClassUID=sop_class, RescaleType="US", WindowCenter=40, WindowWidth=2)
    np.testing.assert_array_equal(pixels(tmp_path / "a.dcm"), 0.25 * VALUES[0] - 3)


@pytest.mark.parametrize(
    ("elements", "match"),
    [
        ({"RescaleSlope": 0}, "Rescale Slope is 0 and Rescale Intercept -1024"),
        ({"RescaleSlope": "1e999"}, "Rescale Slope is inf"),
    ],
)
def test_values_that_cannot_be_told(tmp_path, elements, match):
    save_slice(tmp_path / "a.dcm", LABELS, FRAME[:3], **elements)
    with pytest.raises(DataError, match=match):
        read_image(tmp_path / "a.dcm")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.dcm")[0][0], LABELS)


def test_a_table_of_values_is_refused(tmp_path):
    table = pydicom.Dataset()
    table.add_new(0x00283002, "US", [4, 0, 16])
    table.add_new(0x00283004, "LO", "OD")
    table.add_new(0x00283006, "US", [0, 10, 30, 90])
    path = tmp_path / "a.dcm"
    save_slice(path, LABELS, FRAME[:3], RescaleSlope=None, RescaleIntercept=None)
    edited(path, ModalityLUTSequence=Sequence([table]))
    with pytest.raises(DataError, match="table .Modality LUT"):
        read_image(path)
    np.testing.assert_array_equal(read_mask(path)[0][0], LABELS)
    edited(path, ModalityLUTSequence=Sequence([]))
    np.testing.assert_array_equal(pixels(path), LABELS)


def test_padding_stays_an_image_value(tmp_path):
    save_slice(tmp_path / "a.dcm", VALUES[0], FRAME[:3], PixelPaddingValue=int(VALUES[0, 0, 0]))
    np.testing.assert_array_equal(pixels(tmp_path / "a.dcm"), VALUES[0] - 1024.0)


def test_a_mapping_to_real_world_values_is_not_applied(tmp_path):
    mapping = pydicom.Dataset()
    mapping.RealWorldValueIntercept, mapping.RealWorldValueSlope = -5.0, 10.0
    save_slice(tmp_path / "a.dcm", VALUES[0], FRAME[:3], RescaleSlope=None, RescaleIntercept=None)
    edited(tmp_path / "a.dcm", SOPClassUID=MR, RealWorldValueMappingSequence=Sequence([mapping]))
    np.testing.assert_array_equal(pixels(tmp_path / "a.dcm"), VALUES[0])


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize(
    "said", [{"PhotometricInterpretation": "MONOCHROME1"}, {"PresentationLUTShape": "INVERSE"}]
)
def test_where_low_is_white_an_image_is_turned_once_and_a_mask_never(tmp_path, bits, signed, said):
    elements = {"BitsStored": bits, "HighBit": bits - 1, "PixelRepresentation": signed, **said}
    save_slice(tmp_path / "a.dcm", LABELS, FRAME[:3], RescaleIntercept=0, **elements)
    edited(tmp_path / "a.dcm", PresentationLUTShape="INVERSE")
    np.testing.assert_array_equal(
        pixels(tmp_path / "a.dcm"), (-1 if signed else 2**bits - 1) - LABELS.astype(int)
    )
    np.testing.assert_array_equal(read_mask(tmp_path / "a.dcm")[0][0], LABELS)


@pytest.mark.parametrize(
    ("bits", "vr", "stored"),
    [(16, "OW", ">u2"), (8, "OB", "u1"), (8, "OW", "words"), (32, "OW", "words")],
)
def test_big_endian(tmp_path, bits, vr, stored):
    """A value of type OW is a row of 16-bit words, whatever lies in them (PS3.5 annex A.3)."""
    path, values = tmp_path / "a.dcm", VALUES[:2].reshape(9, 14) & (255 if bits == 8 else 0x7FFF)
    save_slice(path, values, FRAME[:3], RescaleIntercept=0)
    file = pydicom.dcmread(path)
    if stored == "words":
        data = np.frombuffer(values.astype(f"<u{bits // 8}").tobytes(), "<u2").astype(">u2").tobytes()
    else:
        data = values.astype(stored).tobytes()
    file.file_meta.TransferSyntaxUID, file.PixelData = ExplicitVRBigEndian, data
    file["PixelData"].VR, file.PixelRepresentation = vr, 0
    file.BitsAllocated, file.BitsStored, file.HighBit = bits, bits, bits - 1
    pydicom.dcmwrite(path, file, implicit_vr=False, little_endian=False, force_encoding=True)
    np.testing.assert_array_equal(pixels(path), values)


def test_rle_in_colour(tmp_path):
    save_slice(tmp_path / "a.dcm", RGB, FRAME[:3], pack=RLELossless)
    np.testing.assert_array_equal(read_image(tmp_path / "a.dcm").values[0], RGB)
    refused(edited(tmp_path / "a.dcm", PhotometricInterpretation="YBR_FULL"), "YBR_FULL")


def test_floating_point_pixels_are_refused_by_name(tmp_path):
    path = tmp_path / "a.dcm"
    save_slice(path, VALUES[0], FRAME[:3])
    for tag, vr, kind, bits in ((0x7FE00008, "OF", "<f4", 32), (0x7FE00009, "OD", "<f8", 64)):
        file = pydicom.dcmread(path)
        del file.PixelData
        file.add_new(tag, vr, VALUES[0].astype(kind).tobytes())
        file.BitsAllocated = bits
        file.save_as(tmp_path / "b.dcm")
        refused(tmp_path / "b.dcm", "floating point numbers", "PFS-204")


def test_an_enhanced_class_of_one_frame_is_refused(tmp_path):
    """Its place and its slope stand in its functional groups."""
    save_slice(tmp_path / "a.dcm", VALUES[0], FRAME[:3], ImagePositionPatient=None, PixelSpacing=None)
    edited(tmp_path / "a.dcm", SharedFunctionalGroupsSequence=Sequence([pydicom.Dataset()]))
    refused(tmp_path / "a.dcm", "enhanced class")


def test_a_mask_is_its_stored_numbers(tmp_path):
    """Of a secondary capture with whatever a scanner adds, of a palette, and series of them."""
    said = {"PhotometricInterpretation": "MONOCHROME1", "RescaleSlope": 2, "RescaleIntercept": -1024}
    save_slice(tmp_path / "a.dcm", LABELS, FRAME[:3], **said, **UNSIGNED)
    edited(tmp_path / "a.dcm", SOPClassUID=CAPTURE)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.dcm")[0][0], LABELS)
    path = tmp_path / "b.dcm"
    save_slice(path, LABELS, FRAME[:3], PhotometricInterpretation="PALETTE COLOR", **UNSIGNED)
    np.testing.assert_array_equal(read_mask(path)[0][0], LABELS)
    assert read_grid(path).shape == (1, 9, 7)
    with pytest.raises(DataError, match="PALETTE COLOR"):
        read_image(path)
    folder = write_placed(tmp_path / "p1", **said)
    for name in folder.iterdir():
        edited(name, PixelData=LABELS.tobytes())
    np.testing.assert_array_equal(read_mask(folder)[0], np.broadcast_to(LABELS, (6, 9, 7)))


def test_labels_that_float32_does_not_hold_are_refused(tmp_path):
    save_slice(tmp_path / "a.dcm", VALUES[0], FRAME[:3], PixelRepresentation=0)
    data = (LABELS.astype(int) + 2**24).astype("<u4").tobytes()
    edited(tmp_path / "a.dcm", BitsAllocated=32, BitsStored=32, HighBit=31, PixelData=data)
    mask_refused(tmp_path / "a.dcm", "beyond 16777216")


@pytest.mark.parametrize("syntax", ["90", "91"])
def test_jpeg_2000_is_read_and_a_mask_by_the_reversible_wavelet(tmp_path, syntax):
    uid = f"1.2.840.10008.1.2.4.{syntax}"
    path = compressed(tmp_path / "a.dcm", RAMP, uid, **UNSIGNED, RescaleSlope=2)
    np.testing.assert_array_equal(pixels(path), 2.0 * RAMP - 1024)
    np.testing.assert_array_equal(read_mask(path)[0][0], RAMP)
    lossy = {"irreversible": True, "quality_layers": [5]}
    path = compressed(tmp_path / "b.dcm", RAMP, uid, options=lossy, **UNSIGNED)
    assert np.abs(pixels(path) - (RAMP - 1024.0)).max() <= 8  # an image may be lossy
    mask_refused(path, "compressed with loss")


def test_a_jpeg_stream_that_contradicts_its_header_is_refused(tmp_path):
    large = RAMP * 18  # to above 2**15
    for elements, options in (({"BitsStored": 12, "HighBit": 11}, {}), ({}, {"signed": True})):
        path = compressed(tmp_path / "a.dcm", large, options=options, **elements, **UNSIGNED)
        with pytest.raises(DataError, match="compressed image does not fit its header"):
            read_image(path)
    path = compressed(tmp_path / "a.dcm", RAMP, options={"signed": True}, **UNSIGNED)
    np.testing.assert_array_equal(pixels(path), RAMP - 1024.0)
    path = compressed(tmp_path / "a.dcm", large, PixelRepresentation=1)  # common: the header is right
    np.testing.assert_array_equal(pixels(path), large.astype(np.int16) - 1024.0)


@pytest.mark.parametrize("photometric", ["YBR_FULL", "YBR_FULL_422", "RGB"])
def test_colour_jpeg(tmp_path, photometric):
    options = {
        "quality": 98,
        "subsampling": int(photometric == "YBR_FULL_422"),
        "keep_rgb": photometric == "RGB",
    }
    path = compressed(
        tmp_path / "a.dcm",
        RGB,
        "1.2.840.10008.1.2.4.50",
        True,
        options,
        PhotometricInterpretation=photometric,
    )
    assert np.abs(read_image(path).values[0] - RGB).max() <= 12
    mask_refused(path, "compressed with loss")


@pytest.mark.parametrize("syntax", ["50", "51", "70"])
def test_a_jpeg_mask_is_refused_by_what_is_in_it(tmp_path, syntax):
    """Also where its syntax promises the lossless process."""
    grey = (RAMP // 20).astype(np.uint8)
    path = compressed(tmp_path / "a.dcm", grey, f"1.2.840.10008.1.2.4.{syntax}", jpeg=True, **BYTES)
    mask_refused(path, "compressed with loss, which blurs the values of a mask")


def test_a_mask_that_was_once_lossy_is_refused(tmp_path):
    save_slice(tmp_path / "a.dcm", LABELS, FRAME[:3], LossyImageCompression="01")
    mask_refused(tmp_path / "a.dcm", r"once been compressed with loss")
    edited(tmp_path / "a.dcm", LossyImageCompression="00")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.dcm")[0][0], LABELS)


@pytest.mark.parametrize(("near", "lossy"), [(0, False), (3, True)])
def test_jpeg_ls_loses_what_near_says(tmp_path, near, lossy):
    frame = b"\xff\xf7\0\x0b\x08\0\x09\0\x07\x01\x01\x11\0"
    scan = b"\xff\xda\0\x08\x01\x01\0" + bytes([near]) + b"\0\0"
    values = {"transfer_syntax": b"1.2.840.10008.1.2.4.81"}
    header = Header(tmp_path / "a.dcm", values, fragments=(b"\xff\xd8" + frame + scan + b"\0\xff\xd9",))
    assert bool(loss(header)) == lossy


def published(name):
    """A file that comes with pydicom."""
    return Path(get_testdata_file(name, download=False))


@pytest.mark.parametrize(
    "kind", ["", "_RLE", "_bigendian", "_expb", "_implicit", "_jp2klossless", "_jpeg_ls_lossless"]
)
def test_one_scanner_s_slice_in_every_syntax(kind):
    expected = pydicom.dcmread(published("MR_small.dcm")).pixel_array
    path = published(f"MR_small{kind}.dcm")
    np.testing.assert_array_equal(pixels(path), expected)
    np.testing.assert_array_equal(read_mask(path)[0][0], expected)


@pytest.mark.parametrize(
    "name", ["JPEGLSNearLossless_16.dcm", "JPGExtended.dcm", "JPEG2000.dcm", "SC_rgb_jls_lossy_line.dcm"]
)
def test_published_lossy_files_are_images_and_no_masks(name):
    assert np.ptp(read_image(published(name)).values) > 100
    with pytest.raises(DataError, match="compressed with loss"):
        read_mask(published(name))


def test_a_published_jpeg_2000_whose_stream_has_no_sign():
    """Its header has one, and air is -2000."""
    values = pixels(published("J2K_pixelrep_mismatch.dcm"))
    assert (values.min(), values.max()) == (-2000, 1896)
