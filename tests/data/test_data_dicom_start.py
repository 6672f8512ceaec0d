"""Files that begin as DICOM, with or without preamble and file meta, and files that do not."""

import logging
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import VALUES, refused, write_placed
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.volume_files import FORMATS, FRAME, save_slice
from pfedsam_flower.data.readers import is_case_path, read_image
from pfedsam_flower.data.readers.dicom_start import HEAD, is_dicom, start_of

IMPLICIT, EXPLICIT, BIG = (f"1.2.840.10008.1.2{end}" for end in ("", ".1", ".2"))


def bare(path: Path, syntax: str) -> bytes:
    """The data set of a file alone, as it goes over the network."""
    file = pydicom.dcmread(path)
    del file.file_meta
    encoding = {"implicit_vr": syntax == IMPLICIT, "little_endian": syntax != BIG}
    pydicom.dcmwrite(path, file, **encoding, force_encoding=True)
    whole = path.read_bytes()
    return whole[132:] if whole[128:132] == b"DICM" else whole


def old_export(path: Path) -> None:
    """As ACR-NEMA 2.0 wrote: group lengths, a recognition code, no UID, nothing of what DICOM added."""
    file = pydicom.dcmread(path)
    for name in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        delattr(file, name)
    file.add_new(0x00080000, "UL", 100)
    file.add_new(0x00080001, "UL", 1000)
    file.add_new(0x00080010, "SH", "ACR-NEMA 2.0")
    file.save_as(path)
    path.write_bytes(bare(path, IMPLICIT))


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG])
def test_a_data_set_alone_is_read(tmp_path, syntax):
    path = tmp_path / "a.dcm"
    save_slice(path, VALUES[0], FRAME[:3])
    order = ">i2" if syntax == BIG else "<i2"
    file = pydicom.dcmread(path)
    file.PixelData = VALUES[0].astype(order).tobytes()
    file.save_as(path)
    path.write_bytes(bare(path, syntax))
    assert is_dicom(path)
    np.testing.assert_array_equal(read_image(path).values[0, ..., 0], VALUES[0] - 1024.0)


@pytest.mark.parametrize("kept", [128, 132])
def test_file_meta_without_preamble_is_read(tmp_path, kept):
    path = tmp_path / "IM000001"
    save_slice(path, VALUES[0], FRAME[:3], syntax=IMPLICIT)
    path.write_bytes(path.read_bytes()[kept:])
    assert is_case_path(tmp_path)
    np.testing.assert_array_equal(read_image(tmp_path).values[0, ..., 0], VALUES[0] - 1024.0)


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT])
def test_file_meta_that_does_not_say_the_transfer_syntax(tmp_path, syntax):
    path = tmp_path / "a.dcm"
    save_slice(path, VALUES[0], FRAME[:3], syntax=syntax)
    whole, tag = path.read_bytes(), b"\x02\0\x10\0UI"
    at = whole.index(tag)
    end = at + 8 + whole[at + 6]
    path.write_bytes(whole[:at] + whole[end:])
    np.testing.assert_array_equal(read_image(path).values[0, ..., 0], VALUES[0] - 1024.0)
    path.write_bytes(whole[:at] + b"\x10\0" + whole[end:])
    refused(path, "does not say its Transfer Syntax UID", "PFS-204")


def test_an_old_export_is_read(tmp_path):
    save_slice(tmp_path / "a.dcm", VALUES[0], FRAME[:3])
    old_export(tmp_path / "a.dcm")
    np.testing.assert_array_equal(read_image(tmp_path / "a.dcm").values[0, ..., 0], VALUES[0] - 1024.0)


def test_a_series_of_bare_data_sets_is_a_volume(tmp_path):
    folder = write_placed(tmp_path / "p1")
    for path in sorted(folder.iterdir()):
        path.write_bytes(bare(path, IMPLICIT))
        path.rename(path.with_suffix(".raw"))
    assert is_case_path(folder)
    np.testing.assert_array_equal(read_image(folder).values[..., 0], VALUES - 1024.0)


def test_bare_data_sets_are_refused_where_they_leave_something_open(tmp_path):
    path = tmp_path / "a.dcm"
    save_slice(path, VALUES[0], FRAME[:3], pack="1.2.840.10008.1.2.5")
    path.write_bytes(bare(path, EXPLICIT))
    refused(path, "compressed, and it does not say how", "PFS-204")
    save_slice(path, VALUES[0], FRAME[:3], PhotometricInterpretation=None)
    path.write_bytes(bare(path, IMPLICIT))
    refused(path, r"colours are stored as \(not said\)")
    save_slice(path, VALUES[0], FRAME[:3])
    path.write_bytes(bare(path, IMPLICIT)[:-9])
    refused(path, "cut or damaged", "PFS-204")


@given(st.binary(max_size=HEAD))
def test_random_bytes_are_not_dicom(data):
    assert (start_of(data) is not None) == (data[128:132] == b"DICM")


@given(
    st.sampled_from("uif"), st.sampled_from([1, 2, 4]), st.lists(st.integers(0, 40), min_size=8, max_size=200)
)
def test_arrays_of_small_numbers_are_not_dicom(kind, size, numbers):
    """Voxels of a label map, as an .raw or .img file begins."""
    array = np.array([8, *numbers]).astype(f"<{kind}{size}" if kind != "f" else "<f4")
    assert start_of(array.tobytes()) is None
    assert start_of(array.byteswap().tobytes()) is None


def test_other_formats_are_not_dicom(tmp_path, caplog):
    rng = np.random.default_rng(0)
    for name, write in FORMATS.items():
        if name.startswith("dicom"):
            continue
        with caplog.at_level(logging.INFO):
            for path in write(tmp_path, "a", VALUES, rng).files:
                assert not is_dicom(path), path.name
    for name, text in (("a.txt", b"\x08\0"), ("b.json", b"{}"), ("c.csv", b"image,mask\n" * 99), ("d", b"")):
        (tmp_path / name).write_bytes(text)
        assert not is_dicom(tmp_path / name)
    assert not is_case_path(tmp_path)
