"""Whatever is done to a journal behind the site's back, it is seen; a crash is not taken for it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pfedsam_flower.errors import StoreError
from pfedsam_flower.settings.site import SiteSettings
from pfedsam_flower.site import generations, journal, whole
from pfedsam_flower.site.generations import Generations
from pfedsam_flower.site.journal import Head
from pfedsam_flower.site.paths import journal_path, store_folder
from pfedsam_flower.site.sent import states


@pytest.fixture
def site(tmp_path: Path) -> SiteSettings:
    return SiteSettings(site="north", data=".", state=str(tmp_path / "state"))


def fill(site: SiteSettings, n: int = 4) -> Path:
    path = journal_path(site, "test")
    for number in range(n):
        journal.append(path, {"kind": "train", "words": {"round": number}, "site": site.site})
    return path


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def cut_last(path: Path, elsewhere: Path) -> None:
    path.write_bytes(b"".join(lines(path)[:-1]))


def change_last(path: Path, elsewhere: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"round":3', b'"round":4'))


def change_in_the_middle(path: Path, elsewhere: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"round":1', b'"round":9'))


def older(path: Path, elsewhere: Path) -> None:
    path.write_bytes(b"".join(lines(path)[:2]))


def empty(path: Path, elsewhere: Path) -> None:
    path.write_bytes(b"")


def remove(path: Path, elsewhere: Path) -> None:
    path.unlink()


def remove_both(path: Path, elsewhere: Path) -> None:
    path.unlink()
    path.with_name(journal.HEAD).unlink()


def remove_record(path: Path, elsewhere: Path) -> None:
    path.with_name(journal.HEAD).unlink()


def damage_record(path: Path, elsewhere: Path) -> None:
    path.with_name(journal.HEAD).write_text("{")


def another_sites(path: Path, elsewhere: Path) -> None:
    shutil.copy(elsewhere, path)


def another_sites_whole(path: Path, elsewhere: Path) -> None:
    for name in ("sent.jsonl", journal.HEAD):
        shutil.copy(elsewhere.with_name(name), path.with_name(name))


def two_lines_more(path: Path, elsewhere: Path) -> None:
    path.write_bytes(path.read_bytes() + b"{}\n{}\n")


DEEDS = (
    cut_last,
    change_last,
    change_in_the_middle,
    older,
    empty,
    remove,
    remove_both,
    remove_record,
    damage_record,
    another_sites,
    another_sites_whole,
    two_lines_more,
)


@pytest.mark.parametrize("deed", DEEDS)
def test_what_is_done_to_a_journal_is_seen_and_a_hand_begins_anew(
    site: SiteSettings, deed: Callable[[Path, Path], None]
) -> None:
    other = site.model_copy(update={"site": "south"})
    path, elsewhere = fill(site), fill(other)
    store = store_folder(site, "test", "pfedsam")
    store.mkdir()
    row = {"round": 3, "personal": "p", "reply": "r", "reply_sha256": "s"}
    (store / generations.FILE).write_bytes(Generations({}, [row], []).encoded())
    whole.check_journals(site)
    deed(path, elsewhere)
    with pytest.raises(StoreError) as caught:
        whole.check_journals(site)
    assert caught.value.public() == "PFS-607 the site's journal is not the one that it has written"
    (state,) = states(site)
    assert state.problem
    whole.check_journals(other)
    if deed is not remove_both:  # there, only the door knows that there should be one
        with pytest.raises(StoreError):
            journal.append(path, {}) if deed is not change_in_the_middle else journal.check(path)
    assert [done[0] for done in whole.begin_anew(site)] == [path]
    whole.check_journals(site)
    assert [state.problem for state in states(site)] == [""]
    assert journal.stores(path) == [{"method": "pfedsam", "round": 3, "reply": "s", "before": 0}]
    assert whole.begin_anew(site) == []
    fill(site, 1)


def test_a_crash_between_a_line_and_its_record_is_mended(site: SiteSettings) -> None:
    path = fill(site, 3)
    record = path.with_name(journal.HEAD)
    before = record.read_bytes()
    fill(site, 1)
    record.write_bytes(before)
    whole.check_journals(site)
    fill(site, 1)
    assert journal.recorded(path) == journal.head(path)
    assert journal.head(path).lines == 5
    path.write_bytes(path.read_bytes() + b'{"half')
    whole.check_journals(site)
    fill(site, 1)
    assert journal.broken_at(path) is None


def test_the_first_line_alone_may_have_no_record(site: SiteSettings) -> None:
    path = fill(site, 1)
    path.with_name(journal.HEAD).unlink()
    whole.check_journals(site)
    fill(site, 1)
    assert journal.head(path).lines == 2


def test_what_the_coordinator_has_seen_is_held_against_the_journal(site: SiteSettings) -> None:
    """An older copy of journal and record together fits itself; what was seen of it elsewhere tells."""
    path = fill(site, 2)
    kept = {name: path.with_name(name).read_bytes() for name in ("sent.jsonl", journal.HEAD)}
    fill(site, 2)
    seen = journal.head(path)
    assert whole.compare(path, seen)
    fill(site, 1)
    assert whole.compare(path, seen)
    for name, content in kept.items():
        path.with_name(name).write_bytes(content)
    whole.check_journals(site)
    assert not whole.compare(path, seen)
    (state,) = states(site)
    assert (
        state.problem == "the coordinator has seen 4 lines that are not in it: an older copy, or another one"
    )
    whole.begin_anew(site)
    assert whole.compare(path, seen)  # the new journal says that this was known
    assert not whole.compare(path, Head(9, "f" * 64))
