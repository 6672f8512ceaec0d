"""NIfTI, NRRD and MetaImage: the same voxels in the same place as other readers see, or refused."""

import logging
import os
from pathlib import Path

import nibabel
import numpy as np
import pytest

from benchmarks.volume_files import FORMATS, FRAME, SPACING, VOLUMES
from pfedsam_flower.data.readers import itk, read_grid, read_image, read_mask
from pfedsam_flower.errors import DataError

VALUES = np.random.default_rng(0).integers(-500, 1500, (6, 9, 7)).astype(np.int16)
FILES = [name for name in VOLUMES if not name.startswith("dicom")]
LPS = np.diag((-1.0, -1.0, 1.0, 1.0))


def written(folder: Path, name: str, values: np.ndarray = VALUES) -> Path:
    return FORMATS[name](folder, "a", values, np.random.default_rng(0)).path


def refused(path: Path, match: str, code: str) -> None:
    with pytest.raises(DataError, match=match) as caught:
        read_image(path)
    assert caught.value.code == code
    assert len(caught.value.message.splitlines()) == 1


def nifti(path: Path, affine: object, qform: int, sform: int, values: np.ndarray = VALUES, **header: object):
    """By nibabel; ``header`` replaces fields."""
    image = nibabel.Nifti1Image(values.T, affine)
    image.set_qform(affine, qform)
    image.set_sform(affine, sform)
    for name, value in header.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("kind", [np.int16, np.uint8, np.float32, np.uint16, np.int32])
@pytest.mark.parametrize("name", FILES)
def test_voxels_and_frame(tmp_path, name, kind):
    values = np.abs(VALUES).astype(kind) if np.dtype(kind).kind == "u" else VALUES.astype(kind)
    path = written(tmp_path, name, values)
    pixels = read_image(path)
    np.testing.assert_array_equal(pixels.values[..., 0], values)
    assert pixels.grid.spacing_mm == pytest.approx(SPACING, rel=1e-6)
    np.testing.assert_allclose(pixels.grid.frame, FRAME, rtol=0, atol=2e-6)
    assert read_grid(path) == pixels.grid


@pytest.mark.parametrize("codes", [(1, 0), (0, 1), (2, 2), (1, 4)])
def test_nifti_of_any_code_lies_where_nibabel_says(tmp_path, codes):
    affine = np.array([[0, -1.5, 0, 40], [-0.6, 0, -1.6, 7], [0.8, 0, -1.2, -3], [0, 0, 0, 1]])
    path = nifti(tmp_path / "a.nii.gz", affine, *codes)
    place = read_image(path).grid
    seen = LPS @ nibabel.load(path).affine
    matrix = np.reshape(place.frame[3:], (3, 3)) @ np.diag(place.spacing_mm[::-1])
    np.testing.assert_allclose(matrix, seen[:3, :3], atol=1e-5)
    np.testing.assert_allclose(place.frame[:3], seen[:3, 3], atol=1e-4)


def test_nifti_scale_factors_are_applied(tmp_path):
    path = tmp_path / "a.nii"
    image = nibabel.Nifti1Image(VALUES.T, np.eye(4))
    image.header.set_slope_inter(0.25, -3)
    nibabel.save(image, path)
    np.testing.assert_allclose(
        read_image(path).values[..., 0], nibabel.load(path).get_fdata().T, rtol=1e-6, atol=1e-4
    )


def test_nifti_without_orientation_has_no_frame_and_warns(tmp_path, caplog):
    path = nifti(tmp_path / "a.nii", np.diag((2, 3, 4, 1)), 0, 0)
    with caplog.at_level(logging.WARNING):
        place = read_image(path).grid
    assert place.frame is None
    assert place.spacing_mm == (4, 3, 2)
    assert "orientation" in caplog.text


def test_nifti_that_is_sheared_or_contradicts_itself_is_refused(tmp_path):
    sheared = np.array([[2, 0, 0, 0], [0, 2, 0, 0], [0, 0.7, 3, 0], [0, 0, 0, 1]])
    refused(nifti(tmp_path / "a.nii", sheared, 0, 1), "right angles", "PFS-207")
    path = nifti(tmp_path / "b.nii", np.diag((2, 3, 4, 1)), 0, 1, pixdim=[1, 2, 3, 5, 1, 1, 1, 1])
    refused(path, "voxels of 2 x 3 x 4 mm, its pixdim of 2 x 3 x 5 mm", "PFS-207")
    path = nifti(tmp_path / "c.nii", np.eye(4), 1, 0)
    body = bytearray(path.read_bytes())
    body[256:264] = np.array([0.9, 0.9], "<f4").tobytes()  # quatern_b, quatern_c
    path.write_bytes(body)
    refused(path, "rotation", "PFS-204")
    path = nifti(tmp_path / "d.nii", np.eye(4), 0, 1, pixdim=[1, 1, 0, 1, 1, 1, 1, 1])
    refused(path, "voxels of", "PFS-204")


def test_nifti_with_two_orientations_takes_the_qform_and_warns(tmp_path, caplog):
    image = nibabel.Nifti1Image(VALUES.T, np.diag((2, 3, 4, 1)))
    image.set_qform(np.diag((2, 3, 4, 1)), 1)
    image.set_sform(np.array([[0, 3, 0, 0], [2, 0, 0, 0], [0, 0, -4, 0], [0, 0, 0, 1]]), 4)
    nibabel.save(image, tmp_path / "a.nii")
    with caplog.at_level(logging.WARNING):
        place = read_image(tmp_path / "a.nii").grid
    np.testing.assert_allclose(place.frame[3:], np.diag((-1, -1, 1)).ravel(), atol=1e-6)
    assert "qform is used" in caplog.text


@pytest.mark.parametrize("codes", [(1, 1), (1, 2), (2, 4), (1, 4)])
@pytest.mark.parametrize("change", ["moved", "turned", "none"])
def test_nifti_whose_two_forms_differ_in_any_way_warns_and_says_which_is_used(
    tmp_path, caplog, codes, change
):
    angle = 0.3
    one = np.diag((-2.0, 3.0, 4.0, 1.0))
    one[:2, :2] = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ one[:2, :2]
    one[:3, 3] = (10, -20, 30)
    other = one.copy()
    if change == "moved":
        other[:3, 3] += (15, 0, 7)
    if change == "turned":
        other[:3, :3] = np.diag((1, -1, -1)) @ other[:3, :3]
    image = nibabel.Nifti1Image(VALUES.T, one)
    image.set_qform(one, codes[0])
    image.set_sform(other, codes[1])
    nibabel.save(image, tmp_path / "a.nii")
    with caplog.at_level(logging.WARNING):
        place = read_image(tmp_path / "a.nii").grid
    used = {name: np.allclose((LPS @ form)[:3, 3], place.frame[:3], atol=1e-3) for name, form in
            (("qform", one), ("sform", other))}  # fmt: skip
    assert any(used.values())
    assert bool(caplog.text) == (change != "none")
    if change == "moved":
        assert [name for name in used if f"its {name} is used" in caplog.text] == [n for n in used if used[n]]


def test_an_nrrd_of_three_volumes_is_no_colour(tmp_path):
    header = "NRRD0004\ntype: short\ndimension: 4\nsizes: 3 4 5 6\nencoding: raw\nendian: little\n"
    header += "space: left-posterior-superior\nspace directions: none (1,0,0) (0,1,0) (0,0,1)\n"
    said = {kind: f"an axis of kind {kind}: 3 volumes" for kind in ("list", "time")}
    said |= {kind: f"each voxel has 3 values of kind {kind.lower()}" for kind in ("HSV-color", "3-normal")}
    for kind in (*said, "RGB-color", "vector"):
        path = tmp_path / f"{kind}.nrrd"
        head = f"{header}kinds: {kind} domain domain domain\n\n".encode()
        path.write_bytes(head + np.arange(360, dtype="<i2").tobytes())
        if kind in said:
            refused(path, said[kind], "PFS-207")
            with pytest.raises(DataError, match=said[kind]):
                read_grid(path)
        else:
            assert read_image(path).values.shape == (6, 5, 4, 3)


def test_nifti_2_and_several_volumes_are_refused(tmp_path):
    nibabel.save(nibabel.Nifti2Image(VALUES.T, np.eye(4)), tmp_path / "a.nii.gz")
    refused(tmp_path / "a.nii.gz", "NIfTI-2", "PFS-204")
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6, 3)), np.eye(4)), tmp_path / "b.nii.gz")
    refused(tmp_path / "b.nii.gz", "3 volumes", "PFS-207")
    assert read_image(nifti(tmp_path / "c.nii", np.eye(4), 1, 1, VALUES[None])).values.shape == (6, 9, 7, 1)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("name", [*FILES, "tif"])
def test_nan_is_no_number_anywhere(tmp_path, name, kind):
    """SimpleITK would read it as 0 in a NIfTI."""
    values = VALUES.astype(np.float32 if name == "tif" else kind)
    values[0, 3, 4], values[0, 8, 6] = np.nan, np.inf
    path = written(tmp_path, name, values)
    refused(path, "NaN or infinite", "PFS-204")
    with pytest.raises(DataError):
        read_mask(path)


@pytest.mark.parametrize("change", [-3, 3])
@pytest.mark.parametrize("name", ["nii", "nrrd", "nhdr", "mha", "mhd"])
def test_more_or_fewer_voxels_than_promised(tmp_path, name, change):
    files = FORMATS[name](tmp_path, "a", VALUES, np.random.default_rng(0)).files
    body = files[-1].read_bytes()
    files[-1].write_bytes(body[:change] if change < 0 else body + b"abc")
    refused(files[0], "promises .* has", "PFS-204")


def test_a_compressed_size_that_is_not_true_is_refused(tmp_path):
    path = written(tmp_path, "mha zlib")
    whole = path.read_bytes()
    for size in (b"CompressedDataSize = 1", b"CompressedDataSoze = "):
        path.write_bytes(whole.replace(b"CompressedDataSize = ", size))
        refused(path, "compressed bytes", "PFS-204")


@pytest.mark.parametrize("name", ["nhdr", "mhd"])
def test_a_missing_voxel_file_is_named(tmp_path, name):
    files = FORMATS[name](tmp_path, "a", VALUES, np.random.default_rng(0)).files
    files[1].unlink()
    refused(files[0], "a.raw' is missing", "PFS-204")


@pytest.mark.parametrize("name", ["nrrd", "nrrd gzip"])
def test_nrrd_of_other_spaces(tmp_path, name):
    """Right-anterior-superior is turned to left-posterior-superior; without a space there is no frame."""
    path = written(tmp_path, name)
    head, body = path.read_bytes().split(b"\n\n", 1)
    path.write_bytes(head.replace(b"left-posterior", b"right-anterior") + b"\n\n" + body)
    np.testing.assert_allclose(
        read_image(path).grid.frame, np.multiply(FRAME, [-1, -1, 1, *[-1] * 6, *[1] * 3]), atol=1e-6
    )
    lines = [line for line in head.split(b"\n") if not line.startswith(b"space")]
    path.write_bytes(b"\n".join([*lines, b"spacings: 1.5 2.5 3.5"]) + b"\n\n" + body)
    assert read_image(path).grid.frame is None
    assert read_image(path).spacing_mm == (3.5, 2.5, 1.5)
    path.write_bytes(b"\n".join(lines) + b"\n\n" + body)
    assert read_image(path).spacing_mm is None


@pytest.mark.parametrize(
    ("name", "old", "new", "match"),
    [
        ("nrrd", b"encoding: raw", b"encoding: hex", "encoded as 'hex'"),
        ("nrrd", b"endian: little", b"endian: little\nbyte skip: 2", "skips"),
        ("nrrd", b"type: short", b"type: block", "type 'block'"),
        ("mha", b"BinaryData = True", b"BinaryData = False", "text"),
        ("mha", b"MET_SHORT", b"MET_STRING", "MET_STRING"),
    ],
)
def test_variants_that_are_not_read(tmp_path, name, old, new, match):
    path = written(tmp_path, name)
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new))
    refused(path, match, "PFS-204")


def test_a_sheared_nrrd_is_refused(tmp_path):
    path = written(tmp_path, "nrrd")
    head, body = path.read_bytes().split(b"\n\n", 1)
    lines = [
        b"space directions: (2,0,0) (0,2,0.8) (0,0,3)" if line.startswith(b"space directions") else line
        for line in head.split(b"\n")
    ]
    path.write_bytes(b"\n".join(lines) + b"\n\n" + body)
    refused(path, "right angles", "PFS-207")


def test_only_the_noise_of_libraries_is_kept_from_the_screen(capfd):
    with itk._stderr_checked(Path("a")):
        os.write(2, b"Unsupported JPEG data precision 12\nours\n")
    assert capfd.readouterr().err == "ours\n"
    with pytest.raises(DataError, match="corrupt"), itk._stderr_checked(Path("a")):
        os.write(2, b"Uncompress failed\n")
    assert capfd.readouterr().err == ""
