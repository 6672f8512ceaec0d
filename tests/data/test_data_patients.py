"""Names that look like several of one patient, and names that do not."""

import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfedsam_flower.data.layouts.case import patients_of
from pfedsam_flower.data.patients import split_patients


def names(pattern: str, *lists) -> list[str]:
    made = [""]
    for part, choices in zip(re.split(r"\*", pattern), [*lists, [""]], strict=True):
        made = [one + part + str(choice) for one in made for choice in choices]
    return made


def found(ids: list[str], expression: str = "^(.+)$"):
    patients, wrong = patients_of(expression, ids)
    assert not wrong
    return split_patients(patients, named=False)


def advised(ids: list[str], expression: str = "^(.+)$") -> tuple[str, dict[str, str]]:
    """The expression of the one finding, and the patients that it gives when it is used."""
    (finding,) = found(ids, expression)
    assert (finding.code, finding.severity, finding.where) == ("PFS-217", "warning", "")
    told = re.search(r"set patient = '(.+)';", finding.hint)[1]
    patients, wrong = patients_of(told, ids)
    assert not wrong, "every name has a patient"
    assert f"would be {len(set(patients.values()))}:" in finding.text
    return told, patients


NUMBERS, FOUR = range(1, 17), range(1, 5)
TWO = [f"{n:02}" for n in NUMBERS]


@pytest.mark.parametrize(
    ("ids", "expression", "n_patients"),
    [
        (names("X*-s*", FOUR, FOUR), r"^(.+)-s\d+$", 4),
        (names("*-s*", ("anna", "Müller"), FOUR), r"^(.+)-s\d+$", 2),
        (names("case_*_slice_*", FOUR, ("001", "002", "103")), r"^(.+)_slice_\d+$", 4),
        (names("P00*_000*", FOUR, FOUR), r"^(.+)_\d+$", 4),
        (names("TCGA_DU_*_00*", ("5849", "A5TP", "7010"), FOUR), r"^(.+)_\d+$", 3),
        (names("vol* z*", FOUR, NUMBERS), r"^(.+) z\d+$", 4),
        (names("vol*z*", FOUR, NUMBERS), r"^(.+)z\d+$", 4),
        (names("P*_*", FOUR, "LR"), r"^(.+)(?:_L|_R)$", 4),
        (names("*-*", ("ann", "ben"), ("left", "right")), r"^(.+)(?:-left|-right)$", 2),
        (names("0*_*", FOUR, ("OD", "OS")), r"^(.+)(?:_OD|_OS)$", 4),
        (names("chase_0**", FOUR, "LR"), r"^(.+)(?:L|R)$", 4),
        (names("*_0*", ("left", "right"), FOUR), r"^(?:left_|right_)(.+)$", 4),
        (["P1_L", "P1_R", "P2_L", "P3_R"], r"^(.+)(?:_L|_R)$", 3),
        (names("p*-scan*", FOUR, (1, 2)), r"^(.+)-scan\d+$", 4),
        (names("patient00*_frame*", FOUR, ("01", "12")), r"^(.+)_frame\d+$", 4),
        (names("P*_*", FOUR, (20230105, 20240206)), r"^(.+)_\d+$", 4),
        (names("P*_2024-01-0*", FOUR, FOUR), r"^(.+)_\d+-\d+-\d+$", 4),
        (names("sub-*_ses-*_T2w", FOUR, FOUR), r"^(.+)_ses-\d+_T2w$", 4),
        (names("p*_*_visit*_s*", FOUR, "LR", (1, 2), FOUR), r"^(.+)(?:_L|_R)_visit\d+_s\d+$", 4),
        (["p1", "p1 (1)", "p2", "p2 (1)", "p3"], r"^(.+?)(?: \(\d+\))?$", 3),
        (["a.b-s1", "a.b-s2", "a+b-s1", "a+b-s2"], r"^(.+)-s\d+$", 2),
    ],
)
def test_what_is_advised_groups_the_names_when_it_is_used(ids, expression, n_patients):
    told, patients = advised(ids)
    assert (told, len(set(patients.values()))) == (expression, n_patients)
    assert found(ids, told) == [], "once it is set"


@pytest.mark.parametrize(
    "ids",
    [
        names("p*", TWO),
        names("case_*", [f"{n:04}" for n in range(1, 201)]),
        names("IMG_202401*_*", TWO, FOUR),
        names("202401*_*", TWO, ("101530", "112233")),
        names("IMG-202401*-WA000*", TWO, FOUR),
        names("CT_20*_*", (19, 20, 21), NUMBERS),
        names("*", range(300)),
        names("BRATS_*", NUMBERS),
        names("ISIC_000000*", FOUR),
        names("BraTS20_*_*", ("Training", "Validation"), NUMBERS),
        names("*_*", ("liver", "spleen"), NUMBERS),
        names("*_image_*", ("liver", "spleen"), NUMBERS),
        names("*_*", ("train", "test"), NUMBERS),
        names("site*_*", FOUR, NUMBERS),
        names("*-s*", ("train", "test"), NUMBERS),
        names("hrf_*_*", NUMBERS, ("h", "dr", "g")),
        names("*_training", NUMBERS),
        names("p*-s1", NUMBERS),
        names("p1-s*", NUMBERS),
        names("P*_L", NUMBERS),
        [str(uuid.UUID(int=n * 7919**8)) for n in range(1, 300)],
        [uuid.UUID(int=n * 7919**9).hex[:12] for n in range(1, 300)],
        ["one"],
        [],
    ],
)
def test_names_that_are_patients_each_are_left_alone(ids):
    assert found(ids) == []


def test_an_expression_that_joins_some_is_asked_about_the_rest():
    ids = names("p*-scan*-s*", FOUR, (1, 2), FOUR)
    (finding,) = found(ids, r"^(.+)-s\d+$")
    assert finding.text.startswith("32 names are 8 patients, and would be 4: ")
    assert r"patient = '^(.+)-scan\d+-s\d+$'" in finding.hint
    assert found(ids, r"^(p\d)") == []


def test_three_examples_and_how_many_more():
    (finding,) = found(names("X*-s*", FOUR, NUMBERS))
    assert finding.text == (
        "64 names are 64 patients, and would be 4: X1-s1, X1-s10, X1-s11 look like one; X2-s1, X2-s10, "
        "X2-s11 look like one; X3-s1, X3-s10, X3-s11 look like one; and 1 more"
    )


@pytest.mark.parametrize(
    ("one", "other"), [("P01", "p01"), ("P01", "P01 "), ("P-01", "p_01"), ("Mu\u0308ller", "Müller")]
)
def test_spellings_of_one_name_are_compared_whoever_named_the_patients(one, other):
    patients = {"a-s1": one, "a-s2": other, "b-s1": "P2", "b-s2": "P3"}
    (finding,) = split_patients(patients, named=True)
    assert finding.code == "PFS-217"
    assert repr(one) in finding.text
    assert repr(other) in finding.text
    assert "correct the data set so that the name has one spelling" in finding.hint


@given(st.lists(st.text(alphabet="p1-_s LR.(z)", min_size=1, max_size=8), max_size=12, unique=True))
def test_any_names_are_left_alone_or_get_an_expression_that_fits(ids):
    for finding in found(ids):
        told = re.search(r"set patient = '(.+)';", finding.hint)
        if told:
            patients, wrong = patients_of(told[1], ids)
            assert not wrong
            assert len(set(patients.values())) < len(ids)


@pytest.mark.parametrize(
    ("marks", "stem"),
    [
        (["_1", "_2", "_13"], "TCGA_CS_{}_19960909"),
        (["_2CH_ED", "_2CH_ES", "_4CH_ED", "_4CH_ES"], "patient00{}"),
        (["a", "b", "c"], "P{}"),
        (["_1of2", "_2of2"], "P{}"),
        (["#1", "#2"], "p{}"),
        (["_CT", "_MR"], "p{}"),
        ([" (1)", " (2)"], "p{}"),
    ],
)
def test_further_marks_of_one_patient_and_the_expression_that_joins_them(marks, stem):
    stems = [stem.format(n) for n in range(11, 15)]
    names = [one + mark for one in stems for mark in marks]
    (finding,) = split_patients({name: name for name in names}, named=False)
    assert f"would be {len(stems)}" in finding.text
    expression = re.search(r"patient = '(.+)';", finding.hint)[1]
    assert {re.search(expression, name)[1] for name in names} == set(stems)


@pytest.mark.parametrize(
    "names",
    [
        [f"{kind} ({n})" for kind in ("benign", "malignant") for n in range(1, 9)],
        [f"{camera}_20210304_{n}" for camera in ("IMG", "DSC") for n in range(9)],
        [f"BraTS2021_{n:05d}" for n in range(9)],
        ["831218e6a1a", "0532c64c2fb", "f534b43bf3c", "0ddd8deaf1a"],
    ],
)
def test_collections_that_number_their_patients_are_no_groups(names):
    assert split_patients({name: name for name in names}, named=False) == []
