"""Output that cannot take every character: no command ends in a traceback for it, and nothing is left out."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfedsam_flower.cli.__main__ import COMMANDS, main
from pfedsam_flower.cli.terminal import PLAIN, take_everything

ROOT = Path(__file__).resolve().parents[2]
ENCODINGS = ("ascii", "cp1252", "latin-1", "utf-8")


def printed(words: list[str], encoding: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str, str]:
    """(exit status, stdout, stderr) of a command whose output has this encoding."""
    sinks = [io.BytesIO(), io.BytesIO()]
    with monkeypatch.context() as patch:
        for name, sink in zip(("stdout", "stderr"), sinks, strict=True):
            patch.setattr(sys, name, io.TextIOWrapper(sink, encoding=encoding, write_through=True))
        status = main(words)
        out, err = (sink.getvalue().decode(encoding) for sink in sinks)
    return status, out, err


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", COMMANDS)
def test_help_and_errors_of_every_command_can_be_printed(
    name: str, encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = printed([name, "--help"], encoding, monkeypatch)
    assert (status, err) == (0, "")
    assert out.startswith(f"usage: pfedsam {name}")
    status, out, err = printed([name, "--→é\udcff"], encoding, monkeypatch)
    assert status == 2
    assert out + err
    assert "Traceback" not in err


NOT_THERE = "nicht dä → 日本\udcff"


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "words",
    [
        ["status", NOT_THERE],
        ["report", NOT_THERE],
        ["check-data", NOT_THERE],
        ["check-data", "--sites", NOT_THERE],
        ["site", "review", NOT_THERE],
        ["rehearse", "--sites", NOT_THERE],
        ["words", NOT_THERE],
        ["enrol", NOT_THERE],
        ["certs", NOT_THERE, "--host", NOT_THERE],
        ["demo", "--set", NOT_THERE],
        [NOT_THERE],
    ],
)
def test_a_name_that_cannot_be_shown_is_in_the_sentence(
    words: list[str], encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = printed(words, encoding, monkeypatch)
    assert status in (1, 2)
    assert "Traceback" not in out + err
    assert "nicht d" in out + err


@given(st.text(), st.sampled_from(ENCODINGS))
def test_every_character_is_shown_or_spelt(text: str, encoding: str) -> None:
    sink, kept = io.BytesIO(), (sys.stdout, sys.stderr)
    try:
        sys.stdout = io.TextIOWrapper(sink, encoding=encoding, newline="\n")
        take_everything()
        print(text, end="", flush=True)
        shown = sink.getvalue().decode(encoding)
    finally:
        sys.stdout, sys.stderr = kept

    def there(c: str) -> str:
        try:
            return c.encode(encoding).decode(encoding)
        except UnicodeEncodeError:
            return PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode()

    assert shown == "".join(map(there, text))


def test_arrows_and_dashes_are_written_in_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    from pfedsam_flower.cli import render

    sink = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(sink, encoding="ascii", write_through=True))
    take_everything()
    render.say("a → b – c … ± 1 × 2")
    render.show_table(("Größe", "→"), [("é", "–")])
    first, *table = sink.getvalue().decode("ascii").splitlines()
    assert first == "a -> b - c ... +- 1 x 2"
    assert "Gr\\xf6\\xdfe" in table[0]


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
@pytest.mark.parametrize("words", ["status nowhere", "status --help", "phantoms --→"])
def test_a_closed_output_is_no_traceback(closed: str, words: str, tmp_path: Path) -> None:
    done = subprocess.run(
        f"{sys.executable} -m pfedsam_flower {words} {closed}",
        shell=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, 1, 2)
    assert "Traceback" not in done.stdout + done.stderr
