"""Names that mislead a reader: another format inside, or a suffix that a library refuses."""

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image

from pfedsam_flower.data.readers import read_grid, read_image, read_mask
from pfedsam_flower.data.readers.misnamed import KINDS, misnamed
from pfedsam_flower.errors import DataError

MASK = np.zeros((6, 8), np.uint8)
MASK[2:4, 3:7] = 1
READ = (read_image, read_mask, read_grid)


@pytest.mark.parametrize("read", READ)
@pytest.mark.parametrize(
    ("name", "kind", "said", "remedy"),
    [
        ("a.png", "JPEG", "JPEG", "ends in .jpg"),
        ("a.png", "TIFF", "TIFF", "ends in .tif"),
        ("a.png", "WEBP", "WebP", "convert it"),
        ("a.jpg", "PNG", "PNG", "ends in .png"),
        ("a.tif", "PNG", "PNG", "ends in .png"),
        ("a.bmp", "GIF", "GIF", "convert it"),
        ("a.mha", "PNG", "PNG", "ends in .png"),
        ("a.nii", "PNG", "PNG", "ends in .png"),
        ("a.nii.gz", "PNG", "PNG", "ends in .png"),
    ],
)
def test_a_picture_under_another_suffix_is_told_what_it_is(tmp_path, read, name, kind, said, remedy):
    Image.fromarray(MASK).save(tmp_path / name, format=kind)
    with pytest.raises(DataError, match=f"and it is {said} inside") as caught:
        read(tmp_path / name)
    assert caught.value.code == "PFS-204"
    assert remedy in caught.value.hint


@pytest.mark.parametrize("read", READ)
@pytest.mark.parametrize(("name", "right"), [("a.nii", ".nii.gz"), ("a.nii.gz", ".nii")])
def test_nifti_that_is_packed_or_not_against_its_name(tmp_path, read, name, right):
    whole = nibabel.Nifti1Image(MASK[None], np.eye(4)).to_bytes()
    (tmp_path / name).write_bytes(gzip.compress(whole) if name == "a.nii" else whole)
    with pytest.raises(DataError) as caught:
        read(tmp_path / name)
    assert caught.value.hint == f"rename it, so that it ends in {right}"
    (tmp_path / name).rename(tmp_path / f"b{right}")
    read(tmp_path / f"b{right}")


@pytest.mark.parametrize("read", READ)
@pytest.mark.parametrize("ending", [".Nii", ".nII.gz", ".nii.GZ", ".NII.gz"])
def test_nifti_of_mixed_letter_case_is_to_be_renamed_and_its_library_is_not_asked(
    tmp_path, read, ending, capfd
):
    plain = tmp_path / f"a{ending.lower()}"
    nibabel.Nifti1Image(MASK[None], np.eye(4)).to_filename(plain)
    mixed = plain.rename(tmp_path / f"b{ending}")
    with pytest.raises(DataError, match="mixes small and capital letters") as caught:
        read(mixed)
    assert caught.value.hint == f"rename it, so that it ends in {ending.lower()}"
    assert capfd.readouterr().err == ""
    read(mixed.rename(plain))


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_not_misnamed_under_its_own_suffix_nor_as_dicom(tmp_path, kind):
    path = tmp_path / "a"
    path.write_bytes(kind.start + bytes(8))
    assert all(misnamed(path, one) is None for one in (*kind.suffixes, ".dcm"))
    assert misnamed(path, ".mhd") is not None
    assert misnamed(Path(tmp_path), ".png") is None


@pytest.mark.parametrize("shape", [(6, 8, 1), (6, 8, 1, 1)])
def test_a_tiff_whose_rows_and_columns_are_not_last_is_told_so(tmp_path, shape):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, MASK.reshape(shape), photometric="minisblack")
    for read in READ:
        with pytest.raises(DataError, match=r"6 x 8 x 1.* do not come last") as caught:
            read(path)
        assert "squeeze" in caught.value.hint
    tifffile.imwrite(path, MASK.reshape(shape).squeeze(), photometric="minisblack")
    assert read_mask(path)[0].sum() == 8
