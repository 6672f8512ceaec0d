"""What is written lies on the image: its format, its unit, and nothing said that the image does not say."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from pfedsam_flower.data.pixels import Grid
from pfedsam_flower.data.readers import read_grid, read_mask, suffix_of
from pfedsam_flower.prediction.writer import write_case

VALUES = np.arange(24, dtype="<u2").reshape(2, 3, 4)
SPACE = "space: left-posterior-superior\n"
NRRDS = {
    "unit": SPACE
    + 'space directions: (0.38,0,0) (0,0.38,0) (0,0,2)\nspace origin: (1,2,3)\nspace units: "um" "um" "um"',
    "minimums": "spacings: 0.5 0.5 2\naxis mins: 10 20 30",
    "minimums in microns": 'spacings: 0.5 0.5 2\naxis mins: 10 20 30\nunits: "um" "um" "um"',
    "origin": SPACE + "space origin: (1,2,3)",
    "spacings": "spacings: 0.5 0.5 2",
}
METAIMAGES = {
    "unit": "TransformMatrix = 0 1 0 -1 0 0 0 0 1\nOffset = 1 2 3\nDistanceUnits = um\n"
    "ElementSpacing = 0.38 0.38 2",
    "offset": "Offset = 1 2 3\nElementSpacing = 0.5 0.5 2",
    "offset in cm": "Offset = 1 2 3\nElementSpacing = 0.5 0.5 2\nDistanceUnits = cm",
    "offset alone": "Offset = 1 2 3",
    "matrix alone": "TransformMatrix = 0 1 0 -1 0 0 0 0 1",
    "negative": "TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 1 2 3\nElementSpacing = 0.5 0.5 -2",
}


def nrrd(path: Path, lines: str) -> Path:
    head = "NRRD0005\ntype: uint16\ndimension: 3\nsizes: 4 3 2\nendian: little\nencoding: raw\n"
    path.write_bytes(f"{head}{lines}\n\n".encode() + VALUES.tobytes())
    return path


def metaimage(path: Path, lines: str) -> Path:
    head = f"ObjectType = Image\nNDims = 3\nBinaryData = True\n{lines}\nDimSize = 4 3 2\n"
    path.write_bytes(f"{head}ElementType = MET_USHORT\nElementDataFile = LOCAL\n".encode() + VALUES.tobytes())
    return path


def answered(image: Path) -> Path:
    masks = (VALUES % 3 == 0)[None]
    grid = read_grid(image)
    [path] = write_case(image.parent / "out", "a", ["lesion"], grid, masks, like=suffix_of(image))
    mask, again = read_mask(path)
    assert np.array_equal(mask, masks[0])
    assert (again.unit, again.shape) == (grid.unit, grid.shape)
    for ours, theirs in ((again.spacing_mm, grid.spacing_mm), (again.frame, grid.frame)):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            assert ours == pytest.approx(theirs, rel=1e-12)
    return path


@pytest.mark.parametrize("name", NRRDS)
def test_an_nrrd_is_answered_in_its_own_place_and_unit(tmp_path, name):
    image = nrrd(tmp_path / "a.nrrd", NRRDS[name])
    overlaid(image, answered(image))


@pytest.mark.parametrize("name", METAIMAGES)
def test_a_metaimage_is_answered_in_its_own_place_and_unit(tmp_path, name):
    image = metaimage(tmp_path / "a.mha", METAIMAGES[name])
    mask = answered(image)
    overlaid(image, mask)
    assert (b"DistanceUnits" in mask.read_bytes()) == ("DistanceUnits" in METAIMAGES[name])


def overlaid(image: Path, mask: Path) -> None:
    """Another reader, which looks at no units, has both at one place."""
    one, other = sitk.ReadImage(image), sitk.ReadImage(mask)
    for corner in ((0, 0, 0), (3, 2, 1)):
        theirs, ours = one.TransformIndexToPhysicalPoint(corner), other.TransformIndexToPhysicalPoint(corner)
        assert ours == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize("unit", ["meter", "mm", "micron"])
def test_a_nifti_is_answered_in_its_unit(tmp_path, unit):
    affine = np.diag((-0.4, -0.4, 2, 1))
    affine[:3, 3] = (100, 200, 300)
    image = nibabel.Nifti1Image(VALUES.astype(np.int16).T, affine)
    image.header.set_xyzt_units(unit)
    nibabel.save(image, tmp_path / "a.nii.gz")
    grid = read_grid(tmp_path / "a.nii.gz")
    [path] = write_case(tmp_path / "out", "a", ["lesion"], grid, (VALUES > 5)[None], like=".nii.gz")
    mask = nibabel.load(path)
    assert mask.header.get_xyzt_units()[0] == unit
    assert np.allclose(mask.affine, affine, rtol=1e-6, atol=1e-4)
    assert read_grid(path).difference(grid) == ""


def test_a_picture_stays_a_picture(tmp_path):
    [path] = write_case(tmp_path, "a", ["lesion"], Grid((1, 3, 4)), np.zeros((1, 1, 3, 4), bool), like=".png")
    assert path.name == "a.png"
