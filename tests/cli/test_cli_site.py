"""``pfedsam site``: what a hospital types, and what it is told."""

import json
from pathlib import Path

import pytest

from pfedsam_flower.cli.__main__ import main
from pfedsam_flower.cli.site import ACTIONS, printable
from pfedsam_flower.deployment import approval
from pfedsam_flower.errors import ConsentError
from pfedsam_flower.settings.run import RunSettings
from pfedsam_flower.settings.sources import read_site, to_flat
from pfedsam_flower.site import consent, journal

HOSTILE = "\x1b[2Jharmless"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "north.key").write_text("key")
    path = tmp_path / "north.toml"
    path.write_text('site = "north"\ndata = "data"\nstate = "state"\nkey = "north.key"\n')
    return path


def ask(file: Path, content: bytes = b"no zip", **settings: object) -> str:
    """Stands for a run that reached the site; returns the request's hash."""
    flat = dict(to_flat(RunSettings())) | settings
    with pytest.raises(ConsentError):
        approval.check_approved(read_site(file, None), content, flat, "1")
    return approval.requests(read_site(file, None))[0].hash


def test_every_action_has_help_and_needs_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["site", "--help"]) == 0
    page = capsys.readouterr().out
    for action in ACTIONS:
        assert f"\n    {action} " in page
        assert main(["site", action]) == 2
    assert main(["site", "stop", "x"]) == 2


def test_review_approve_and_withdraw(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["site", "review", str(file)]) == 0
    assert "nothing was asked for yet" in capsys.readouterr().out
    name = ask(file)
    assert main(["site", "review", str(file)]) == 0
    assert f"{name[:12]}" in capsys.readouterr().out
    assert main(["site", "review", str(file), name[:16]]) == 0
    assert f"pfedsam site approve FILE {name}" in capsys.readouterr().out
    assert main(["site", "approve", str(file), name, "--expires", "30"]) == 0
    assert "may run here until" in capsys.readouterr().out
    assert main(["site", "review", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["state"] == "approved"
    assert main(["site", "approve", str(file), name, "--expires", "0"]) == 0
    assert "not approved any more" in capsys.readouterr().out
    assert main(["site", "approve", str(file), "0" * 16]) == 1
    assert "PFS-707" in capsys.readouterr().err
    assert main(["site", "approve", str(file), name, "--expires", "-1"]) == 2


def test_what_others_wrote_cannot_steer_the_terminal(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = ask(file, **{"federation.name": HOSTILE, "classes": HOSTILE})
    assert main(["site", "review", str(file), name, "--json"]) == 0
    assert "remarks" in json.loads(capsys.readouterr().out)["bundle"]
    for words in (["review", str(file)], ["review", str(file), name]):
        assert main(["site", *words]) == 0
        assert "\x1b" not in capsys.readouterr().out
    assert printable(HOSTILE) == "\\x1b[2Jharmless"


def test_pause_and_resume(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = read_site(file, None)
    assert main(["site", "pause", str(file)]) == 0
    with pytest.raises(ConsentError):
        consent.check_willing(site)
    assert main(["site", "resume", str(file)]) == 0
    consent.check_willing(site)
    (Path(site.state) / "STOP").touch()
    assert main(["site", "resume", str(file)]) == 1
    assert "put there by hand" in capsys.readouterr().out


def test_leave_explains_itself_first(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = read_site(file, None)
    approval.approve(site, ask(file), None)
    assert main(["site", "leave", str(file)]) == 1
    assert "stays in the shared parameters" in capsys.readouterr().out
    assert Path(site.key).exists()
    assert main(["site", "leave", str(file), "--yes"]) == 0
    assert not Path(site.key).exists()
    assert approval.approvals(site) == {}
    assert main(["site", "start", str(file), "--insecure"]) == 1


def test_a_key_that_cannot_be_removed_is_said(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def denied(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(1, "Operation not permitted", str(path))

    site = read_site(file, None)
    monkeypatch.setattr(Path, "unlink", denied)
    assert main(["site", "leave", str(file), "--yes"]) == 1
    said = capsys.readouterr().out
    assert "north has left: 0 approval(s) withdrawn; the key could not be removed" in said
    assert said.strip().endswith(f"remove it yourself: {site.key}")


def test_sent_adds_up_and_says_when_a_journal_is_broken(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["site", "sent", str(file)]) == 0
    assert "nothing has left north" in capsys.readouterr().out
    replaced = file.parent / "state" / "g" / "north" / "sent.jsonl"
    replaced.parent.mkdir(parents=True)
    for content in ("garbage\n", '{"bytes": "x"}\n', '{"words": 1}\n'):
        replaced.write_text(content)
        assert main(["site", "sent", str(file)]) == 1
        assert "g/north/sent.jsonl: broken at line 1" in capsys.readouterr().out
    replaced.unlink()
    path = file.parent / "state" / "f" / "north" / "sent.jsonl"
    for number in (1, 2):
        words = {"kind": "train", "round": number}
        entry = {"time": "2026-11-27T12:00:00+00:00", "federation": "f", "run": "7", "kind": "train"}
        journal.append(path, entry | {"bytes": 1_500_000, "words": words})
    assert main(["site", "sent", str(file), "--last", "1"]) == 0
    said = capsys.readouterr().out
    assert "3.000" in said
    assert '"round": 2' in said
    assert '"round": 1' not in said
    assert "f/north/sent.jsonl: whole, 2 lines" in said
    path.write_text(path.read_text().replace("1500000", "15", 1))
    assert main(["site", "sent", str(file), "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert not answer["whole"]
    assert answer["journals"][0]["broken_at"] == 2


def test_start_says_what_is_missing(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["site", "start", str(file)]) == 1
    said = capsys.readouterr().err
    assert "superlink: is needed" in said
    assert "authority: is needed" in said


def test_reset_sets_personal_state_aside_and_only_when_told_to(tmp_path, capsys) -> None:
    from pfedsam_flower.contract.messages import RoundReply
    from pfedsam_flower.errors import StoreError
    from pfedsam_flower.site import store

    file = tmp_path / "north.toml"
    file.write_text('site = "north"\ndata = "data"\nstate = "state"\n')
    folder = tmp_path / "state" / "ours" / "north" / "pfedsam"
    reply = RoundReply(kind="train", site="north", round=1, contract="c", broadcast="b" * 64)

    def record(contract: str) -> None:
        store.record(folder, {"contract": contract}, store.Personal(), reply, None, "")

    record("c")
    with pytest.raises(StoreError, match=r"PFS-601[\s\S]*pfedsam site reset"):
        record("another")
    words = ["site", "reset", str(file), "--federation", "ours"]
    assert main(words) == 0
    assert "nothing was changed" in capsys.readouterr().out
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert main([*words, "--yes"]) == 0
    aside = folder.with_name("pfedsam.aside-1")
    assert {path.name: path.read_bytes() for path in aside.iterdir() if path.name in before} == before
    record("another")
    assert main([*words, "--yes"]) == 0
    assert folder.with_name("pfedsam.aside-2").is_dir()
    assert main([*words, "--yes"]) == 1
    assert "PFS-603" in capsys.readouterr().err
