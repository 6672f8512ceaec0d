"""What a coordinator may ask of a site and cannot take from it: real training, through the real app."""

import hashlib
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Message

from pfedsam_flower.contract.messages import JournalHead, RoundReply, RoundRequest
from pfedsam_flower.contract.schema import digest
from pfedsam_flower.federation.client import build_client_app
from pfedsam_flower.federation.history import RunFolder
from pfedsam_flower.federation.in_process import InProcessGrid
from pfedsam_flower.federation.records import content, words_of
from pfedsam_flower.federation.server import coordinate
from pfedsam_flower.model.build import build
from pfedsam_flower.model.exchange import export_shared
from pfedsam_flower.reports.history import read_events
from pfedsam_flower.settings.site import SiteSettings
from pfedsam_flower.settings.sources import settings_digest
from pfedsam_flower.site import aside, generations, journal
from pfedsam_flower.site.hello import run_settings
from pfedsam_flower.site.journal import Head
from pfedsam_flower.site.paths import journal_path, store_folder
from pfedsam_flower.site.sent import entries, states


class Asker:
    """A coordinator that asks one site for whatever it likes."""

    def __init__(self, flat: dict[str, Any], site: SiteSettings, **changes: Any) -> None:
        self.site = site.model_copy(update=changes)
        self.settings = {k: v for k, v in flat.items() if not k.startswith("coordinator.")} | {"rounds": 60}
        built = build(run_settings(self.settings), "", "cpu")
        self.contract, self.shared = built.contract.hash, export_shared(built.model, built.contract)
        self.journal: JournalHead | None = None
        self.store = store_folder(self.site, "test", "pfedsam")

    def ask(self, number: int, shift: float = 0.0, kind: Any = "train") -> RoundReply:
        packed = self.shared + np.float32(shift)
        words = RoundRequest(
            kind=kind,
            round=number,
            contract=self.contract,
            settings=self.settings,
            deadline_s=60.0,
            broadcast=digest(packed),
            journal=self.journal,
        )
        grid = InProcessGrid(build_client_app(), [self.site])
        message = Message(content(words, packed), dst_node_id=100, message_type="train")
        (reply,) = grid.pull_messages(grid.push_messages([message]))
        return words_of(reply, RoundReply)

    def experts(self) -> str:
        """Digest of the newest personal state."""
        found = generations.read(self.store)
        assert found is not None
        return str(found.rows[-1]["personal_sha256"])


def code(reply: RoundReply) -> str:
    return reply.refusal.code if reply.refusal else ""


def test_rounds_far_ahead_take_no_experts_away(
    flat: dict[str, Any], sites: list[SiteSettings], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calm = Asker(flat, sites[0], state=str(tmp_path / "calm"))
    spoilt = Asker(flat, sites[0], state=str(tmp_path / "spoilt"))
    for asker in (calm, spoilt):
        assert [code(asker.ask(number)) for number in (1, 2)] == ["", ""]
    with caplog.at_level(logging.WARNING):
        assert [code(spoilt.ask(number, 0.5)) for number in (49, 50)] == ["", ""]
    assert "is asked for round 49 after round 2; the personal state of round 2 is kept aside" in caplog.text
    states = [line["state"] for line in entries(spoilt.site)]
    assert [(one["before"], one["round"]) for one in states] == [(0, 1), (1, 2), (2, 49), (49, 50)]
    assert code(spoilt.ask(3)) == "PFS-602"
    aside.go_back(spoilt.site, "test", 2)
    assert spoilt.experts() == calm.experts()
    assert (code(spoilt.ask(3)), code(calm.ask(3))) == ("", "")
    assert spoilt.experts() == calm.experts()


def test_one_round_is_worked_on_with_a_few_broadcasts_only(
    flat: dict[str, Any], sites: list[SiteSettings]
) -> None:
    asker = Asker(flat, sites[0], broadcasts_a_round=2)
    assert [code(asker.ask(1, shift)) for shift in (0.0, 0.1, 0.2, 0.3)] == ["", "", "PFS-708", "PFS-708"]
    assert code(asker.ask(1, 0.1)) == ""  # the same once more is answered from the disk
    assert code(asker.ask(2, 0.2)) == ""
    found = generations.read(asker.store)
    assert found is not None
    assert [one["round"] for one in found.aside] == [1]  # what the second broadcast replaced


def test_experts_that_were_set_back_are_not_gone_on_with_in_silence(
    flat: dict[str, Any], sites: list[SiteSettings], tmp_path: Path
) -> None:
    asker = Asker(flat, sites[0])
    asker.ask(1)
    shutil.copytree(asker.store, tmp_path / "backup")
    for number in (2, 3):
        asker.ask(number)
    newest = tmp_path / "newest"
    asker.store.rename(newest)
    shutil.copytree(tmp_path / "backup", asker.store)
    refused = asker.ask(4)
    assert refused.refusal is not None
    assert refused.refusal.text == (
        "PFS-606 the site's personal state is older than its journal (answered round 3, state round 1)"
    )
    shutil.rmtree(asker.store)
    assert code(asker.ask(4)) == "PFS-606"
    newest.rename(asker.store)
    assert code(asker.ask(4)) == ""
    assert journal_path(asker.site, "test").exists()
    assert settings_digest(asker.settings) in {line["settings"] for line in entries(asker.site)}


def test_a_site_whose_journal_was_removed_says_so_and_its_limits_do_not_start_anew(
    flat: dict[str, Any], sites: list[SiteSettings]
) -> None:
    asker = Asker(flat, sites[0], rounds_a_day=1)
    assert [code(asker.ask(number)) for number in (1, 2)] == ["", "PFS-705"]
    path = journal_path(asker.site, "test")
    first = path.read_bytes()
    path.unlink()
    assert code(asker.ask(2)) == "PFS-607"
    assert [line["words"]["refusal"]["code"] for line in entries(asker.site)] == ["PFS-607"]
    path.with_name("sent.head.json").unlink()
    assert code(asker.ask(2)) == "PFS-607"
    path.write_bytes(first)
    assert code(asker.ask(2)) == "PFS-607"


def test_the_coordinator_repeats_what_it_has_seen_of_a_journal(
    flat: dict[str, Any], sites: list[SiteSettings], caplog: pytest.LogCaptureFixture
) -> None:
    asker = Asker(flat, sites[0])
    seen = asker.ask(1).journal
    assert seen is not None
    path = journal_path(asker.site, "test")
    assert (seen.lines, journal.head(path).lines) == (0, 1)
    later = asker.ask(1).journal
    assert later is not None
    assert (later.lines, later.head) == (1, hashlib.sha256(path.read_bytes().splitlines()[0]).hexdigest())
    assert [line["again"] for line in entries(asker.site)] == [False, True]
    asker.journal = later
    assert code(asker.ask(2)) == ""
    assert "has seen a journal" not in caplog.text
    asker.journal = JournalHead(lines=7, head="f" * 64)
    assert code(asker.ask(3)) == ""  # the coordinator might lie: it is said, and stops nothing
    assert "the coordinator has seen a journal of 7 lines that is not this one" in caplog.text
    assert [state.problem for state in states(asker.site)] != [""]


def test_a_coordinator_knows_each_sites_journal_also_after_it_was_started_again(
    flat: dict[str, Any], sites: list[SiteSettings]
) -> None:
    grid = InProcessGrid(build_client_app(), sites)
    coordinate(grid, flat, 1)
    last = [body for name, way, body in grid.sent if (name, way) == (sites[0].site, "down")][-1]
    path = journal_path(sites[0], "test")
    before = journal.head(path)
    assert b'"journal":{"lines":' in last
    run = RunFolder(Path(flat["coordinator.folder"]) / "test")
    events = read_events(run.path / "history.jsonl")
    told = [
        event["journal"] for event in events if event["event"] == "reply" and event["site"] == sites[0].site
    ]
    assert [one["lines"] for one in told] == [2, 3, 4]  # hello and preflight were lines before the first
    assert journal.holds(path, Head(**told[-1]))
    assert before.lines == 5
    for event in events:
        run._see(event["event"], event)
    assert run.journals[sites[0].site].model_dump() == told[-1]
