"""Folds: every patient tested once, the same everywhere, and what a site reads as its split."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pfedsam_flower.data.folds import check_folds, from_record, make_folds, split_record, to_record, with_few
from pfedsam_flower.data.layouts import Case
from pfedsam_flower.data.splits import Split, load_or_make_split
from pfedsam_flower.errors import DataError, SettingsError
from pfedsam_flower.settings.site import SiteSettings

NAMES = st.lists(st.text(min_size=1, max_size=6), max_size=25, unique=True)
SITES = st.dictionaries(st.text(min_size=1, max_size=4), NAMES, max_size=3).map(
    lambda sites: {**sites, "big": [f"p{i}" for i in range(11)]}
)
COUNTS = st.integers(2, 8)
SEEDS = st.integers(0, 2**32 - 1)


def patients(n: int) -> list[str]:
    return [f"p{i:02d}" for i in range(n)]


@given(SITES, COUNTS, st.floats(0.01, 0.99), SEEDS)
@settings(deadline=None)
def test_every_patient_is_tested_once_and_the_parts_of_a_fold_share_nobody(sites, count, share, seed):
    folds = make_folds(sites, count=count, validation_share=share, seed=seed)
    assert sorted([*folds.sites, *folds.too_small]) == sorted(sites)
    for site, splits in folds.sites.items():
        assert check_folds(site, splits) == []
        everybody = sorted(sites[site])
        assert sorted(p for run in range(count) for p in folds.tested(site, run)) == everybody
        for split in splits:
            assert sorted((*split.train, *split.validation, *split.test)) == everybody
        sizes = [len(split.test) for split in splits]
        assert max(sizes) - min(sizes) <= 1
    for site, left in folds.too_small.items():
        assert list(left) == sorted(sites[site])


@given(SITES, COUNTS, SEEDS, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_order_repetition_and_other_sites_change_nothing(sites, count, seed, random):
    folds = make_folds(sites, count=count, seed=seed)
    shuffled = {site: names + names[:1] for site, names in sites.items()}
    for names in shuffled.values():
        random.shuffle(names)
    backwards = dict(reversed(shuffled.items()))
    assert make_folds(backwards, count=count, seed=seed) == folds
    assert list(make_folds(backwards, count=count, seed=seed).sites) == list(folds.sites)
    assert make_folds({"big": sites["big"]}, count=count, seed=seed).sites["big"] == folds.sites["big"]


@given(SITES, COUNTS, SEEDS, st.integers(1, 12))
@settings(deadline=None)
def test_with_few_patients_the_tests_stay_and_a_smaller_number_is_among_a_larger_one(sites, count, seed, n):
    whole = make_folds(sites, count=count, seed=seed)
    assert with_few(whole, None) == whole
    few, more = with_few(whole, n), with_few(whole, n + 1)
    assert list(few.sites) == list(whole.sites)
    for site, splits in whole.sites.items():
        for all_of_it, some, larger in zip(splits, few.sites[site], more.sites[site], strict=True):
            assert some.test == all_of_it.test
            assert len(some.train) == min(n, len(all_of_it.train))
            assert len(some.validation) == min(max(1, n // 4), len(all_of_it.validation))
            assert set(some.train) <= set(larger.train) <= set(all_of_it.train)
            assert set(some.validation) <= set(larger.validation) <= set(all_of_it.validation)


def test_the_folds_are_what_they_always_were():
    folds = make_folds({"a": patients(7)}, count=3, seed=0).sites["a"]
    assert folds == (
        Split(("p01", "p02", "p05"), ("p04",), ("p00", "p03", "p06")),
        Split(("p00", "p01", "p03", "p06"), ("p02",), ("p04", "p05")),
        Split(("p03", "p04", "p05", "p06"), ("p00",), ("p01", "p02")),
    )
    assert make_folds({"a": patients(7)}, count=3, seed=1).sites["a"] != folds


@pytest.mark.parametrize(
    ("n", "count", "n_folds"), [(0, 5, 0), (1, 5, 0), (2, 2, 0), (3, 2, 0), (3, 5, 3), (4, 2, 2), (9, 5, 5)]
)
def test_a_small_site_has_fewer_folds_or_is_named(n, count, n_folds):
    folds = make_folds({"small": patients(n), "big": patients(10)}, count=count)
    assert len(folds.sites.get("small", ())) == n_folds
    assert folds.too_small == ({} if n_folds else {"small": tuple(patients(n))})


def test_a_site_with_fewer_folds_goes_on_training_but_is_tested_no_more():
    folds = make_folds({"small": patients(3), "big": patients(10)}, count=5)
    assert [len(folds.tested("small", run)) for run in range(5)] == [1, 1, 1, 0, 0]
    assert [len(folds.tested("big", run)) for run in range(5)] == [2] * 5
    assert folds.split("small", 3) == folds.split("small", 0)


def test_validation_goes_round_as_testing_does():
    splits = make_folds({"a": patients(10)}, count=5, validation_share=0.2).sites["a"]
    assert sorted(p for split in splits for p in split.validation) == patients(10)
    assert [len(split.train) for split in splits] == [6] * 5


@pytest.mark.parametrize(("count", "share"), [(1, 0.2), (0, 0.2), (5, 0.0), (5, 1.0)])
def test_what_cannot_be_asked_for(count, share):
    with pytest.raises(SettingsError, match="PFS-101"):
        make_folds({"a": patients(9)}, count=count, validation_share=share)


def test_no_site_that_can_be_divided():
    with pytest.raises(DataError) as caught:
        make_folds({"a": ["Doe"], "b": []})
    assert caught.value.code == "PFS-203"
    assert "a, b" in caught.value.local()
    assert "Doe" not in caught.value.public()


@given(SITES, COUNTS, SEEDS)
@settings(deadline=None)
def test_a_record_in_a_file_gives_the_folds_back(sites, count, seed):
    folds = make_folds(sites, count=count, seed=seed)
    assert from_record(json.loads(json.dumps(to_record(folds)))) == folds


def damaged(change) -> object:
    record = json.loads(json.dumps(to_record(make_folds({"a": patients(6), "b": patients(2)}, count=3))))
    change(record)
    return record


def test_a_damaged_record_says_everything_that_is_wrong():
    def move(record):
        first, second = record["sites"]["a"][:2]
        first["train"].append(first["test"].pop())
        second["validation"] = []
        record["too_small"]["a"] = []

    with pytest.raises(DataError) as caught:
        from_record(damaged(move), where="folds.json")
    text = caught.value.local()
    assert caught.value.code == "PFS-206"
    for said in (
        "is tested 0 times",
        "fold 1 has nobody",
        "fold 1 lacks",
        "too small at once: a",
        "folds.json",
    ):
        assert said in text


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r.update(version=2),
        lambda r: r.pop("sites"),
        lambda r: r["sites"]["a"][0].pop("train"),
        lambda r: r["sites"]["a"][0].update(train="p00"),
        lambda r: r["sites"].update(a=7),
        lambda r: r["sites"].update(a=[]),
        lambda r: r.update(sites=None),
        lambda r: r.update(seed="x"),
        lambda r: r["sites"]["a"].append(r["sites"]["a"][0]),
        lambda r: r["sites"]["a"][0]["train"].append(r["sites"]["a"][0]["test"][0]),
    ],
)
def test_each_damage_is_refused(change):
    with pytest.raises(DataError, match="PFS-206"):
        from_record(damaged(change))


@pytest.mark.parametrize("record", [None, [], "folds", 3])
def test_what_is_no_record_is_refused(record):
    with pytest.raises(DataError, match="PFS-206"):
        from_record(record)


def test_the_check_sees_a_patient_twice_in_one_part():
    split = make_folds({"a": patients(4)}, count=2).sites["a"]
    doubled = replace(split[0], train=split[0].train * 2)
    assert check_folds("a", (doubled, split[1])) == ["a: somebody stands in fold 0 twice"]


def test_a_site_takes_a_fold_as_its_split(tmp_path):
    """Through the file that the site itself reads: had it been another, a new split would be made."""
    names = patients(8)
    folds = make_folds({"north": names}, count=4, seed=3)
    cases = [Case(f"{name}-1", name, Path("i"), Path("m")) for name in names]
    site = SiteSettings(site="north", data="d", state="s")
    for run in range(4):
        path = tmp_path / str(run) / "split.json"
        path.parent.mkdir()
        path.write_text(json.dumps(split_record(folds, "north", run)), encoding="utf-8")
        read = load_or_make_split(path, cases, site, seed=99)
        assert read == folds.split("north", run)
        assert read.test == folds.tested("north", run)


def test_the_content_is_what_the_site_itself_would_write(tmp_path):
    names = patients(8)
    cases = [Case(name, name, Path("i"), Path("m")) for name in names]
    path = tmp_path / "split.json"
    load_or_make_split(path, cases, SiteSettings(site="north", data="d", state="s"), 3)
    written = json.loads(path.read_text(encoding="utf-8"))
    ours = json.loads(json.dumps(split_record(make_folds({"north": names}, seed=3), "north", 0)))
    assert {key: type(value) for key, value in ours.items()} == {k: type(v) for k, v in written.items()}
    assert (ours["version"], ours["seed"]) == (written["version"], written["seed"])
