"""Splits: by patient, free of order, written once."""

import json
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfedsam_flower.data.layouts import Case
from pfedsam_flower.data.splits import Split, load_or_make_split, make_split, plan_split
from pfedsam_flower.errors import DataError, PfedsamError, StoreError
from pfedsam_flower.settings.site import SiteSettings

SITE = SiteSettings(site="a", data="d", state="s")
NAMES = st.lists(st.text(min_size=1, max_size=8), min_size=3, max_size=40, unique=True)
SHARES = st.floats(0.01, 0.49)
SEEDS = st.integers(0, 2**32 - 1)


def cases(*patients: str) -> list[Case]:
    return [Case(f"{p}-1", p, Path("i"), Path("m")) for p in patients]


@given(NAMES, SHARES, SHARES, SEEDS)
def test_every_patient_stands_in_exactly_one_part_and_no_part_is_empty(names, validation, test, seed):
    split = make_split(names, validation, test, seed)
    assert sorted((*split.train, *split.validation, *split.test)) == sorted(names)
    assert min(len(split.train), len(split.validation), len(split.test)) >= 1


@given(NAMES, SHARES, SHARES, SEEDS, st.randoms(use_true_random=False))
def test_order_and_repetition_change_nothing(names, validation, test, seed, random):
    mixed = names + names[:2]
    random.shuffle(mixed)
    assert make_split(mixed, validation, test, seed) == make_split(names, validation, test, seed)


@given(st.integers(10, 100), SHARES, SHARES, SEEDS)
def test_shares_are_kept_to_half_a_patient(n, validation, test, seed):
    split = make_split([f"p{i}" for i in range(n)], validation, test, seed)
    assert abs(len(split.test) - n * test) <= max(0.5, 1 - n * test) + 1e-9
    # training keeps one patient whatever the shares say
    assert abs(len(split.validation) - n * validation) <= max(1.5, 1 - n * validation) + 1e-9


def test_the_seed_matters_and_the_split_is_what_it_always_was():
    names = [f"p{i:02d}" for i in range(12)]
    splits = {make_split(names, 0.2, 0.2, seed) for seed in range(5)}
    assert len(splits) > 1
    train = ("p00", "p01", "p03", "p04", "p05", "p06", "p09", "p11")
    assert make_split(names, 0.2, 0.2, 0) == Split(train, ("p02", "p08"), ("p07", "p10"))


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_patients_get_a_sentence_with_what_is_still_possible(n):
    with pytest.raises(DataError) as caught:
        make_split([f"Doe{i}" for i in range(n)], 0.2, 0.2, 0)
    assert caught.value.code == "PFS-203"
    assert caught.value.counts == {"patients": n}
    assert "other sites have trained" in caught.value.local()
    assert "Doe" not in caught.value.public()


def test_the_split_is_written_once_and_read_ever_after(tmp_path):
    path = tmp_path / "deep" / "split.json"
    first = load_or_make_split(path, cases(*"edcba"), SITE, 0)
    body = path.read_bytes()
    record = json.loads(body)
    assert record["train"] == sorted(record["train"])
    assert record["seed"] == 0
    assert load_or_make_split(path, cases(*"abcde"), SITE, 1) == first
    assert path.read_bytes() == body
    assert [p.name for p in path.parent.iterdir()] == ["split.json"]


def test_planning_writes_nothing(tmp_path):
    plan = plan_split(tmp_path / "split.json", cases(*"abcde"), SITE, 0)
    assert not list(tmp_path.iterdir())
    assert load_or_make_split(tmp_path / "split.json", cases(*"abcde"), SITE, 0) == plan


def test_new_patients_stay_unused_and_are_said(tmp_path, caplog):
    path = tmp_path / "split.json"
    first = load_or_make_split(path, cases(*"abcde"), SITE, 0)
    with caplog.at_level(logging.WARNING):
        assert load_or_make_split(path, cases(*"abcdefg"), SITE, 0) == first
    assert "2 new patients" in caplog.text
    assert "f, g" in caplog.text


def test_patients_that_are_gone_are_refused(tmp_path):
    path = tmp_path / "split.json"
    load_or_make_split(path, cases(*"abcde"), SITE, 0)
    body = path.read_bytes()
    with pytest.raises(DataError, match="2 of the 5") as caught:
        load_or_make_split(path, cases(*"abc"), SITE, 0)
    assert caught.value.code == "PFS-206"
    assert caught.value.counts == {"missing_patients": 2}
    assert path.read_bytes() == body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"3",
        b"null",
        b"{}",
        b"[" * 100_000,
        b'{"train": ["a"], "validation": ["b"]}',
        b'{"train": ["a"], "validation": ["b"], "test": []}',
        b'{"train": ["a"], "validation": ["b"], "test": "c"}',
        b'{"train": ["a"], "validation": ["b"], "test": [1]}',
        b'{"train": ["a"], "validation": ["b"], "test": ["a"]}',
        b'{"train": ["a", "a"], "validation": ["b"], "test": ["c"]}',
    ],
)
def test_a_damaged_record_is_refused_and_kept(tmp_path, body):
    path = tmp_path / "split.json"
    path.write_bytes(body)
    with pytest.raises(DataError) as caught:
        load_or_make_split(path, cases(*"abcde"), SITE, 0)
    assert caught.value.code == "PFS-206"
    assert path.read_bytes() == body


def test_a_record_that_an_editor_has_saved_in_another_encoding_is_the_same(tmp_path):
    path = tmp_path / "split.json"
    split = load_or_make_split(path, cases(*"abcde"), SITE, 0)
    text = path.read_text()
    for encoding in ("utf-8-sig", "utf-16"):
        path.write_text(text, encoding=encoding)
        assert load_or_make_split(path, cases(*"abcde"), SITE, 1) == split


def test_a_folder_that_cannot_be_written_is_an_error_of_ours(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PfedsamError) as caught:
        load_or_make_split(tmp_path / "file" / "split.json", cases(*"abcde"), SITE, 0)
    assert isinstance(caught.value, StoreError)
    assert caught.value.code == "PFS-604"
