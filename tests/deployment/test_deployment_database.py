"""What is left of delivered messages in a database like the SuperLink's, and what erases it."""

import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from pfedsam_flower.deployment import database
from pfedsam_flower.deployment.doctor import installation

SECRET = os.urandom(200_000)


def windows(folder: Path) -> dict[str, bool]:
    """By file, whether a window of the message is in it."""
    held = {path.name: path.read_bytes() for path in sorted(folder.glob("state.db*"))}
    starts = range(0, len(SECRET) - 64, 997)  # one may cross the end of a page
    return {name: any(SECRET[at : at + 64] in content for at in starts) for name, content in held.items()}


def delivered(path: Path, secure: bool) -> sqlite3.Connection:
    """A database as Flower has it (WAL), with one message that was written and deleted."""
    one = sqlite3.connect(path, isolation_level=None)
    one.execute("PRAGMA journal_mode = WAL")
    one.execute(f"PRAGMA secure_delete = {int(secure)}")
    one.execute("CREATE TABLE objects (content BLOB)")
    one.execute("INSERT INTO objects VALUES (?)", (SECRET,))
    one.execute("PRAGMA wal_checkpoint(PASSIVE)")
    one.execute("DELETE FROM objects")
    return one


def test_the_log_is_emptied_while_the_superlink_has_it_open(tmp_path: Path) -> None:
    with closing(delivered(tmp_path / "state.db", secure=True)) as superlink:
        assert windows(tmp_path)["state.db-wal"]
        assert database.forget(tmp_path / "state.db")
        assert not any(windows(tmp_path).values())
        assert (tmp_path / "state.db-wal").stat().st_size == 0
        assert superlink.execute("SELECT count(*) FROM objects").fetchone() == (0,)
        superlink.execute("INSERT INTO objects VALUES ('goes on')")


def test_a_database_of_an_sqlite_that_does_not_overwrite_is_written_anew(tmp_path: Path) -> None:
    delivered(tmp_path / "state.db", secure=False).close()
    assert windows(tmp_path)["state.db"]
    assert database.forget(tmp_path / "state.db", anew=True)
    assert not any(windows(tmp_path).values())


def test_somebody_who_reads_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "WAIT_S", 0.05)
    with closing(delivered(tmp_path / "state.db", secure=True)):
        with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM objects").fetchall()
            assert not database.forget(tmp_path / "state.db")
        assert database.forget(tmp_path / "state.db")


def test_the_command_says_how_it_went(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pfedsam_flower.deployment.database", str(tmp_path / "state.db")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, "there is no such database" in done.stderr) == (1, True)
    assert not (tmp_path / "state.db").exists()
    delivered(tmp_path / "state.db", secure=True).close()
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, "the write-ahead log is empty" in done.stdout) == (0, True)
    (tmp_path / "state.db").write_text("something else, and long enough to be looked at " * 20)
    assert subprocess.run(command, capture_output=True).returncode == 1


def test_files_beside_a_database_have_its_rights(tmp_path: Path) -> None:
    """So a database that is there with mode 0600 keeps its log from others, whatever the umask."""
    (tmp_path / "state.db").touch(mode=0o600)
    with closing(delivered(tmp_path / "state.db", secure=True)):
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("state.db", "state.db-wal", "state.db-shm"), 0o600)


@pytest.mark.parametrize(("found", "status"), [(True, "ok"), (False, "warning")])
def test_the_doctor_says_whether_sqlite_overwrites(
    found: bool, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "overwrites", lambda: found)
    assert installation.erasing().status == status
