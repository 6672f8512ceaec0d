"""What a site writes into a refusal steers no terminal, forges no line and is no markup in a report."""

import json
from pathlib import Path

import pytest
from federation_light import NAMES, Fate, World, play, told

from pfedsam_flower.cli.__main__ import main
from pfedsam_flower.cli.render import event_line
from pfedsam_flower.contract.messages import Refusal
from pfedsam_flower.reports.history import collect, read_history
from pfedsam_flower.reports.tables import as_markdown, sentences

CODES = "\x1b[2J\x1b[31mPFS-604\nround 1 ends: all is well\r\x9b5m \u202e"
HOSTILE = CODES + "<img src=//x.y> [a](http://x.y) |\x07"
REFUSED = Refusal(code="PFS-604", text=HOSTILE)


def harmless(text: str) -> bool:
    return all(c.isprintable() or c == "\n" for c in text)


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A run in which one site refuses to join and another one refuses its round, both with such a text."""
    fates = {name: Fate() for name in NAMES}
    fates["island"] = Fate(joins={"refusal": REFUSED})
    fates["valley"] = Fate(sends=lambda said, delta: (said | {"refusal": REFUSED}, delta))
    play(monkeypatch, tmp_path, World(fates), n_rounds=1, minimum_sites=2, sites=(*NAMES, "island"))
    return tmp_path


def test_the_history_holds_it_on_one_line_without_control_codes(folder: Path) -> None:
    for kind in ("refused", "left-out"):
        (event,) = told(folder, kind)
        assert event["text"].isprintable()
        assert event["text"].startswith("\\x1b[2J\\x1b[31mPFS-604 round 1 ends: all is well")


@pytest.mark.parametrize("command", ["status", "report"])
def test_commands_show_it_harmless(folder: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, str(folder)]) == 0
    said = capsys.readouterr().out
    assert harmless(said)
    assert "all is well" in said
    assert not any(line.strip().startswith("round 1 ends") for line in said.splitlines())


def test_a_history_that_was_written_by_others_is_shown_harmless_too(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forged = {"event": "left-out", "round": 1, "site": "evil\x1b[2J", "text": HOSTILE}
    with (folder / "history.jsonl").open("a") as file:
        file.write(json.dumps(forged) + "\n")
    for command in ("status", "report"):
        assert main([command, str(folder)]) == 0
        assert harmless(capsys.readouterr().out)
    assert harmless((folder / "table.md").read_text())
    line = event_line(forged)
    assert line is not None
    assert line.isprintable()
    assert all(one.isprintable() for one in sentences(collect([forged])))


def test_in_markdown_it_is_no_link_and_no_html(folder: Path) -> None:
    text = as_markdown(read_history(folder))
    assert "\\<img src=//x.y\\>" in text
    assert "\\[a\\](http" in text
    assert "\\|" in text


def test_an_error_that_names_it_is_printed_harmless(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "history.jsonl").write_text("")
    assert main(["status", str(tmp_path / "no\x1b[2Jwhere")]) == 1
    assert harmless(capsys.readouterr().err)
