"""Files → pixels, and files that are not what they say."""

import gzip
import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from pfedsam_flower.data.readers import (
    GRIDS,
    READERS,
    read_grid,
    read_image,
    read_labels,
    read_mask,
    stem_of,
    suffix_of,
)
from pfedsam_flower.errors import DataError

GREY16 = np.array([[0, 1, 255], [256, 40_000, 65_535]], np.uint16)


def sitk():
    return pytest.importorskip("SimpleITK", reason="SimpleITK is not installed")


def write_nifti(path: Path, array: np.ndarray, spacing=(0.5, 0.75, 3.0), origin=None, direction=None) -> Path:
    image = sitk().GetImageFromArray(array)
    image.SetSpacing(spacing[: image.GetDimension()])
    if origin:
        image.SetOrigin(origin)
    if direction:
        image.SetDirection(direction)
    sitk().WriteImage(image, str(path))
    return path


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.TIFF"])
def test_sixteen_bits_keep_their_values(tmp_path, name):
    Image.fromarray(GREY16).save(tmp_path / name)
    pixels = read_image(tmp_path / name)
    assert pixels.values.dtype == np.float32
    assert pixels.values.shape == (1, 2, 3, 1)
    assert (pixels.values[0, ..., 0] == GREY16).all()
    assert pixels.spacing_mm is None
    assert (read_labels(tmp_path / name)[0] == GREY16).all()


def test_big_endian_tiff(tmp_path):
    Image.frombytes("I;16B", (3, 2), GREY16.astype(">u2").tobytes()).save(tmp_path / "a.tif")
    assert (read_image(tmp_path / "a.tif").values[0, ..., 0] == GREY16).all()


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate"])
def test_pages_of_a_tiff_are_slices(tmp_path, compression):
    pages = [Image.fromarray(GREY16 + i) for i in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:], compression=compression)
    pixels = read_image(tmp_path / "a.tif")
    assert pixels.values.shape == (3, 2, 3, 1)
    assert (pixels.values[2, ..., 0] == GREY16 + 2).all()
    assert read_grid(tmp_path / "a.tif") == pixels.grid


def test_pages_of_different_size_are_refused(tmp_path):
    pages = [Image.fromarray(GREY16), Image.fromarray(GREY16.T.copy())]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(DataError, match="do not have one size"):
        read_image(tmp_path / "a.tif")


def test_float_tiff_and_one_bit_png(tmp_path):
    Image.fromarray(np.array([[-1.5, 2.25]], np.float32)).save(tmp_path / "a.tif")
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "b.png")
    assert read_image(tmp_path / "a.tif").values.ravel().tolist() == [-1.5, 2.25]
    assert read_labels(tmp_path / "b.png").ravel().tolist() == [1, 0]


def test_colour_keeps_three_channels_and_loses_alpha(tmp_path):
    rgba = np.random.default_rng(0).integers(0, 256, (4, 5, 4)).astype(np.uint8)
    Image.fromarray(rgba, "RGBA").save(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png").values[0] == rgba[..., :3]).all()


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P"])
def test_grey_masks_of_any_mode_give_the_same_labels(tmp_path, mode):
    grey = Image.fromarray(np.array([[0, 128], [255, 128]], np.uint8))
    grey.convert(mode).save(tmp_path / "a.png")
    labels = read_labels(tmp_path / "a.png")
    assert labels.tolist() == [[[0, 128], [255, 128]]]
    assert np.issubdtype(labels.dtype, np.integer)


def test_coloured_masks_jpeg_masks_and_fractions_are_refused(tmp_path):
    Image.fromarray(np.full((2, 2, 3), (255, 0, 0), np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "b.jpg")
    Image.fromarray(np.array([[0.5, 1.0]], np.float32)).save(tmp_path / "c.tif")
    Image.fromarray(np.array([[np.nan, 1.0]], np.float32)).save(tmp_path / "d.tif")
    Image.fromarray(np.array([[-1.0, 1.0]], np.float32)).save(tmp_path / "e.tif")
    said = {"a.png": "coloured", "b.jpg": "JPEG", "c.tif": "whole", "d.tif": "whole", "e.tif": "whole"}
    for name, word in said.items():
        with pytest.raises(DataError, match=word) as caught:
            read_labels(tmp_path / name)
        assert caught.value.code == "PFS-204"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
def test_values_that_are_no_intensities_are_refused(tmp_path, bad):
    Image.fromarray(np.array([[0.0, bad, 1.0]], np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match="1 of the image's 3 values") as caught:
        read_image(tmp_path / "a.tif")
    assert caught.value.code == "PFS-204"


def test_sixteen_bit_colour_is_refused_rather_than_cut(tmp_path):
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\0" + bytes(range(12)) for _ in range(2))
    head = struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)
    body = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    (tmp_path / "a.png").write_bytes(body)
    with pytest.raises(DataError, match="16-bit"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg", "a.nii", "a.nii.gz"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_a_cut_file_gives_one_sentence(tmp_path, name, share):
    path = tmp_path / name
    noise = np.random.default_rng(0).integers(0, 256, (40, 40)).astype(np.uint8)
    if name.startswith("a.nii"):
        write_nifti(path, noise[None])
    else:
        Image.fromarray(noise).save(path)
    read_image(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(DataError) as caught:
        read_image(path)
    assert caught.value.code == "PFS-204"
    assert str(path) in caught.value.local()
    assert "a." not in caught.value.public()
    assert len(caught.value.message.splitlines()) == 1


def test_no_flipped_bit_in_a_png_gives_other_labels(tmp_path):
    path = tmp_path / "a.png"
    mask = np.kron(np.random.default_rng(0).random((5, 5)) > 0.5, np.ones((8, 8))).astype(np.uint8) * 255
    Image.fromarray(mask).save(path)
    whole = path.read_bytes()
    for place in range(8, len(whole)):
        body = bytearray(whole)
        body[place] ^= 1
        path.write_bytes(body)
        try:
            labels = read_labels(path)
        except DataError:
            continue
        assert (labels == mask).all()


@pytest.mark.parametrize("suffix", READERS)
def test_nonsense_of_any_suffix_gives_one_sentence(tmp_path, suffix):
    for body in (b"", b"nonsense", bytes(1000), gzip.compress(bytes(1000))):
        path = tmp_path / f"a{suffix}"
        path.write_bytes(body)
        for read in (read_image, read_labels, read_grid):
            with pytest.raises(DataError) as caught:
                read(path)
            assert caught.value.code == "PFS-204"
    with pytest.raises(DataError):
        read_image(tmp_path / f"absent{suffix}")


def test_every_format_has_a_reader_and_a_grid():
    assert READERS.keys() == GRIDS.keys()


def test_suffixes():
    assert suffix_of(Path("p1.v2.NII.GZ")) == ".nii.gz"
    assert stem_of(Path("p1.v2.NII.GZ")) == "p1.v2"
    assert suffix_of(Path("a.gz")) == suffix_of(Path("notes.txt")) == suffix_of(Path(".png")) == ""


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_nifti_axes_and_spacing(tmp_path, name):
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4) - 5
    pixels = read_image(write_nifti(tmp_path / name, array))
    assert (pixels.values[..., 0] == array).all()
    assert pixels.spacing_mm == pytest.approx((3.0, 0.75, 0.5))
    header = read_grid(tmp_path / name)
    assert header.shape == (2, 3, 4)
    assert header.spacing_mm == pytest.approx((3.0, 0.75, 0.5))


def test_flat_nifti_is_one_slice(tmp_path):
    pixels = read_image(write_nifti(tmp_path / "a.nii", np.ones((3, 4), np.float32)))
    assert pixels.values.shape == (1, 3, 4, 1)
    assert pixels.spacing_mm == pytest.approx((1.0, 0.75, 0.5))
    assert read_grid(tmp_path / "a.nii").shape == (1, 3, 4)


def test_nifti_of_colour_and_of_several_volumes(tmp_path):
    itk = sitk()
    colour = np.arange(72, dtype=np.uint8).reshape(2, 3, 4, 3)
    itk.WriteImage(itk.GetImageFromArray(colour, isVector=True), str(tmp_path / "a.nii.gz"))
    assert (read_image(tmp_path / "a.nii.gz").values == colour).all()
    volumes = [itk.GetImageFromArray(np.full((2, 3, 4), i, np.int16)) for i in range(2)]
    itk.WriteImage(itk.JoinSeries(volumes), str(tmp_path / "b.nii"))
    with pytest.raises(DataError, match="one volume per file"):
        read_image(tmp_path / "b.nii")
    itk.WriteImage(itk.JoinSeries(volumes[1:]), str(tmp_path / "c.nii"))
    assert read_image(tmp_path / "c.nii").values.shape == (2, 3, 4, 1)


def test_nifti_that_lacks_voxels_inside_a_whole_gzip_is_refused(tmp_path):
    path = write_nifti(tmp_path / "a.nii.gz", np.ones((4, 5, 6), np.int16))
    body = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(body[:-2]))
    with pytest.raises(DataError, match=f"promises {len(body)} bytes, the file has {len(body) - 2}"):
        read_image(path)


def test_grids_that_point_elsewhere_differ(tmp_path):
    array = np.zeros((2, 3, 4), np.uint8)
    plain = read_mask(write_nifti(tmp_path / "a.nii", array))[1]
    same = read_mask(write_nifti(tmp_path / "b.nii.gz", array))[1]
    turned = read_mask(write_nifti(tmp_path / "c.nii", array, direction=(-1, 0, 0, 0, -1, 0, 0, 0, 1)))[1]
    moved = read_mask(write_nifti(tmp_path / "d.nii", array, origin=(5.0, 0, 0)))[1]
    wider = read_mask(write_nifti(tmp_path / "e.nii", array, spacing=(0.5, 0.75, 4.0)))[1]
    assert plain.difference(same) == ""
    assert "directions" in plain.difference(turned)
    assert "first voxels" in plain.difference(moved)
    assert "spacing" in plain.difference(wider)


@pytest.mark.parametrize("kind", ["i1", "u1", "<i2", ">i2", "u2", "i4", "u4", "<f4", ">f4", "bool"])
def test_tiff_of_any_type_equals_tifffile(tmp_path, kind):
    values = np.array([[0, 1, 255], [128, 40_000, 4_000_000_000]], np.int64).astype(kind)
    order = ">" if kind.startswith(">") else "<"
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack", byteorder=order)
    seen = tifffile.imread(tmp_path / "a.tif").astype(np.float32)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").values[0, ..., 0], seen)


@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_tiff_whose_low_is_white_is_turned(tmp_path, kind):
    values = np.array([[0, 1, 200]], kind)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="miniswhite")
    turned = np.iinfo(kind).max - values.astype(np.float32)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").values[0, ..., 0], turned)


@pytest.mark.parametrize("kind", ["i2", "f4"])
def test_tiff_types_that_cannot_be_turned_are_refused(tmp_path, kind):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((2, 3), kind), photometric="miniswhite")
    with pytest.raises(DataError, match="PFS-204.*low is white"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("axes", ["TZYX", "ZCYX"])
def test_pages_that_are_channels_or_times_are_refused(tmp_path, axes):
    values = np.zeros((2, 3, 4, 5), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", values, imagej=True, metadata={"axes": axes})
    tifffile.imwrite(tmp_path / "b.tif", values, ome=True, metadata={"axes": axes}, photometric="minisblack")
    tifffile.imwrite(tmp_path / "c.tif", values[0], imagej=True, metadata={"axes": "ZYX"})
    for name in ("a.tif", "b.tif"):
        for read in (read_image, read_grid):
            with pytest.raises(DataError, match="channels or time points") as caught:
                read(tmp_path / name)
            assert caught.value.code == "PFS-207"
    assert read_image(tmp_path / "c.tif").values.shape == (3, 4, 5, 1)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.nii.gz", "a.dcm", "a.nrrd", "a.mha"])
def test_a_jpeg_does_not_pass_under_another_name(tmp_path, name):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").rename(tmp_path / name)
    with pytest.raises(DataError) as caught:
        read_mask(tmp_path / name)
    assert caught.value.code == "PFS-204"


def test_a_jpeg_that_viewers_turn_is_refused_and_its_preview_is_no_slice(tmp_path):
    picture = Image.fromarray(np.zeros((8, 8, 3), np.uint8))
    exif = Image.Exif()
    for turned in (0, 1, 6, 9):
        exif[274] = turned
        picture.save(tmp_path / f"{turned}.jpg", exif=exif)
    for turned in (0, 1, 9):
        assert read_image(tmp_path / f"{turned}.jpg").values.shape == (1, 8, 8, 3)
    for call in (read_image, read_grid):
        with pytest.raises(DataError, match="PFS-207.*EXIF orientation"):
            call(tmp_path / "6.jpg")
    picture.save(tmp_path / "two.jpg", "MPO", save_all=True, append_images=[picture.resize((4, 4))])
    assert read_image(tmp_path / "two.jpg").values.shape == (1, 8, 8, 3)
    assert read_grid(tmp_path / "two.jpg").shape == (1, 8, 8)


def test_readers_leave_the_file_alone_and_closed(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(GREY16).save(buffer, "PNG")
    (tmp_path / "a.png").write_bytes(buffer.getvalue())
    read_image(tmp_path / "a.png")
    (tmp_path / "a.png").unlink()
    assert not list(tmp_path.iterdir())
