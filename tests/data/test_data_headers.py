"""What the headers of NIfTI, NRRD and MetaImage say: lengths in mm, places, and what numbers mean."""

import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from pfedsam_flower.data.readers import read_grid, read_image, read_mask
from pfedsam_flower.errors import DataError

VALUES = np.arange(24, dtype="<u2").reshape(2, 3, 4)
IDENTITY = (1, 0, 0, 0, 1, 0, 0, 0, 1)
PLACE = """space: left-posterior-superior
space directions: (0.5,0,0) (0,0.5,0) (0,0,2)
space origin: (1,2,3)"""
MATRIX = "TransformMatrix = 1 0 0 0 1 0 0 0 1"


def nrrd(path: Path, lines: str, values: np.ndarray = VALUES, kind: str = "uint16") -> Path:
    sizes = " ".join(map(str, values.shape[::-1]))
    head = f"NRRD0005\ntype: {kind}\ndimension: {values.ndim}\nsizes: {sizes}\n"
    path.write_bytes(f"{head}endian: little\nencoding: raw\n{lines}\n\n".encode() + values.tobytes())
    return path


def metaimage(path: Path, lines: str, values: np.ndarray = VALUES) -> Path:
    head = "ObjectType = Image\nNDims = 3\nBinaryData = True\n"
    more = "DimSize = 4 3 2\nElementType = MET_USHORT\nElementDataFile = LOCAL\n"
    path.write_bytes(f"{head}{lines}\n{more}".encode() + values.tobytes())
    return path


def nifti(path: Path, *changes: tuple, values: np.ndarray | None = None, affine: object = None) -> Path:
    """With fields changed in the bytes: (form, offset, *numbers)."""
    array = VALUES.astype(np.int16) if values is None else values
    image = nibabel.Nifti1Image(array.T, np.diag((-0.5, -0.5, 2, 1)) if affine is None else affine)
    body = bytearray(image.to_bytes())
    for form, offset, *numbers in changes:
        struct.pack_into("<" + form, body, offset, *numbers)
    path.write_bytes(body)
    return path


def refused(path: Path, match: str, code: str = "PFS-204") -> None:
    """By the header, as an image and as a mask, in the same words."""
    for read in (read_grid, read_image, read_mask):
        with pytest.raises(DataError, match=match) as caught:
            read(path)
        assert caught.value.code == code


@pytest.mark.parametrize(
    ("word", "mm"),
    [("microns", 1e-3), ("um", 1e-3), ("µm", 1e-3), ("μm", 1e-3), ("Micrometres", 1e-3), ("mm", 1.0),
     ("millimeter", 1.0), ("cm", 10.0), ("m", 1000.0), ("nm", 1e-6), ("", 1.0)],
)  # fmt: skip
def test_nrrd_is_read_in_mm_whatever_its_unit(tmp_path, word, mm):
    path = nrrd(tmp_path / "a.nrrd", f'{PLACE}\nspace units: "{word}" "{word}" "{word}"')
    grid = read_image(path).grid
    assert grid.spacing_mm == pytest.approx((2 * mm, 0.5 * mm, 0.5 * mm), rel=1e-12)
    assert grid.frame == pytest.approx((1 * mm, 2 * mm, 3 * mm, *IDENTITY), rel=1e-12)
    assert read_grid(path) == grid
    path = nrrd(tmp_path / "b.nrrd", f'spacings: 0.5 0.5 2\nunits: "{word}" "{word}" "{word}"')
    assert read_image(path).spacing_mm == pytest.approx((2 * mm, 0.5 * mm, 0.5 * mm), rel=1e-12)


def test_nrrd_of_several_units_or_one_that_is_no_length_is_refused(tmp_path):
    path = nrrd(tmp_path / "a.nrrd", f'{PLACE}\nspace units: "mm" "mm" "um"')
    refused(path, "measures axes in mm and um")
    refused(nrrd(tmp_path / "b.nrrd", f'{PLACE}\nspace units: "mm" "mm" ""'), "measures in ''")
    refused(
        nrrd(tmp_path / "c.nrrd", f'{PLACE}\nspace units: "pixel" "pixel" "pixel"'), "measures in 'pixel'"
    )


@pytest.mark.parametrize(("word", "mm"), [("um", 1e-3), ("mm", 1.0), ("cm", 10.0), ("?", 1.0)])
def test_metaimage_is_read_in_mm_whatever_its_unit(tmp_path, word, mm):
    lines = f"DistanceUnits = {word}\nElementSpacing = 0.5 0.5 2\nOffset = 1 2 3\n{MATRIX}"
    path = metaimage(tmp_path / "a.mha", lines)
    grid = read_image(path).grid
    assert grid.spacing_mm == pytest.approx((2 * mm, 0.5 * mm, 0.5 * mm), rel=1e-12)
    assert grid.frame == pytest.approx((1 * mm, 2 * mm, 3 * mm, *IDENTITY), rel=1e-12)
    assert read_grid(path) == grid


def test_metaimage_of_another_unit_is_refused(tmp_path):
    refused(metaimage(tmp_path / "a.mha", "DistanceUnits = m\nElementSpacing = 1 1 1"), "measures in 'm'")


@pytest.mark.parametrize(("code", "mm"), [(0, 1.0), (1, 1000.0), (2, 1.0), (3, 1e-3), (3 | 8, 1e-3)])
@pytest.mark.parametrize("forms", [(1, 1), (1, 0), (0, 1), (0, 0)])
def test_nifti_is_read_in_mm_whatever_its_unit(tmp_path, code, mm, forms):
    affine = np.diag((-0.5, -0.5, 2.0, 1))
    affine[:3, 3] = (100, 200, 300)
    path = nifti(tmp_path / "a.nii", ("B", 123, code), ("2h", 252, *forms), affine=affine)
    grid = read_image(path).grid
    assert grid.spacing_mm == pytest.approx((2 * mm, 0.5 * mm, 0.5 * mm), rel=1e-6)
    if any(forms):
        assert grid.frame == pytest.approx((-100 * mm, -200 * mm, 300 * mm, *IDENTITY), rel=1e-6)
    assert read_grid(path) == grid


def test_nifti_of_an_unknown_unit_is_refused(tmp_path):
    refused(nifti(tmp_path / "a.nii", ("B", 123, 7)), "unit of length 7")


@pytest.mark.parametrize("forms", [(0, 2), (1, 1), (2, 1)])
def test_nifti_whose_voxel_sizes_contradict_its_sform_by_voxels_is_refused(tmp_path, forms):
    values = np.zeros((3, 256, 256), np.int16)
    affine = np.diag((-0.8, -0.8, 3, 1))
    codes = ("2h", 252, *forms)
    off = nifti(tmp_path / "a.nii", codes, ("2f", 80, 0.8072, 0.8072), values=values, affine=affine)
    refused(
        off, r"0.8 x 0.8 x 3 mm, its pixdim of 0.8072 x 0.8072 x 3 mm: they lie up to 2.27 voxels", "PFS-207"
    )
    rounded = nifti(tmp_path / "b.nii", codes, ("2f", 80, 0.8004, 0.8004), values=values, affine=affine)
    assert read_image(rounded).spacing_mm[1] == pytest.approx(0.8004)


def test_nifti_of_a_small_shear_is_refused_in_words(tmp_path):
    affine = np.diag((-0.5, -0.5, 2, 1.0))
    affine[0, 1] = 5e-4
    refused(nifti(tmp_path / "a.nii", ("2h", 252, 0, 1), affine=affine), "right angles", "PFS-207")


def test_nifti_turned_by_nearly_half_a_circle_agrees_with_itself(tmp_path, caplog):
    """The quaternion's real part is then what rounding left of it."""
    for angle in (1e-2, 1e-3, 3e-4, 1e-4, 1e-5, 0.0):
        turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
        affine = np.eye(4)
        affine[:3, :3] = turn @ np.diag((-0.5, -0.5, 0.5))
        for codes in ((1, 0), (1, 1)):
            nifti(
                tmp_path / "a.nii",
                ("2h", 252, *codes),
                values=np.zeros((40, 256, 256), np.int16),
                affine=affine,
            )
            read_grid(tmp_path / "a.nii")
    assert not caplog.text


@pytest.mark.parametrize(
    ("scale", "expected"),
    [((0, -1024), VALUES), ((np.nan, 5), VALUES), ((np.inf, 5), VALUES), ((-np.inf, 0), VALUES),
     ((1, 0), VALUES), ((-2, 10), 10 - 2.0 * VALUES), ((1, 0.5), VALUES + 0.5),
     ((1, 40000), VALUES + 40000.0)],
)  # fmt: skip
def test_nifti_scale_factors_are_those_of_the_standard(tmp_path, scale, expected):
    path = nifti(tmp_path / "a.nii", ("2f", 112, *scale))
    np.testing.assert_array_equal(read_image(path).values[..., 0], np.asarray(expected, np.float32))
    if expected is VALUES:
        np.testing.assert_array_equal(read_mask(path)[0], VALUES)
    else:
        with pytest.raises(DataError, match="scales its labels") as caught:
            read_mask(path)
        assert (caught.value.code, "slope 1, intercept 0" in caught.value.hint) == ("PFS-204", True)


def test_nifti_scale_factors_that_give_no_number_are_refused(tmp_path):
    refused(nifti(tmp_path / "a.nii", ("2f", 112, 2, np.nan)), "scales its values by 2 and adds nan")
    with pytest.raises(DataError, match="NaN or infinite"):
        read_image(nifti(tmp_path / "b.nii", ("2f", 112, 1e38, 0)))


def test_nifti_colours_are_not_scaled(tmp_path):
    colours = np.arange(72, dtype=np.uint8).reshape(2, 3, 4, 3)
    array = np.zeros((4, 3, 2), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    for channel, name in enumerate("RGB"):
        array[name] = colours[..., channel].T
    path = nifti(tmp_path / "a.nii", ("2f", 112, 2, 5), values=array.T, affine=np.eye(4))
    np.testing.assert_array_equal(read_image(path).values, colours)


def test_nifti_behind_an_extension_and_in_either_byte_order(tmp_path):
    image = nibabel.Nifti1Image(VALUES.astype(np.int16).T, np.eye(4))
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"made by a scanner" * 20))
    nibabel.save(image, tmp_path / "a.nii.gz")
    big = nibabel.Nifti1Image(VALUES.astype(">i2").T, np.eye(4), nibabel.Nifti1Header(endianness=">"))
    nibabel.save(big, tmp_path / "b.nii")
    assert (tmp_path / "b.nii").read_bytes()[:4] == b"\0\0\x01\x5c"
    for name in ("a.nii.gz", "b.nii"):
        np.testing.assert_array_equal(read_image(tmp_path / name).values[..., 0], VALUES)
        np.testing.assert_array_equal(read_mask(tmp_path / name)[0], VALUES)


def test_a_label_that_single_precision_cannot_hold_is_no_other_label(tmp_path):
    values = np.full((2, 3, 4), 2**24, np.int32)
    assert read_mask(nifti(tmp_path / "a.nii", values=values))[0].max() == 2**24
    with pytest.raises(DataError, match="whole numbers"):
        read_mask(nifti(tmp_path / "b.nii", values=values + 1))


def test_metaimage_slope_and_offset_are_applied_to_images_and_refused_in_masks(tmp_path):
    lines = (
        "ElementToIntensityFunctionSlope = {}\nElementToIntensityFunctionOffset = {}\nElementSpacing = 1 1 1"
    )
    path = metaimage(tmp_path / "a.mha", lines.format(2, -1000))
    np.testing.assert_array_equal(read_image(path).values[..., 0], 2.0 * VALUES - 1000)
    with pytest.raises(DataError, match="times 2 plus -1000"):
        read_mask(path)
    np.testing.assert_array_equal(read_mask(metaimage(tmp_path / "b.mha", lines.format(1, 0)))[0], VALUES)
    for slope, offset in ((0, 5), ("nan", 0), (1, "inf")):
        refused(metaimage(tmp_path / "c.mha", lines.format(slope, offset)), "scales its values")


def test_a_negative_spacing_is_an_axis_that_runs_back(tmp_path):
    """SimpleITK's two readings have -2 and +2 with the axis turned."""
    path = metaimage(tmp_path / "a.mha", f"{MATRIX}\nOffset = 1 2 3\nElementSpacing = 0.5 0.5 -2")
    grid = read_image(path).grid
    assert grid.spacing_mm == (2, 0.5, 0.5)
    assert grid.frame == (1, 2, 3, 1, 0, 0, 0, 1, 0, 0, 0, -1)
    assert read_grid(path) == grid
    same = metaimage(
        tmp_path / "b.mha", "TransformMatrix = 1 0 0 0 1 0 0 0 -1\nOffset = 1 2 3\nElementSpacing = 0.5 0.5 2"
    )
    assert read_grid(path).difference(read_grid(same)) == ""
    where = sitk.ReadImage(path).TransformIndexToPhysicalPoint((0, 0, 1))
    assert where == (1, 2, 1)


def test_a_negative_spacing_without_directions_is_refused(tmp_path):
    refused(metaimage(tmp_path / "a.mha", "ElementSpacing = 0.5 0.5 -2"), "negative distance")
    refused(nrrd(tmp_path / "a.nrrd", "spacings: 0.5 0.5 -2"), "negative distance")
    refused(nifti(tmp_path / "a.nii", ("f", 88, -2.0)), "voxels of")


def test_an_origin_without_directions_is_kept(tmp_path):
    for name in ("Offset", "Position", "Origin"):
        path = metaimage(tmp_path / "a.mha", f"{name} = 1 2 3\nElementSpacing = 0.5 0.5 2")
        assert read_image(path).grid.frame == (1, 2, 3)
        assert read_grid(path).frame == (1, 2, 3)
    said = "spacings: 0.5 0.5 2\naxis mins: 10 20 30\ncenterings: "
    assert read_grid(nrrd(tmp_path / "a.nrrd", said + "node node node")).frame == (10, 20, 30)
    assert read_grid(nrrd(tmp_path / "b.nrrd", said + "cell cell cell")).frame == (10.25, 20.25, 31)
    path = nrrd(tmp_path / "c.nrrd", "space: left-posterior-superior\nspace origin: (1,2,3)")
    assert (read_grid(path).spacing_mm, read_grid(path).frame) == (None, (1, 2, 3))


def test_half_a_place_is_refused(tmp_path):
    refused(nrrd(tmp_path / "a.nrrd", "axis mins: 10 20 30\naxis maxs: 14 23 34"), "where axes begin")
    refused(nrrd(tmp_path / "b.nrrd", "spacings: 0.5 0.5 nan"), "does not say how far the 2 voxels")
    assert (
        read_grid(nrrd(tmp_path / "c.nrrd", "spacings: nan nan nan\naxis mins: nan nan nan")).spacing_mm
        is None
    )
    none = PLACE.replace("(0,0,2)", "none")
    refused(nrrd(tmp_path / "d.nrrd", none), "does not say how far the 2 voxels")
    refused(metaimage(tmp_path / "a.mha", "ElementSpacing = 0.5 0.5 0"), "voxels of 0.5 x 0.5 x 0 mm")


def test_metaimage_that_says_one_thing_in_two_ways_is_refused(tmp_path):
    lines = "ElementSpacing = 1 1 1\n"
    for first, second in (
        ("Offset = 1 2 3", "Position = 4 5 6"),
        (MATRIX, "Rotation = 0 1 0 -1 0 0 0 0 1"),
        ("BinaryDataByteOrderMSB = False", "ElementByteOrderMSB = True"),
    ):
        refused(metaimage(tmp_path / "a.mha", f"{lines}{first}\n{second}"), "contradicts itself")
        twice = second.split(" = ")[0] + " = " + first.split(" = ")[1]
        assert read_image(metaimage(tmp_path / "b.mha", f"{lines}{first}\n{twice}")).values.shape == (
            2,
            3,
            4,
            1,
        )


def test_metaimage_of_other_byte_order_and_pixel_size(tmp_path):
    big = VALUES.astype(">u2")
    for name in ("BinaryDataByteOrderMSB", "ElementByteOrderMSB"):
        path = metaimage(
            tmp_path / "a.mha", f"{name} = True\nElementSize = 3 3 3\nElementSpacing = 0.5 0.5 2", big
        )
        np.testing.assert_array_equal(read_image(path).values[..., 0], VALUES)
        assert read_image(path).spacing_mm == (2, 0.5, 0.5), "the distance of voxels, not their size"


def test_metaimage_directions_that_are_no_unit_vectors_are_refused(tmp_path):
    path = metaimage(tmp_path / "a.mha", "TransformMatrix = 2 0 0 0 2 0 0 0 1\nElementSpacing = 0.5 0.5 2")
    refused(path, "not of length 1")


@pytest.mark.parametrize(
    ("space", "turned"), [("RAS", (-1, -1, 1)), ("LAS", (1, -1, 1)), ("left-posterior-superior", (1, 1, 1))]
)
def test_nrrd_spaces_of_the_patient_become_one(tmp_path, space, turned):
    path = nrrd(tmp_path / "a.nrrd", PLACE.replace("left-posterior-superior", space))
    expected = (*np.multiply((1, 2, 3), turned), *np.diag(turned).ravel())
    assert read_image(path).grid.frame == pytest.approx(expected)


@pytest.mark.parametrize("name", ["LIST\na.raw\nb.raw", "LIST 2\na.raw", "a%03d.raw 1 2 1"])
def test_voxels_in_several_files_are_refused_as_such(tmp_path, name):
    refused(nrrd(tmp_path / "a.nhdr", f"{PLACE}\ndata file: {name}"), "several files")
    path = metaimage(tmp_path / "a.mhd", "ElementSpacing = 1 1 1")
    path.write_bytes(path.read_bytes().split(b"LOCAL")[0] + name.encode() + b"\n")
    refused(path, "several files")


@pytest.mark.parametrize("name", ["../raw/a.raw", "sub/a.raw"])
def test_voxels_in_another_folder_are_found(tmp_path, name):
    (tmp_path / "h/sub").mkdir(parents=True)
    (tmp_path / "raw").mkdir()
    (tmp_path / "h" / name).write_bytes(VALUES.tobytes())
    path = metaimage(tmp_path / "h/a.mhd", "ElementSpacing = 1 1 1")
    path.write_bytes(path.read_bytes().split(b"LOCAL")[0] + name.encode() + b"\n")
    sizes = "NRRD0005\ntype: uint16\ndimension: 3\nsizes: 4 3 2\nendian: little\nencoding: raw\n"
    (tmp_path / "h/a.nhdr").write_text(f"{sizes}{PLACE}\ndata file: {name}\n")
    for file in (path, tmp_path / "h/a.nhdr"):
        np.testing.assert_array_equal(read_image(file).values[..., 0], VALUES)
