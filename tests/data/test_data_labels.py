"""The setting ``labels``."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfedsam_flower.data.labels import parse_labels
from pfedsam_flower.data.samples import label_map
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
