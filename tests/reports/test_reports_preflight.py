"""The table of what the sites said, and which cases the contact sheet shows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfedsam_flower.data.facts import Picture
from pfedsam_flower.reports import contact_sheet, preflight
from pfedsam_flower.reports.history import collect

NORTH = {
    "cases": 40, "patients": 10, "slices": {"low": 1, "high": 1}, "height": {"low": 128, "high": 256},
    "width": {"low": 128, "high": 128}, "spacing_row": {"low": 0.5, "high": 0.5}, "channels": {"1": 40},
    "orientations": {"LPS": 30, "RAS": 10}, "intensity_low": {"low": -1000, "high": -990},
    "intensity_high": {"low": 200, "high": 250}, "empty_masks": "<5", "duplicates": 0,
    "classes": [{"annotated": True, "cases": 40, "share": 0.12}, {"annotated": False, "cases": 0}],
    "warnings": {"PFS-211": "<5"},
}  # fmt: skip
VALLEY = {"cases": "<5", "errors": {"PFS-205": "<5"}, "refused": "PFS-205"}


def test_each_site_is_a_row_and_what_was_not_said_is_a_dash():
    north, valley = preflight.rows({"valley": VALLEY, "north": NORTH}, ["organ", "lesion"])
    assert north == (
        "north", "10", "40", "1", "128–256 x 128", "– x 0.5 x –", "LPS RAS", "1", "-1000 to 250",
        "organ 40 (12 %), lesion not annotated", "<5", "0", "warnings: PFS-211 <5",
    )  # fmt: skip
    assert valley[:3] == ("valley", "–", "<5")
    assert valley[-1] == "refused; errors: PFS-205 <5"
    text = preflight.as_text({"valley": VALLEY, "north": NORTH}, ["organ", "lesion"]).splitlines()
    assert len(text) == 3
    assert all(line.index("organ" if "organ" in line else "–") > 0 for line in text[1:])


def test_the_history_keeps_what_each_site_said_last():
    events = [
        {"event": "start", "expected": ["north", "valley"], "classes": ["organ", "lesion"], "rounds": 0},
        {"event": "preflight", "site": "north", "facts": VALLEY},
        {"event": "preflight", "site": "north", "facts": NORTH},
    ]
    assert collect(events).facts == {"north": NORTH}


def picture(name: str) -> Picture:
    return Picture(name, np.zeros((4, 4), np.uint8), np.zeros((1, 4, 4), bool), 1.0, ("", ""))


@given(st.integers(0, 200), st.sets(st.integers(0, 199)))
def test_the_sheet_is_bounded_and_suspected_cases_come_first(n, suspected):
    names = {str(i) for i in suspected if i < n}
    shown = contact_sheet.chosen([picture(str(i)) for i in range(n)], names)
    ids = [one.id for one in shown]
    assert len(ids) == len(set(ids)) == min(n, contact_sheet.LARGEST)
    k = min(len(names), contact_sheet.LARGEST)
    assert set(ids[:k]) <= names
    assert not set(ids[k:]) & names


@pytest.mark.parametrize("n", [0, 1, 7])
def test_a_sheet_of_any_number_of_cases_is_written(tmp_path, n):
    path = contact_sheet.write_contact_sheet(
        [picture(str(i)) for i in range(n)], ["organ"], {"0"}, tmp_path / "s.png"
    )
    assert path.read_bytes().startswith(b"\x89PNG")
