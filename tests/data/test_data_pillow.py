"""PNG, BMP and JPEG: images as they are seen, masks as they are stored."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from picture_files import rle8, save_bmp, save_png
from PIL import Image

from pfedsam_flower.data.readers import read_grid, read_image, read_mask, refusals
from pfedsam_flower.errors import DataError

LABELS = np.zeros((5, 7), np.uint8)
LABELS[1:4, 2:6] = 1
LABELS[2, 3:5] = 2
VOC = [(0, 0, 0), (128, 0, 0), (0, 128, 0)]
PALETTES = {
    "colours": VOC,
    "black": [(0, 0, 0)] * 3,
    "one grey for two": [(0, 0, 0), (1, 1, 1), (1, 1, 1)],
    "short": [(0, 0, 0), (1, 1, 1)],
}


def refused(path, word, code="PFS-204"):
    with pytest.raises(DataError, match=word) as caught:
        read_mask(path)
    assert caught.value.code == code
    assert path.name not in caught.value.public()
    return caught.value


def plte(palette):
    return b"PLTE", bytes(value for colour in palette for value in colour)


@pytest.mark.parametrize("name", PALETTES)
def test_an_indexed_mask_is_read_by_index(tmp_path, name):
    png = save_png(tmp_path / "a.png", LABELS, 8, 3, plte(PALETTES[name]), (b"tRNS", b"\0"))
    bmp = save_bmp(tmp_path / "a.bmp", LABELS, 8, PALETTES[name])
    for path in (png, bmp):
        np.testing.assert_array_equal(read_mask(path)[0][0], LABELS)


def test_an_indexed_image_has_its_colours_and_no_others(tmp_path):
    for path in (
        save_png(tmp_path / "a.png", LABELS, 8, 3, plte(VOC)),
        save_bmp(tmp_path / "a.bmp", LABELS, 8, VOC),
    ):
        np.testing.assert_array_equal(read_image(path).values[0], np.array(VOC)[LABELS])
    short = save_png(tmp_path / "b.png", LABELS, 8, 3, plte(PALETTES["short"]))
    with pytest.raises(DataError, match="pixels of colour 2, and a palette of 2"):
        read_image(short)


@pytest.mark.parametrize("depth", [1, 8])
def test_a_palette_that_turns_the_mask_around_is_refused(tmp_path, depth):
    falling = [(255, 255, 255), (0, 0, 0)]
    refused(save_png(tmp_path / "a.png", LABELS % 2, depth, 3, plte(falling)), "palette")
    refused(save_bmp(tmp_path / "a.bmp", LABELS % 2, depth, falling), "palette")


@given(
    depth=st.sampled_from([1, 2, 4, 8]),
    drawn=arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9))),
    indexed=st.booleans(),
)
def test_few_bits_are_the_numbers_stored(tmp_path_factory, depth, drawn, indexed):
    values = drawn & (2**depth - 1)
    chunks = (plte([(k % 256, 255 - k % 256, 0) for k in range(2**depth)]),) if indexed else ()
    path = save_png(tmp_path_factory.mktemp("p") / "a.png", values, depth, 3 if indexed else 0, *chunks)
    mask, grid = read_mask(path)
    np.testing.assert_array_equal(mask[0], values)
    assert read_grid(path) == grid == read_image(path).grid


@pytest.mark.parametrize("colour", [255, 0])
def test_a_mask_drawn_in_the_alpha_channel_is_refused(tmp_path, colour):
    drawn = np.where(LABELS, 255, 0).astype(np.uint8)
    grey = np.full_like(drawn, colour)
    Image.fromarray(np.dstack([grey, grey, grey, drawn])).save(tmp_path / "a.png")
    Image.fromarray(np.dstack([grey, drawn]), "LA").save(tmp_path / "b.png")
    Image.fromarray(np.dstack([grey, grey, grey, drawn])).save(tmp_path / "c.bmp")
    save_bmp(tmp_path / "d.bmp", np.dstack([grey, grey, grey, drawn]), 32)
    Image.fromarray(np.dstack([grey, grey, grey, drawn * 0])).save(tmp_path / "e.png")  # an empty one
    for name in ("a.png", "b.png", "c.bmp", "d.bmp", "e.png"):
        assert "getchannel" in (refused(tmp_path / name, "alpha").hint or "")
    assert read_image(tmp_path / "a.png").values.shape == (1, 5, 7, 3)


def test_an_opaque_alpha_channel_and_a_transparent_grey_change_nothing(tmp_path):
    whole = np.full_like(LABELS, 255)
    Image.fromarray(np.dstack([LABELS, LABELS, LABELS, whole])).save(tmp_path / "a.png")
    Image.fromarray(np.dstack([LABELS, LABELS, LABELS, whole])).save(tmp_path / "a.bmp")
    save_png(tmp_path / "b.png", LABELS, 8, 0, (b"tRNS", b"\0\0"), (b"gAMA", struct.pack(">I", 45455)))
    save_bmp(tmp_path / "b.bmp", np.dstack([LABELS, LABELS, LABELS, LABELS * 0]), 32)
    for name in ("a.png", "a.bmp", "b.png", "b.bmp"):
        np.testing.assert_array_equal(read_mask(tmp_path / name)[0][0], LABELS)
    deep = save_png(tmp_path / "c.png", np.dstack([LABELS, LABELS]), 16, 4)
    refused(deep, "16-bit colour or alpha")


GREYS = [(k, k, k) for k in range(256)]


@pytest.mark.parametrize(
    ("values", "depth", "palette", "options"),
    [
        (LABELS, 8, GREYS, {}),
        (LABELS, 8, GREYS, {"top_down": True}),
        (LABELS, 8, VOC, {}),
        (LABELS, 4, VOC, {}),
        (LABELS % 2, 1, [(0, 0, 0), (255, 255, 255)], {}),
        (np.dstack([LABELS] * 3), 24, (), {}),
        (LABELS, 8, GREYS, {"compression": 1, "body": rle8(LABELS)}),
    ],
)
def test_bmp_of_every_kind(tmp_path, values, depth, palette, options):
    path = save_bmp(tmp_path / "a.BMP", values, depth, palette, **options)
    mask, grid = read_mask(path)
    np.testing.assert_array_equal(mask[0], values if values.ndim == 2 else values[..., 0])
    assert read_grid(path) == grid == read_image(path).grid
    with Image.open(path) as seen:
        colours = np.asarray(seen.convert("RGB"))
    if depth != 1:  # whose white is 1
        np.testing.assert_array_equal(
            read_image(path).values[0], colours[..., : 3 if palette != GREYS else 1]
        )


def test_bmp_that_would_be_read_wrong_is_refused(tmp_path):
    black_white = [(0, 0, 0), (255, 255, 255)]  # Pillow would take eight bits for eight pixels
    refused(save_bmp(tmp_path / "a.bmp", LABELS % 2, 8, black_white), "8 bits with such a palette")
    refused(save_bmp(tmp_path / "b.bmp", LABELS, 4, GREYS[:16]), "4 bits with such a palette")
    refused(save_bmp(tmp_path / "h.bmp", LABELS % 2, 1, GREYS), "1 bits with such a palette")
    words = np.pad(LABELS[::-1], ((0, 0), (0, 1))).astype("<u2").tobytes()
    refused(save_bmp(tmp_path / "c.bmp", LABELS, 16, body=words), "5 or 6 bits")
    refused(save_bmp(tmp_path / "d.bmp", LABELS, 24, compression=4, body=b"\xff\xd8"), "compression")
    for name, body in (("e", rle8(LABELS)[:40]), ("f", rle8(LABELS)[:40] + b"\0\1")):
        refused(save_bmp(tmp_path / f"{name}.bmp", LABELS, 8, GREYS, compression=1, body=body), "not enough")
    refused(save_bmp(tmp_path / "g.bmp", LABELS, 8, GREYS, body=bytes(20)), "truncated")


@pytest.mark.parametrize("depth", [1, 8])
def test_bmp_of_os_2(tmp_path, depth):
    values = LABELS & (2**depth - 1)
    plain = save_bmp(tmp_path / "a.bmp", values, depth, GREYS if depth == 8 else [GREYS[0], GREYS[255]])
    body = plain.read_bytes()
    start, n = int.from_bytes(body[10:14], "little"), 2**depth
    palette = b"".join(body[54 + 4 * k : 57 + 4 * k] for k in range(n))
    header = struct.pack("<IHHHH", 12, LABELS.shape[1], LABELS.shape[0], 1, depth)
    new = b"BM" + struct.pack("<IHHI", 0, 0, 0, 26 + 3 * n) + header + palette + body[start:]
    (tmp_path / "b.bmp").write_bytes(new)
    np.testing.assert_array_equal(read_mask(tmp_path / "b.bmp")[0][0], values)


def test_a_moving_png_and_a_turned_one_are_refused(tmp_path):
    frames = [Image.fromarray(LABELS), Image.fromarray(LABELS[::-1].copy())]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    save_png(tmp_path / "b.png", LABELS, 8, 0, (b"eXIf", exif))
    for name, word in (("a.png", "animation of 2 frames"), ("b.png", "EXIF orientation")):
        for call in (read_image, read_mask, read_grid):
            with pytest.raises(DataError, match=word) as caught:
                call(tmp_path / name)
            assert caught.value.code == "PFS-207"


def test_a_picture_that_is_too_large_says_how_large_and_what_to_do(tmp_path, monkeypatch):
    assert refusals.LARGEST_PICTURE == 178_956_970
    monkeypatch.setattr(refusals, "LARGEST_PICTURE", 34)
    for name in ("a.png", "a.tif", "a.bmp", "a.jpg"):
        Image.fromarray(LABELS).save(tmp_path / name)
        for call in (read_image, read_grid):
            with pytest.raises(DataError, match="(?s)PFS-204.*too large: 7 x 5 pixels, and 34 .*tiles"):
                call(tmp_path / name)
    monkeypatch.setattr(refusals, "LARGEST_PICTURE", 35)
    assert read_mask(tmp_path / "a.png")[0].shape == (1, 5, 7)


def test_pillow_s_own_limit_is_not_met_first(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    Image.fromarray(LABELS).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png")[0][0], LABELS)
