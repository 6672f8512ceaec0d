"""Small good files of every format that is read, written by pydicom, nibabel, Pillow and SimpleITK."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import SimpleITK as sitk
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRBigEndian, ExplicitVRLittleEndian, generate_uid

SPACING = (2.5, 0.75, 0.5)  # z, y, x
_TURN = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
_TILT = np.array([[1.0, 0.0, 0.0], [0.0, 0.96, -0.28], [0.0, 0.28, 0.96]])
FRAME = (-20.0, 30.5, 7.25, *(_TURN @ _TILT).ravel().tolist())  # origin, directions: oblique, right-handed


@dataclass(frozen=True)
class Written:
    """``path`` is what a reader is given, ``files`` are all files behind it, its header first."""

    path: Path
    files: tuple[Path, ...]


Writer = Callable[[Path, str, np.ndarray, np.random.Generator], Written]


def picture(suffix: str, **options: object) -> Writer:
    """The first slice by Pillow: 8 bits in JPEG and BMP, 16 in PNG, the values as they are in TIFF."""

    def write(folder: Path, name: str, values: np.ndarray, rng: np.random.Generator) -> Written:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.{suffix}"
        kind = {"jpg": np.uint8, "bmp": np.uint8, "tif": np.float32}.get(suffix, np.uint16)
        plain = np.clip(values[0], 0, 250) if kind == np.uint8 else values[0]
        Image.fromarray((plain if suffix == "tif" else np.abs(plain)).astype(kind)).save(path, **options)
        return Written(path, (path,))

    return write


def nifti(suffix: str) -> Writer:
    """By nibabel, whose axes point right, front and head where ours point left, back and head."""

    def write(folder: Path, name: str, values: np.ndarray, rng: np.random.Generator) -> Written:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.{suffix}"
        affine = np.eye(4)
        affine[:3, :3] = np.reshape(FRAME[3:], (3, 3)) @ np.diag(SPACING[::-1])
        affine[:3, 3] = FRAME[:3]
        image = nibabel.Nifti1Image(np.ascontiguousarray(values.T), np.diag((-1, -1, 1, 1)) @ affine)
        image.set_qform(image.affine, 1)
        nibabel.save(image, path)
        return Written(path, (path,))

    return write


def volume(suffix: str, detached: str = "", compress: bool = False) -> Writer:
    """By SimpleITK; ``detached`` is the suffix of the file with the voxels."""

    def write(folder: Path, name: str, values: np.ndarray, rng: np.random.Generator) -> Written:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.{suffix}"
        image = sitk.GetImageFromArray(values)
        image.SetSpacing(SPACING[::-1])
        image.SetOrigin(FRAME[:3])
        image.SetDirection(FRAME[3:])
        sitk.WriteImage(image, str(path), compress)
        return Written(path, (path, *([folder / f"{name}.{detached}"] if detached else [])))

    return write


def dicom(syntax: str = ExplicitVRLittleEndian, whole: bool = False, pack: str = "") -> Writer:
    """By pydicom: the first slice as one file, or a series in shuffled files without order in their names."""

    def write(folder: Path, name: str, values: np.ndarray, rng: np.random.Generator) -> Written:
        if not whole:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{name}.dcm"
            save_slice(path, values[0], FRAME[:3], syntax=syntax, pack=pack)
            return Written(path, (path,))
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        names = rng.permutation(len(values))
        uid = generate_uid(entropy_srcs=[name])
        paths = [place / f"IM{names[k]}.dcm" for k in range(len(values))]
        for k, path in enumerate(paths):
            position = np.array(FRAME[:3]) + k * SPACING[0] * np.reshape(FRAME[3:], (3, 3))[:, 2]
            number = int(names[k]) + 1
            save_slice(path, values[k], position, series=uid, syntax=syntax, pack=pack, number=number)
        return Written(place, tuple(paths))

    return write


def save_slice(
    path: Path,
    values: np.ndarray,
    position: object,
    *,
    series: str = "1.2.3",
    syntax: str = ExplicitVRLittleEndian,
    pack: str = "",
    number: int = 1,
    **attributes: object,
) -> None:
    """One CT slice (int16, or uint8 [H, W, 3]); ``attributes`` replace elements, None removes one."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[series, str(number), str(path)])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian if pack else syntax
    data = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    directions = np.reshape(FRAME[3:], (3, 3))
    colour = values.ndim == 3
    values = values if colour else values.astype(np.int16)
    data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    data.SeriesInstanceUID, data.StudyInstanceUID, data.Modality = series, "1.2", "CT"
    data.SeriesDescription, data.InstanceNumber = "head", number
    data.ImagePositionPatient = [f"{p:.6f}" for p in position]  # type: ignore[attr-defined]
    data.ImageOrientationPatient = [f"{c:.8f}" for c in (*directions[:, 0], *directions[:, 1])]
    data.PixelSpacing, data.SliceThickness = [SPACING[1], SPACING[2]], SPACING[0]
    data.Rows, data.Columns, data.SamplesPerPixel = values.shape[0], values.shape[1], 3 if colour else 1
    data.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = values.dtype.itemsize * 8
    data.HighBit, data.PixelRepresentation = data.BitsStored - 1, 0 if colour else 1
    if colour:
        data.PlanarConfiguration = 0
    else:
        data.RescaleIntercept, data.RescaleSlope = -1024, 1
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    data.PixelData = values.astype(values.dtype.newbyteorder(order)).tobytes()
    data["PixelData"].VR = "OB" if colour else "OW"
    for name, value in attributes.items():
        if value is None:
            delattr(data, name)
        else:
            setattr(data, name, value)
    if pack:
        data.compress(pack)
    data.save_as(path, enforce_file_format=True)


FORMATS: dict[str, Writer] = {
    "png": picture("png"),
    "tif": picture("tif"),
    "jpg": picture("jpg"),
    "bmp": picture("bmp"),
    "nii": nifti("nii"),
    "nii.gz": nifti("nii.gz"),
    "nrrd": volume("nrrd"),
    "nrrd gzip": volume("nrrd", compress=True),
    "nhdr": volume("nhdr", "raw"),
    "mha": volume("mha"),
    "mha zlib": volume("mha", compress=True),
    "mhd": volume("mhd", "raw"),
    "dicom": dicom(),
    "dicom implicit": dicom(pydicom.uid.ImplicitVRLittleEndian),
    "dicom deflated": dicom(pydicom.uid.DeflatedExplicitVRLittleEndian),
    "dicom rle": dicom(pack=pydicom.uid.RLELossless),
    "dicom series": dicom(whole=True),
}
VOLUMES = tuple(name for name in FORMATS if name.startswith(("n", "m")) or name == "dicom series")
