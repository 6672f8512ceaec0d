"""What a hospital allows: signs on its disk, hours, amounts in a day; and what it reads of its journals."""

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from pfedsam_flower.errors import ConsentError
from pfedsam_flower.settings.site import SiteSettings
from pfedsam_flower.site import consent, journal, sent

NOON = datetime(2026, 11, 27, 12, 30, tzinfo=timezone(timedelta(hours=1)))


@pytest.fixture
def site(tmp_path: Path) -> SiteSettings:
    return SiteSettings(site="north", data="data", state=str(tmp_path / "state"))


def entry(number: int, when: datetime = NOON, **more: Any) -> dict[str, Any]:
    words = {"kind": "train", "round": number, "broadcast": f"b{number}"}
    known = {
        "federation": "f",
        "run": "7",
        "kind": "train",
        "bytes": 400_000,
        "settings": "s",
        "words": words,
    }
    return {"time": when.astimezone(UTC).isoformat(timespec="seconds")} | known | more


def write(site: SiteSettings, *entries: dict[str, Any], federation: str = "f") -> Path:
    path = Path(site.state) / federation / site.site / "sent.jsonl"
    for one in entries:
        journal.append(path, one)
    return path


def code(
    site: SiteSettings, number: int = 9, n_bytes: int = 0, now: datetime = NOON, settings: str = "s"
) -> str:
    try:
        consent.check_round(site, consent.Work(("f", "train", number, f"b{number}", settings), n_bytes), now)
    except ConsentError as error:
        return error.code
    return ""


def willing(site: SiteSettings) -> str:
    try:
        consent.check_willing(site)
    except ConsentError as error:
        return error.code
    return ""


def test_pause_resume_leave_and_a_file_put_there_by_hand(site: SiteSettings) -> None:
    assert willing(site) == ""
    consent.pause(site)
    other = site.model_copy(update={"site": "south"})
    assert (willing(site), willing(other)) == ("PFS-702", "")
    assert consent.resume(site) == []
    assert willing(site) == ""
    by_hand = Path(site.state) / "STOP"
    by_hand.touch()
    assert (willing(site), willing(other)) == ("PFS-702", "PFS-702")
    assert consent.resume(site) == [by_hand]
    by_hand.unlink()
    consent.leave(site)
    assert willing(site) == "PFS-703"
    assert consent.resume(site) == []
    assert willing(site) == ""


@pytest.mark.parametrize(
    ("hours", "allowed"),
    [
        ("", range(24)),
        ("8-17", range(8, 17)),
        ("18-6", [*range(18, 24), *range(6)]),
        ("0-24", range(24)),
        ("22-24", (22, 23)),
    ],
)
def test_hours_are_by_the_sites_clock_and_may_cross_midnight(hours: str, allowed: Any) -> None:
    assert [hour for hour in range(24) if consent.within(hours, hour)] == sorted(allowed)


def test_rounds_in_a_day_are_counted_over_all_federations_once_each(site: SiteSettings) -> None:
    site = site.model_copy(update={"rounds_a_day": 3})
    refused = {"words": entry(5)["words"] | {"refusal": {"code": "PFS-704", "text": ""}}}
    write(site, entry(1, NOON - timedelta(hours=13)), entry(2), entry(2), entry(5, **refused))
    assert code(site) == ""
    write(site, entry(1, federation="g"), federation="g")
    assert code(site) == ""
    write(site, entry(3))
    assert code(site) == "PFS-705"
    assert code(site, 3) == "", "the same round is answered again"
    assert code(site, 3, settings="more rounds") == "PFS-705", "that is trained anew"
    assert code(site, now=NOON + timedelta(days=1)) == ""


@pytest.mark.parametrize("odd", [{"bytes": "x"}, {"words": {"round": [1]}}, {"words": 1}, {"time": 1}])
def test_lines_that_somebody_else_wrote_end_no_round(site: SiteSettings, odd: dict[str, Any]) -> None:
    write(site, entry(1, **odd))
    assert code(site.model_copy(update={"rounds_a_day": 1})) == ""


def test_a_round_that_came_to_nothing_was_worked_on_each_time(site: SiteSettings) -> None:
    site = site.model_copy(update={"rounds_a_day": 2})
    failed = {"words": entry(5)["words"] | {"refusal": {"code": "PFS-506", "text": ""}}}
    write(site, entry(5, **failed))
    assert code(site, 5) == ""
    write(site, entry(5, **failed))
    assert code(site, 5) == "PFS-705"


def test_megabytes_in_a_day_hold_also_for_what_is_sent_again(site: SiteSettings) -> None:
    site = site.model_copy(update={"mb_a_day": 1.0})
    write(site, entry(1), entry(2))
    assert code(site, n_bytes=200_000) == ""
    assert code(site, n_bytes=200_001) == "PFS-705"
    assert code(site, 2, n_bytes=400_000) == "PFS-705"


def test_outside_of_its_hours_a_site_answers_only_what_it_has_done(site: SiteSettings) -> None:
    site = site.model_copy(update={"hours": "18-6"})
    write(site, entry(1))
    assert code(site) == "PFS-704"
    assert code(site, 1) == ""
    assert code(site, 1, settings="more rounds") == "PFS-704"
    assert code(site, now=NOON + timedelta(hours=7)) == ""


def test_a_line_that_a_crash_cut_off_does_not_break_the_chain(site: SiteSettings) -> None:
    path = write(site, entry(1), entry(2))
    with path.open("ab") as file:
        file.write(b'{"round": 3, "bef')
    assert len(journal.read(path)) == 2
    write(site, entry(3))
    assert journal.broken_at(path) is None
    assert [one["words"]["round"] for one in journal.read(path)] == [1, 2, 3]


def test_totals_by_day_and_run_and_a_broken_chain_is_named(site: SiteSettings) -> None:
    local = datetime(2026, 11, 27, 12, 0).astimezone()
    failed = entry(0, local, kind="error", words={"text": "PFS-506"}, bytes=10)
    path = write(site, entry(1, local), entry(2, local), failed, entry(3, local + timedelta(days=1), run="8"))
    first, second = sent.totals(sent.entries(site))
    assert (first.day, first.federation, first.run) == ("2026-11-27", "f", "7")
    assert (first.messages, first.rounds, first.refused, first.n_bytes) == (3, 2, 1, 800_010)
    assert (second.day, second.run, second.n_bytes) == ("2026-11-28", "8", 400_000)
    (state,) = sent.states(site)
    assert (state.path, state.lines, state.broken_at) == ("f/north/sent.jsonl", 4, None)
    lines = path.read_text().splitlines()
    changed = json.loads(lines[1]) | {"bytes": 1}
    path.write_text("\n".join([lines[0], json.dumps(changed), *lines[2:]]) + "\n")
    assert sent.states(site)[0].broken_at == 3
