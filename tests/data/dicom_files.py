"""DICOM files and series for tests: the smallest volume, slices at any place, and how they are refused."""

from pathlib import Path

import numpy as np
import pydicom
import pytest

from benchmarks.volume_files import FRAME, SPACING, save_slice
from pfedsam_flower.data.readers import read_grid, read_image
from pfedsam_flower.errors import DataError

DIRECTIONS = np.reshape(FRAME[3:], (3, 3))
VALUES = np.random.default_rng(0).integers(-500, 1500, (6, 9, 7)).astype(np.int16)


def write_series(folder: Path, values: np.ndarray, description: str = "t2") -> str:
    """One file per slice of uint16 [D, H, W], 3 mm apart; the series' UID."""
    folder.mkdir(parents=True, exist_ok=True)
    series, study = pydicom.uid.generate_uid(), pydicom.uid.generate_uid()
    for place, plane in enumerate(values):
        meta = pydicom.dataset.FileMetaDataset()
        meta.MediaStorageSOPClassUID = pydicom.uid.MRImageStorage
        meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        one = pydicom.dataset.FileDataset("", {}, file_meta=meta, preamble=bytes(128))
        one.SOPClassUID, one.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        one.StudyInstanceUID, one.SeriesInstanceUID = study, series
        one.Modality, one.SeriesDescription, one.InstanceNumber = "MR", description, place + 1
        one.ImagePositionPatient, one.ImageOrientationPatient = [0, 0, 3 * place], [1, 0, 0, 0, 1, 0]
        one.PixelSpacing = [0.5, 0.5]
        one.Rows, one.Columns = plane.shape
        one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
        one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 16, 15, 0
        one.PixelData = plane.astype("<u2").tobytes()
        one.save_as(folder / f"{description}-{place}", enforce_file_format=True)
    return str(series)


def write_placed(
    folder: Path, places: object = None, uid: str = "1.2.3.4", name: str = "s", **elements: object
) -> Path:
    """Slices at ``places`` (steps along the normal, or vectors in mm), names in another order; the folder.

    ``uid`` may hold {}: then each file is a series of its own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for k, place in enumerate(range(6) if places is None else places):
        along = SPACING[0] * float(place) * DIRECTIONS[:, 2] if np.isscalar(place) else np.array(place)
        path, position = folder / f"{name}{(7 * k) % 11}.dcm", np.array(FRAME[:3]) + along
        save_slice(path, VALUES[k % 6], position, series=uid.format(k), number=k + 1, **elements)
    return folder


def refused(path: Path, match: str, code: str = "PFS-207") -> DataError:
    """The error with which an image is refused, as its grid is."""
    with pytest.raises(DataError, match=match) as caught:
        read_image(path)
    assert caught.value.code == code
    assert len(caught.value.message.splitlines()) == 1
    with pytest.raises(DataError, match=match):
        read_grid(path)
    return caught.value
