"""TIFF: every slice or none, images as they are seen, masks as they are stored."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image

from pfedsam_flower.data.readers import read_grid, read_image, read_mask, tiff
from pfedsam_flower.errors import DataError

RNG = np.random.default_rng(0)
VOLUME = RNG.integers(0, 250, (5, 18, 21)).astype(np.uint8)
LABELS = np.zeros((18, 21), np.uint8)
LABELS[3:9, 4:12] = 1
LABELS[5:7, 6:9] = 2
GREY = {"photometric": "minisblack", "metadata": None}
IMAGEJ = "ImageJ=1.54f\nimages={0}\nslices={0}\nloop=false\n"


def write(path, values, **options):
    tifffile.imwrite(path, values, **{"photometric": "minisblack", **options})
    return path


def refused(path, word, *calls, code="PFS-207"):
    for call in calls or (read_image, read_mask, read_grid):
        with pytest.raises(DataError, match=word) as caught:
            call(path)
        assert caught.value.code == code
        assert path.name not in caught.value.public()


def behind_one_page(path, volume):
    write(path, volume[0], description=IMAGEJ.format(len(volume)), metadata=None, byteorder=">")
    with path.open("ab") as file:
        file.write(volume[1:].astype(volume.dtype.newbyteorder(">")).tobytes())


def pages_one_by_one(path, volume):
    with tifffile.TiffWriter(path) as tif:
        for values in volume:
            tif.write(values, photometric="minisblack")


STACKS = {
    "pages": lambda path, volume: write(path, volume, metadata=None),
    "pages, described": write,
    "pages one by one": pages_one_by_one,
    "imagej": lambda path, volume: write(
        path, volume, imagej=True, metadata={"axes": "ZYX"}, photometric=None
    ),
    "imagej, one page": behind_one_page,
    "ome": lambda path, volume: write(path, volume, ome=True, metadata={"axes": "ZYX"}),
    "one page": lambda path, volume: write(path, volume, truncate=True),
    "image depth": lambda path, volume: write(path, volume, volumetric=True, tile=(16, 16, 16)),
    "planes said to be slices": lambda path, volume: write(
        path, volume, planarconfig="separate", metadata={"axes": "ZYX"}
    ),
    "bigtiff": lambda path, volume: write(path, volume, bigtiff=True),
    "tiles": lambda path, volume: write(path, volume, tile=(16, 16), compression="zlib"),
    "strips, predictor": lambda path, volume: write(
        path, volume, rowsperstrip=5, compression="lzw", predictor=True
    ),
    "itk": lambda path, volume: sitk.WriteImage(sitk.GetImageFromArray(volume), str(path)),
}


@pytest.mark.parametrize("kind", ["u1", "u2", "f4"])
@pytest.mark.parametrize("name", STACKS)
def test_every_slice_of_a_stack_is_read(tmp_path, name, kind):
    volume = VOLUME.astype(kind)
    STACKS[name](tmp_path / "a.tif", volume)
    pixels = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(pixels.values[..., 0], volume)
    mask, grid = read_mask(tmp_path / "a.tif")
    np.testing.assert_array_equal(mask, volume)
    assert read_grid(tmp_path / "a.tif") == grid == pixels.grid


@pytest.mark.parametrize("name", sorted(STACKS.keys() - {"planes said to be slices", "image depth"}))
def test_a_cut_stack_is_never_read_as_another(tmp_path, name):
    STACKS[name](tmp_path / "a.tif", VOLUME)
    whole = (tmp_path / "a.tif").read_bytes()
    for k in range(40):
        (tmp_path / "b.tif").write_bytes(whole[: len(whole) * k // 40])
        try:
            values = read_image(tmp_path / "b.tif").values
        except DataError:
            continue
        np.testing.assert_array_equal(values[..., 0], VOLUME)


@pytest.mark.parametrize("n", [3, 4])
@pytest.mark.parametrize("photometric", ["rgb", "minisblack"])
@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_separate_planes_of_unknown_meaning_are_refused(tmp_path, n, photometric, kind):
    path = write(
        tmp_path / "a.tif", VOLUME[:n].astype(kind), photometric=photometric, planarconfig="separate"
    )
    refused(path, f"{n} separate planes.*slices, channels or colours")


def test_resolutions_are_no_slices(tmp_path):
    small = {"subfiletype": 1, "photometric": "minisblack", "metadata": None}
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        tif.write(LABELS, tile=(16, 16), **GREY)
        tif.write(LABELS[::2, ::2], **small)
    with tifffile.TiffWriter(tmp_path / "b.tif", ome=True) as tif:
        tif.write(LABELS[None], subifds=1, photometric="minisblack", metadata={"axes": "ZYX"})
        tif.write(LABELS[None, ::2, ::2], subfiletype=1, photometric="minisblack")
    for name in ("a.tif", "b.tif"):
        np.testing.assert_array_equal(read_mask(tmp_path / name)[0], LABELS[None])
    with tifffile.TiffWriter(tmp_path / "c.tif") as tif:  # a smaller page that is not said to be a copy
        tif.write(LABELS, **GREY)
        tif.write(LABELS[::2, ::2], **GREY)
    refused(tmp_path / "c.tif", "do not have one size", code="PFS-204")
    with tifffile.TiffWriter(tmp_path / "d.tif") as tif:  # a thumbnail first
        tif.write(LABELS[::2, ::2], **small)
        tif.write(LABELS, **GREY)
    refused(tmp_path / "d.tif", "other pictures beside")
    with tifffile.TiffWriter(tmp_path / "e.tif") as tif:
        tif.write(LABELS, **GREY)
        tif.write(LABELS, subfiletype=2, **GREY)
    with tifffile.TiffFile(tmp_path / "e.tif", mode="r+b") as tif:
        tif.pages[1].tags["NewSubfileType"].overwrite(4)
    refused(tmp_path / "e.tif", "transparency mask")
    with tifffile.TiffWriter(tmp_path / "f.tif") as tif:  # a directory inside that is no copy
        tif.write(LABELS, subifds=1, **GREY)
        tif.write(LABELS, **GREY)
    refused(tmp_path / "f.tif", "other pictures beside")


def test_a_description_that_promises_other_pages_is_refused(tmp_path):
    path, three = tmp_path / "a.tif", VOLUME[:3]
    for n in (2, 5):
        refused(write(path, three, description=IMAGEJ.format(n), metadata=None), "ImageJ description")
    refused(write(path, three[0], description=IMAGEJ.format(5), metadata=None), "ImageJ description")
    write(path, three[0], description="ImageJ=1.34\nimages=3\n", metadata=None)  # and no word of slices
    with path.open("ab") as file:
        file.write(three[1:].tobytes())
    refused(path, "ImageJ description")
    write(path, three[0], description='{"shape": [5, 18, 21]}', metadata=None)
    refused(path, "5 slices are described", code="PFS-204")
    write(path, three, ome=True, metadata={"axes": "ZYX"})
    text = tifffile.tiffcomment(path)
    path.write_bytes(path.read_bytes().replace(b'SizeZ="3"', b'SizeZ="9"'))
    refused(path, "OME description")
    elsewhere = '<TiffData><UUID FileName="b.ome.tif">urn:uuid:1</UUID></TiffData>'
    other = re.sub(r"<TiffData[^>]*/?>(</TiffData>)?", elsewhere, text)
    assert other != text
    write(tmp_path / "b.ome.tif", three, ome=True, metadata={"axes": "ZYX"})
    refused(write(path, three, description=other, metadata=None), "OME description")
    with tifffile.TiffWriter(path, ome=True) as tif:
        tif.write(three[0], photometric="minisblack")
        tif.write(three[1], photometric="minisblack")
    refused(path, "it holds 2 images")


def test_a_list_of_pages_that_runs_in_a_circle_ends():
    first, second = SimpleNamespace(offset=8), SimpleNamespace(offset=200)
    assert tiff._pages(SimpleNamespace(pages=[first, second])) == [first, second]
    with pytest.raises(ValueError, match="circle"):
        tiff._pages(SimpleNamespace(pages=iter([first, second, first])))


def test_strips_that_are_missing_or_short_are_refused(tmp_path):
    for tag, change, compression in (
        ("StripOffsets", lambda v: 0, None),
        ("StripByteCounts", lambda v: 0, None),
        ("StripByteCounts", lambda v: v - 30, None),
        ("StripOffsets", lambda v: v + 100_000, "zlib"),
        ("StripByteCounts", lambda v: v - 6, "zlib"),
        ("StripByteCounts", lambda v: v - 6, "lzw"),
    ):
        write(tmp_path / "a.tif", VOLUME[0], rowsperstrip=5, compression=compression, metadata=None)
        with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as tif:
            found = tif.pages[0].tags[tag]
            found.overwrite((*found.value[:-1], change(found.value[-1])))
        refused(tmp_path / "a.tif", "PFS-204", read_image, read_mask, code="PFS-204")


@pytest.mark.parametrize("kind", ["f2", "f8", "i8", "u8", "u4", "i1", "i2"])
def test_numbers_of_every_width(tmp_path, kind):
    write(tmp_path / "a.tif", LABELS.astype(kind))
    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif")[0][0], LABELS)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").values[0, ..., 0], LABELS)


def test_numbers_that_are_no_labels(tmp_path):
    whole = "not whole numbers from 0"
    too_large = np.full((3, 3), 2**24 + 1, np.uint32)  # float32 would make it 2**24
    endless = np.full((3, 3), np.inf, np.float16)
    for values in (too_large, LABELS.astype(np.int16) - 1, LABELS / 2, endless, endless * np.float16("nan")):
        refused(write(tmp_path / "a.tif", values), whole, read_mask, code="PFS-204")
    refused(write(tmp_path / "a.tif", LABELS.astype(np.complex64)), "COMPLEX", code="PFS-204")


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_are_the_numbers_stored(tmp_path, bits):
    values = LABELS % 2**bits
    options = {"bitspersample": bits} if bits > 1 else {}
    write(tmp_path / "a.tif", values if bits > 1 else values > 0, **options)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif")[0][0], values)


def test_group_4_mask(tmp_path):
    Image.fromarray(LABELS > 0).save(tmp_path / "a.tif", compression="group4")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif")[0][0], LABELS > 0)


@pytest.mark.parametrize("codec", ["jpeg", "jpeg2000", "jpeg_2000_lossy", "webp", "lerc", "jpegxr", "jpegxl"])
def test_a_mask_under_a_codec_that_may_lose_is_refused_and_an_image_is_read(tmp_path, codec):
    colour = codec == "webp"
    values = np.dstack([LABELS] * 3) if colour else LABELS
    write(tmp_path / "a.tif", values, compression=codec, photometric="rgb" if colour else "minisblack")
    refused(tmp_path / "a.tif", "(?i)" + codec[:4] + ".*can blur", read_mask, code="PFS-204")
    assert read_image(tmp_path / "a.tif").values.shape[:3] == (1, *LABELS.shape)


@pytest.mark.parametrize("codec", ["zlib", "lzw", "packbits", "lzma", "zstd", "png", None])
def test_a_mask_under_a_codec_that_loses_nothing_is_read(tmp_path, codec):
    write(tmp_path / "a.tif", LABELS, compression=codec)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif")[0][0], LABELS)


@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_imagej_s_inverting_table_turns_no_mask_around(tmp_path, kind):
    description = "ImageJ=1.54f\nmin=0.0\nmax=255.0\n"
    options = {"photometric": "miniswhite", "metadata": None}
    write(tmp_path / "a.tif", LABELS.astype(kind), description=description, **options)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif")[0][0], LABELS)
    seen = np.iinfo(kind).max - LABELS.astype(np.float32)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").values[0, ..., 0], seen)
    write(tmp_path / "b.tif", LABELS.astype(kind), **options)
    refused(tmp_path / "b.tif", "inverted", read_mask, code="PFS-204")


@pytest.mark.parametrize(("bits", "white"), [(1, 1), (2, 3), (4, 15)])
def test_low_is_white_in_few_bits(tmp_path, bits, white):
    values = LABELS % 2**bits
    options = {"bitspersample": bits} if bits > 1 else {}
    path = write(tmp_path / "a.tif", values if bits > 1 else values > 0, photometric="miniswhite", **options)
    np.testing.assert_array_equal(read_image(path).values[0, ..., 0], white - values.astype(np.float32))


def test_a_palette_mask_is_read_by_index(tmp_path):
    colours = np.zeros((3, 256), np.uint16)
    colours[0, 1], colours[1, 2] = 65535, 32896
    path = write(tmp_path / "a.tif", LABELS, photometric="palette", colormap=colours)
    np.testing.assert_array_equal(read_mask(path)[0][0], LABELS)
    np.testing.assert_array_equal(read_image(path).values[0], (colours.T >> 8)[LABELS])
    falling = np.tile(np.linspace(65535, 0, 256).astype(np.uint16), (3, 1))
    write(path, LABELS, photometric="palette", colormap=falling)
    refused(path, "palette", read_mask, code="PFS-204")


def test_colour_alpha_and_other_samples(tmp_path):
    path, whole = tmp_path / "a.tif", np.full_like(LABELS, 255)
    rgb = {"photometric": "rgb", "extrasamples": ["unassalpha"]}
    write(path, np.dstack([LABELS, LABELS, LABELS, whole]), **rgb)
    np.testing.assert_array_equal(read_mask(path)[0][0], LABELS)
    assert read_image(path).values.shape == (1, *LABELS.shape, 3)
    refused(
        write(path, np.dstack([LABELS, LABELS, LABELS, LABELS]), **rgb), "alpha", read_mask, code="PFS-204"
    )
    rgb["extrasamples"] = ["unspecified"]
    refused(write(path, np.dstack([LABELS] * 4), **rgb), "4 numbers, of which only 3")
    deep = np.dstack([LABELS, LABELS + 1, LABELS]).astype(np.uint16) * 300
    np.testing.assert_array_equal(read_image(write(path, deep, photometric="rgb")).values[0], deep)
    for photometric, n, word in (("separated", 4, "CMYK"), ("cielab", 3, "CIELAB"), ("ycbcr", 3, "YCbCr")):
        write(path, np.dstack([LABELS] * n), photometric=photometric)
        refused(path, f"colours are {word}", code="PFS-204")


def test_pages_of_several_types_or_colours_are_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        tif.write(LABELS, **GREY)
        tif.write(LABELS.astype(np.uint16), **GREY)
    refused(tmp_path / "a.tif", "not stored alike", code="PFS-204")
    with tifffile.TiffWriter(tmp_path / "b.tif") as tif:  # another compression is no other meaning
        tif.write(LABELS, **GREY)
        tif.write(LABELS, compression="zlib", **GREY)
    np.testing.assert_array_equal(read_mask(tmp_path / "b.tif")[0], np.stack([LABELS, LABELS]))


def test_axes_of_unknown_meaning_are_refused(tmp_path):
    refused(write(tmp_path / "a.tif", np.stack([VOLUME, VOLUME])), "axes QQYX")
    write(tmp_path / "b.tif", LABELS[None, None])
    assert read_grid(tmp_path / "b.tif").shape == (1, *LABELS.shape)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("compressed", [False, True])
def test_an_independent_reader_agrees(tmp_path, kind, compressed):
    values = RNG.integers(0, 200, (18, 21)).astype(kind)
    write(tmp_path / "a.tif", values, compression="zlib" if compressed else None, metadata=None)
    with Image.open(tmp_path / "a.tif") as seen:
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif").values[0, ..., 0], np.asarray(seen))


def test_tifffile_s_warnings_reach_no_screen(tmp_path, capfd):
    write(tmp_path / "a.tif", VOLUME, ome=True, metadata={"axes": "ZYX"})
    body = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(body.replace(b'SizeZ="5"', b'SizeZ="9"'))
    refused(tmp_path / "a.tif", "OME description")
    assert "tifffile" not in "".join(capfd.readouterr())
