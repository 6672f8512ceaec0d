"""The setting ``labels``."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfedsam_flower.data.labels import parse_labels
from pfedsam_flower.data.samples import label_map
from pfedsam_flower.data.values import Values
from pfedsam_flower.errors import SettingsError

CLASSES = ("organ", "lesion", "vessel")


def test_empty_text_counts_the_classes():
    assert label_map("", CLASSES).classes == ({1}, {2}, {3})


def test_overlapping_classes_and_a_class_that_is_not_annotated():
    assert label_map(" lesion = 255 , organ=128 + 255", CLASSES).classes == ({128, 255}, {255}, set())


@given(st.dictionaries(st.sampled_from(CLASSES), st.sets(st.integers(1, 2**24), min_size=1), min_size=1))
def test_what_is_written_is_read(mapping):
    text = ",".join(f"{name}={'+'.join(map(str, values))}" for name, values in mapping.items())
    assert label_map(text, CLASSES).classes == tuple(mapping.get(name, set()) for name in CLASSES)


def test_values_that_are_none_of_the_classes():
    labels = label_map("organ=1,background=2+3", CLASSES)
    assert labels.classes == ({1}, set(), set())
    assert labels.known == {0, 1, 2, 3}
    assert label_map("background=2", ("background",)).classes == ({2},), "unless a class is called so"
    with pytest.raises(SettingsError, match="3 is given as background and as a class"):
        label_map("organ=1+3,background=2+3", CLASSES)


def test_every_fault_comes_at_once_with_a_suggestion():
    text = "organ,leson=1,tree=4,lesion=0+x+²+16777217,vessel=,lesion=2"
    with pytest.raises(SettingsError) as caught:
        label_map(text, CLASSES)
    said = caught.value.local()
    assert caught.value.code == "PFS-102"
    assert caught.value.counts == {"faults": 9}
    for part in (
        "'organ' is not of the form",
        "did you mean lesion?",
        "known: organ, lesion, vessel, background",
        "given twice",
    ):
        assert part in said
    for value in ("'0'", "'x'", "'²'", "'16777217'", "''"):
        assert value in said


@given(st.text(alphabet="organ=lesi,+ 0123456789-.", max_size=30))
def test_any_text_is_a_mapping_or_a_refusal(text):
    values, problems = parse_labels(text, CLASSES)
    assert len(values.classes) == 3
    assert all(value >= 1 for part in values.classes for value in part)
    if problems:
        with pytest.raises(SettingsError):
            label_map(text, CLASSES)


def test_a_range_stays_small_and_fast():
    labels = label_map("organ=1-16777216,lesion=1-5+9+7 - 8", CLASSES)
    organ, lesion, vessel = labels.classes
    assert organ.ranges == ((1, 2**24),)
    assert lesion.ranges == ((1, 5), (7, 9))
    assert (len(organ), str(lesion), lesion, bool(vessel)) == (
        2**24,
        "1-5+7-9",
        {1, 2, 3, 4, 5, 7, 8, 9},
        False,
    )
    assert labels.known.ranges == ((0, 2**24),)
    assert 65536 in organ
    assert labels.annotated == (True, True, False)


def test_a_background_range_and_where_it_meets_a_class():
    assert label_map("lesion=255,background=200-254", CLASSES).background.ranges == ((200, 254),)
    with pytest.raises(SettingsError, match="labels: 250-254 is given as background and as a class"):
        label_map("lesion=250-255,background=200-254", CLASSES)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("organ=9-5", "'9-5' runs backwards; write 5-9"),
        ("organ=0-5", "'0-5' is not a whole number from 1 to 16777216, nor a range"),
        ("organ=1-16777217", "'1-16777217' is not"),
        ("organ=1--5", "'1--5' is not"),
        ("organ=1-", "'1-' is not"),
        ("organ=-5", "'-5' is not"),
        ("organ=1-5-9", "'1-5-9' is not"),
        ("organ=1\u20135", "is not"),
    ],
)
def test_what_is_no_range(text, said):
    with pytest.raises(SettingsError) as caught:
        label_map(text, CLASSES)
    assert said in caught.value.local()


def test_a_data_set_s_own_name_may_look_like_a_range():
    names = {"1-2": frozenset({7}), "PZ": frozenset({1}), "3": frozenset({8})}
    assert label_map("organ=1-2,lesion=PZ+4-5,vessel=3", CLASSES, names).classes == ({7}, {1, 4, 5}, {3})


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)), max_size=14),
    st.lists(st.integers(0, 80), min_size=1, max_size=30),
)
def test_values_are_a_set_of_numbers(pairs, array):
    values = Values((first, first + more) for first, more in pairs)
    plain = {number for first, more in pairs for number in range(first, first + more + 1)}
    assert (values, set(values), len(values), sorted(values)) == (plain, plain, len(plain), list(values))
    mask = np.array(array, np.int32)
    assert values.holds(mask).tolist() == [number in plain for number in array]
    assert [number in values for number in array] == [number in plain for number in array]
    other = Values.of(array)
    assert values.common(other) == plain & set(array)
    assert Values.union(values, other) == plain | set(array)


def test_many_values_of_large_masks_are_found_without_listing_them():
    mask = np.random.default_rng(0).integers(0, 2**24, (64, 64, 64), dtype=np.int32)
    odd = Values.of(range(1, 4000, 2))
    assert np.array_equal(odd.holds(mask), np.isin(mask, np.arange(1, 4000, 2)))
    assert Values([(1, 2**24)]).holds(mask).sum() == np.count_nonzero(mask)
