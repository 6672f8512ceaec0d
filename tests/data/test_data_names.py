"""Names that no reader is given, and names that look like one another."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfedsam_flower.data import readers
from pfedsam_flower.data.layouts.alike import look_alikes
from pfedsam_flower.data.pixels import Grid
from pfedsam_flower.data.readers import itk
from pfedsam_flower.data.readers.names import check_name, printable
from pfedsam_flower.data.readers.writing import write_volume
from pfedsam_flower.errors import DataError, StoreError


@pytest.mark.parametrize(
    "name", [os.fsdecode(b"a\xff.png"), "a\nb.nii.gz", "a\x1b[2J.dcm", "tab\t.nrrd", "a\x7f.mha"]
)
@pytest.mark.parametrize("read", [readers.read_image, readers.read_mask, readers.read_grid])
def test_no_reader_is_asked(tmp_path, monkeypatch, name, read):
    def asked(path):
        raise AssertionError("a reader was asked")

    for table in (readers.READERS, readers.MASKS, readers.GRIDS):
        for suffix in table:
            monkeypatch.setitem(table, suffix, asked)
    for path in (tmp_path / name, tmp_path / name / "a.png"):
        with pytest.raises(DataError, match="no reader was asked") as caught:
            read(path)
        assert caught.value.hint == "rename it"
        assert caught.value.where.isprintable()


@pytest.mark.parametrize("name", ["Müller.png", "p 1.png", "患者.nii", "a%03d.mhd", "a#1.2"])
def test_other_names_are_given(name):
    check_name(Path(name))


@given(st.binary(min_size=1, max_size=20).filter(lambda b: b"\0" not in b))
def test_any_name_can_be_shown(name):
    shown = printable(Path(os.fsdecode(name)))
    shown.encode("utf-8")
    assert not any(ord(sign) < 32 for sign in shown)


@pytest.mark.parametrize(
    ("image", "mask", "difference"),
    [
        ("P1", "p1", "letter case"),
        ("Mu\u0308ller", "M\u00fcller", "accent"),
        ("p1 ", "p1", "blanks"),
        ("p 1", "p  1", "blanks"),
        ("p-1", "p_1", "hyphens or underscores"),
        ("p\u0430tient", "patient", "another alphabet"),
        ("\u0412\u041d1", "BH1", "another alphabet"),
        ("p1\u200b", "p1", "a sign that is not seen"),
        ("pl0", "p1O", "a digit and a letter"),
    ],
)
def test_what_differs_is_said(image, mask, difference):
    (sentence,) = look_alikes([image], [mask, "other"])
    assert difference in sentence
    assert sentence.isascii()


def test_a_slice_and_an_output_of_such_a_name_are_refused_too(tmp_path, monkeypatch):
    def asked():
        raise AssertionError("SimpleITK was asked")

    monkeypatch.setattr(itk, "simpleitk", asked)
    path = tmp_path / os.fsdecode(b"a\xff.nii.gz")
    with pytest.raises(DataError, match="no reader was asked"):
        itk.read(path, "GDCMImageIO")
    with pytest.raises(StoreError, match="bytes that are no UTF-8") as caught:
        write_volume(path, np.zeros((1, 2, 2), np.uint8), Grid((1, 2, 2), None, None))
    assert caught.value.where.endswith("a\\xff.nii.gz")
    assert not list(tmp_path.iterdir())


def test_what_differs_for_all_to_see_is_not_said():
    assert not look_alikes(["p1", "p2"], ["p3", "p2"])
