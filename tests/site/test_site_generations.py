"""What a site has learnt survives whatever is asked of it, and an older copy of it is seen."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfedsam_flower.errors import StoreError
from pfedsam_flower.settings.site import SiteSettings
from pfedsam_flower.site import aside, generations, journal
from pfedsam_flower.site.generations import Generations
from pfedsam_flower.site.paths import journal_path, store_folder


def row(number: int, tag: str = "") -> dict[str, Any]:
    name = f"{number}{tag}"
    return {"round": number, "personal": f"p{name}", "reply": f"r{name}", "reply_sha256": f"s{name}"}


def after(*rows: dict[str, Any]) -> Generations:
    found = Generations({}, [], [])
    for one in rows:
        found = found.then(one)
    return found


def test_rounds_in_order_keep_two_generations_and_nothing_else() -> None:
    found = after(*map(row, range(1, 9)))
    assert [one["round"] for one in found.rows] == [7, 8]
    assert found.aside == []


def test_what_was_learnt_before_a_jump_stays() -> None:
    found = after(*map(row, (1, 2, 49, 50, 51)))
    assert [one["round"] for one in found.rows] == [50, 51]
    assert [one["round"] for one in found.aside] == [2]
    back = found.back(2)
    assert [one["round"] for one in back.rows] == [2]
    assert [one["round"] for one in back.aside] == [50, 51]


def test_what_a_round_done_again_replaces_stays() -> None:
    found = after(row(1), row(2), row(2, "b"), row(2, "c"), row(3))
    assert [one["reply"] for one in found.rows] == ["r2c", "r3"]
    assert [one["reply"] for one in found.aside] == ["r2", "r2b"]


@given(st.lists(st.integers(0, 4), max_size=30))
def test_only_the_ordinary_course_ever_forgets(steps: list[int]) -> None:
    """Of what was learnt, only a generation goes that two rounds in order have followed."""
    found, number = Generations({}, [], []), 0
    for turn, step in enumerate(steps):
        before, number = found, max(number + step, 1)
        found = found.then(row(number, f"-{turn}"))
        gone = before.files() - found.files()
        allowed = before.rows[:1] if len(before.rows) == 2 and number == before.rows[-1]["round"] + 1 else []
        jumped = bool(before.rows) and number > before.rows[-1]["round"] + 1
        allowed = before.rows[:1] if jumped else allowed  # the newest before the jump stays
        assert gone <= {one[name] for one in allowed for name in ("personal", "reply")}


@pytest.fixture
def site(tmp_path: Path) -> SiteSettings:
    return SiteSettings(site="north", data=".", state=str(tmp_path))


def write(site: SiteSettings, found: Generations) -> Path:
    folder = store_folder(site, "test", "pfedsam")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / generations.FILE).write_bytes(found.encoded())
    return folder


def answered(site: SiteSettings, folder: Path) -> None:
    entry = {"kind": "train", "words": {"round": 1}, "state": generations.newest(folder)}
    journal.append(journal_path(site, "test"), entry)


def check(site: SiteSettings, folder: Path) -> str:
    try:
        generations.check_not_set_back(folder, journal.stores(journal_path(site, "test")))
    except StoreError as error:
        return error.public()
    return ""


def test_an_older_copy_is_seen_and_a_crash_is_not_taken_for_one(site: SiteSettings) -> None:
    older, newer = after(row(1), row(2)), after(row(1), row(2), row(3))
    folder = write(site, older)
    assert check(site, folder) == ""
    answered(site, folder)
    write(site, newer)  # the process was ended between its state and its journal
    assert check(site, folder) == ""
    answered(site, folder)
    write(site, older)
    assert check(site, folder) == (
        "PFS-606 the site's personal state is older than its journal (answered round 3, state round 2)"
    )
    (folder / generations.FILE).unlink()
    assert "state round 0" in check(site, folder)
    write(site, newer)
    assert check(site, folder) == ""


def test_an_older_copy_of_the_same_round_is_seen(site: SiteSettings) -> None:
    first, again = after(row(1), row(2)), after(row(1), row(2), row(2, "b"))
    folder = write(site, first)
    answered(site, folder)
    write(site, again)
    answered(site, folder)
    write(site, first)
    assert "PFS-606" in check(site, folder)


def test_a_hand_may_go_on_with_an_older_copy_go_back_or_begin_anew(site: SiteSettings) -> None:
    folder = write(site, after(*map(row, (1, 2, 49, 50))))
    answered(site, folder)
    assert aside.go_back(site, "test", 2) == [(folder, 2)]
    assert check(site, folder) == ""
    write(site, after(row(1)))
    assert "PFS-606" in check(site, folder)
    assert aside.keep(site, "test") == [(folder, 1)]
    assert check(site, folder) == ""
    aside.set_aside(site, "test")
    assert check(site, folder) == ""
    assert journal.broken_at(journal_path(site, "test")) is None
    with pytest.raises(StoreError, match="no personal state"):
        aside.go_back(site, "test", 1)


def test_a_state_that_is_gone_is_gone_on_from_by_hand_only(site: SiteSettings) -> None:
    folder = write(site, after(row(1), row(2)))
    answered(site, folder)
    (folder / generations.FILE).unlink()
    assert "PFS-606" in check(site, folder)
    assert aside.keep(site, "test") == [(folder, 0)]
    assert check(site, folder) == ""


ROWS = ("[1]", '[{"round": "1"}]', '[{"round": 1}]', "7")
DAMAGED = ("", "[]", "{}", *(f'{{"binding": {{}}, "generations": {rows}}}' for rows in ROWS))


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_list_has_a_name(site: SiteSettings, text: str) -> None:
    folder = write(site, after(row(1)))
    (folder / generations.FILE).write_text(text)
    with pytest.raises(StoreError, match="PFS-603"):
        generations.newest(folder)
