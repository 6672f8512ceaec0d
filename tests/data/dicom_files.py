"""The smallest DICOM series that is a volume, for tests of what lies around it."""

from pathlib import Path

import numpy as np
import pydicom


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
