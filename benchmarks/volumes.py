"""Real files of every format: is each read as SimpleITK and an independent reader see it, or refused?

    .venv/bin/python -m benchmarks.volumes --volumes FOLDER

FOLDER holds files, and folders with one DICOM series or with single DICOM files; those named ``hard_…`` are
awkward on purpose. What is read is compared with SimpleITK used directly and with nibabel, pydicom, tifffile,
Pillow or numpy (values, spacing, origin and directions of every voxel axis). A row per item; non-zero exit
when a good item is refused or anything that is read differs from either.

A hard item may be read where nothing about it is ambiguous, for example two slices, or a float TIFF. Where it
is refused the row says why. Comparisons are to 1e-5 of the largest value, 1e-6 of a spacing, 1e-5 in
direction cosines and 1e-3 mm in the origin. pydicom decodes JPEG-LS and 12-bit JPEG with pylibjpeg alone;
without it the row says that only the geometry was compared.
"""

import argparse
import collections
import gzip
import logging
import re
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import SimpleITK as sitk
import tifffile
from PIL import Image
from pydicom.uid import JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless

from pfedsam_flower.data.pixels import Pixels
from pfedsam_flower.data.readers import is_case_path, read_grid, read_image, series_in
from pfedsam_flower.errors import PfedsamError

LOSSY = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless)
# Awkward, yet there is one way to read them.
READABLE = {
    "hard_two_slices_ct": "two slices have a distance",
    "hard_ct_float32.tif": "negative and fractional values are kept",
    "hard_no_orientation.nii.gz": "read without a frame, with a warning",
    "hard_rgb_jpeg2000": "a regular colour series: three channels",
    "hard_bigendian_rgb_us.dcm": "one colour picture",
    "hard_monochrome1_dx.dcm": "turned, so that low is dark",
    "hard_mixed_series_no_extension#": "a series of one slice",
}
# Not called hard, and rightly refused.
REFUSED = {
    "dicom_ct_with_seg/ct": "a gap of 202 mm after the first slice",
    "dicom_ct_with_seg/seg_": "segments, not slices",
}


@dataclass(frozen=True)
class Seen:
    """What another reader saw: values [D, H, W, C], and (spacing x y z, origin, directions) or None.

    ``slack``: by how much values may differ, 1 where a lossy JPEG was decoded (its rounding is free).
    """

    values: np.ndarray | None
    place: np.ndarray | None
    slack: float = 0.0


def items(folder: Path) -> Iterator[Path]:
    """Files and series. A folder with several series gives itself and each of them when it is hard, else
    its files one by one.
    """
    for path in sorted(folder.iterdir()):
        if not path.is_dir():
            if is_case_path(path) and path.suffix != ".jpg":  # decoders differ in colours
                yield path
            continue
        uids = [one.uid for one in series_in(path)]
        if len(uids) == 1:
            yield path
        elif path.name.startswith("hard_"):
            yield from (path, *(Path(f"{path}#{uid}") for uid in uids))
        else:
            yield from items(path)


def by_simpleitk(path: Path) -> Seen:
    """SimpleITK alone; a series in the order in which GDCM sorts it."""
    folder, uid = _split(path)
    if folder.is_dir():
        names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid)
        image = sitk.ReadImage(names)
    else:
        image = sitk.ReadImage(str(path))
    array = sitk.GetArrayFromImage(image)
    n = image.GetNumberOfComponentsPerPixel()
    if image.GetDimension() == 2:
        return Seen(array.reshape(1, *array.shape[:2], n), None)
    place = [*image.GetSpacing(), *image.GetOrigin(), *image.GetDirection()]
    return Seen(array.reshape(*array.shape[:3], n), np.array(place))


def by_another(path: Path) -> tuple[str, Seen]:
    """nibabel, pydicom, tifffile or Pillow, and which; numpy for NRRD and MetaImage."""
    folder, uid = _split(path)
    if folder.is_dir() or path.suffix == ".dcm":
        return "pydicom", by_pydicom(folder, uid)
    if path.name.endswith((".nii", ".nii.gz")):
        image = nibabel.load(path)
        affine = np.diag((-1, -1, 1, 1)) @ image.affine
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        place = np.concatenate([spacing, affine[:3, 3], (affine[:3, :3] / spacing).ravel()])
        codes = int(image.header["qform_code"]), int(image.header["sform_code"])
        return "nibabel", Seen(image.get_fdata().T[..., None], place if any(codes) else None)
    if path.suffix == ".tif":
        values = tifffile.imread(path)
        return "tifffile", Seen(values.reshape(-1, *values.shape[-2:], 1), None)
    if path.suffix == ".png":
        return "Pillow", Seen(np.asarray(Image.open(path))[None, ..., None], None)
    return "numpy", by_text_header(path)


def by_pydicom(path: Path, uid: str) -> Seen:
    """Slices in order of their position along the normal; rescaled; MONOCHROME1 turned."""
    files = [pydicom.dcmread(p) for p in (sorted(path.iterdir()) if path.is_dir() else [path])]
    files = [f for f in files if not uid or f.SeriesInstanceUID == uid]
    first, place = files[0], None
    if "ImagePositionPatient" in first:
        row, column = np.array(first.ImageOrientationPatient, float).reshape(2, 3)
        normal = np.cross(row, column)
        files.sort(key=lambda f: float(np.dot(f.ImagePositionPatient, normal)))
        ends = [np.array(f.ImagePositionPatient, float) for f in (files[0], files[-1])]
        gap = np.linalg.norm(ends[1] - ends[0]) / (len(files) - 1) if len(files) > 1 else 1.0
        if len(files) == 1:
            gap = float(first.get("SpacingBetweenSlices") or 1.0)
        dy, dx = (float(d) for d in first.PixelSpacing)
        place = np.array([dx, dy, gap, *ends[0], *np.stack([row, column, normal], axis=1).ravel()])
    try:
        slices = [_rescaled(f) for f in files]
    # what pydicom and its decoders raise for a file that they cannot decode: then only its place is compared
    except (NotImplementedError, RuntimeError, AttributeError, ValueError, ImportError) as error:
        print(f"    pydicom cannot decode {path.name}: {str(error).splitlines()[0][:90]}", file=sys.stderr)
        return Seen(None, place)
    values = np.stack(slices).reshape(len(files), first.Rows, first.Columns, -1)
    return Seen(values, place, float(first.file_meta.TransferSyntaxUID in LOSSY))


def _rescaled(file: pydicom.Dataset) -> np.ndarray:
    values = file.pixel_array.astype(np.float64)
    if file.PhotometricInterpretation == "MONOCHROME1":
        low = 0 if file.PixelRepresentation == 0 else -(2 ** (file.BitsStored - 1))
        values = 2 * low + 2**file.BitsStored - 1 - values
    return values * float(file.get("RescaleSlope", 1)) + float(file.get("RescaleIntercept", 0))


def by_text_header(path: Path) -> Seen:
    """NRRD and MetaImage by a few lines of text handling and numpy."""
    head = path.read_bytes()[:4096].decode("latin-1")
    pairs = (re.split(": | = ", line, maxsplit=1) for line in head.splitlines() if re.search(": | = ", line))
    fields = {key: value for key, value, *_ in pairs}
    if path.suffix in (".mha", ".mhd"):
        names = ("ElementSpacing", "Offset", "TransformMatrix")
        spacing, origin, flat = ([float(v) for v in fields[name].split()] for name in names)
        matrix, kind = np.reshape(flat, (3, 3)).T, {"MET_SHORT": "<i2"}[fields["ElementType"]]
        packed, name = fields.get("CompressedData") == "True", fields["ElementDataFile"]
        body = (
            path.read_bytes().split(b"LOCAL\n", 1)[1]
            if name == "LOCAL"
            else (path.parent / name).read_bytes()
        )
        values = np.frombuffer(zlib.decompress(body) if packed else body, kind)
        sizes = [int(n) for n in fields["DimSize"].split()]
    else:
        rows = [axis.strip("()").split(",") for axis in fields["space directions"].split()]
        axes = [np.array([float(v) for v in axis]) for axis in rows]
        sign = np.array([-1, -1, 1]) if fields["space"].startswith("right-ant") else np.ones(3)
        origin = sign * [float(v) for v in fields["space origin"].strip("()").split(",")]
        spacing = [float(np.linalg.norm(axis)) for axis in axes]
        matrix = np.stack([sign * axis / s for axis, s in zip(axes, spacing, strict=True)], axis=1)
        detached = fields.get("data file", fields.get("datafile"))
        body = (path.parent / detached).read_bytes() if detached else path.read_bytes().split(b"\n\n", 1)[1]
        letter = {"short": "i2", "int16": "i2", "unsigned char": "u1", "unsigned short": "u2", "uint16": "u2"}
        kind = (">" if fields.get("endian") == "big" else "<") + letter[fields["type"]]
        packed = fields["encoding"] in ("gzip", "gz")
        values = np.frombuffer(gzip.decompress(body) if packed else body, kind)
        sizes = [int(n) for n in fields["sizes"].split()]
    place = np.array([*spacing, *origin, *matrix.ravel()])
    return Seen(values.reshape(*sizes[::-1], 1), place)


def differs(pixels: Pixels, seen: Seen) -> str:
    """What another reader saw differently; empty when nothing."""
    if seen.values is not None:
        if seen.values.shape != pixels.values.shape:
            return f"shape {pixels.values.shape} here, {seen.values.shape} there"
        largest = max(1.0, float(np.abs(seen.values).max()))
        worst = float(np.abs(pixels.values - seen.values).max())
        if not worst <= max(1e-5 * largest, seen.slack):
            return f"values differ by up to {worst:g}"
    if seen.place is None or pixels.grid.spacing_mm is None:
        return ""
    if not np.allclose(pixels.grid.spacing_mm[::-1], seen.place[:3], rtol=1e-6):
        return f"spacing {pixels.grid.spacing_mm[::-1]} here, {seen.place[:3]} there"
    if pixels.grid.frame is None:
        return ""
    ours = np.array(pixels.grid.frame)
    if not np.allclose(ours[3:], seen.place[6:], atol=1e-5):
        return f"directions {ours[3:]} here, {seen.place[6:]} there"
    if not np.allclose(ours[:3], seen.place[3:6], atol=1e-3):
        return f"origin {ours[:3]} here, {seen.place[3:6]} there"
    return ""


def _split(path: Path) -> tuple[Path, str]:
    folder, _, uid = str(path).partition("#")
    return Path(folder), uid


def row(path: Path, name: str) -> tuple[str, str, str]:
    """(outcome, what was seen or why not, with whom it was compared)."""
    hard = name.startswith("hard_")
    try:
        pixels = read_image(path)
    except PfedsamError as error:
        expected = hard or name.startswith(tuple(REFUSED))
        return ("refused" if expected else "WRONG"), f"{error.code} {error.message}", ""
    if read_grid(path) != pixels.grid:
        return "WRONG", "the grid of the header is another", ""
    other, seen = by_another(path)
    for who, view in (("SimpleITK", by_simpleitk(path)), (other, seen)):
        if difference := differs(pixels, view):
            return "WRONG", f"{who}: {difference}", other
    spacing = pixels.grid.spacing_mm
    text = f"{pixels.values.shape} " + (" x ".join(f"{s:.4g}" for s in spacing) + " mm" if spacing else "")
    compared = f"SimpleITK, {other}" + ("" if seen.values is not None else " (geometry)")
    if not hard:
        return "ok", text, compared
    why = next((READABLE[key] for key in READABLE if name.startswith(key)), "")
    return ("ok" if why else "WRONG"), f"{text}: {why or 'should have been refused'}", compared


def main() -> None:
    """Prints a row per item and the counts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--volumes", type=Path, required=True)
    folder = parser.parse_args().volumes
    logging.disable(logging.WARNING)
    outcomes: collections.Counter[str] = collections.Counter()
    for path in items(folder):
        name = str(path.relative_to(folder))
        outcome, text, compared = row(path, name)
        outcomes[("hard " if name.startswith("hard_") else "good ") + outcome] += 1
        print(f"{outcome:7}  {name}  |  {text}" + (f"  |  {compared}" if compared else ""), flush=True)
    print(", ".join(f"{kind}: {n}" for kind, n in sorted(outcomes.items())))
    raise SystemExit(any("WRONG" in kind for kind in outcomes))


if __name__ == "__main__":
    main()
