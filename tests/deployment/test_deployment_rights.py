"""What others may do with a site's and a coordinator's files: modes and owners, real ones and made up."""

import os
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfedsam_flower.cli.__main__ import main
from pfedsam_flower.deployment import approval, rights, site_process
from pfedsam_flower.deployment.certificates import make_certificates
from pfedsam_flower.deployment.doctor import CHECKS, examine
from pfedsam_flower.deployment.doctor.subject import subject_of
from pfedsam_flower.deployment.keys import make_site_key
from pfedsam_flower.errors import StoreError
from pfedsam_flower.settings.site import SiteSettings
from pfedsam_flower.settings.sources import read_site
from pfedsam_flower.site.consent import control_folder
from pfedsam_flower.site.files import write_whole

ME, OTHER = 1000, 1001
FILE = Path("/srv/fl/approvals.json")


def looks(uid: int, mode: int) -> Any:
    return lambda path: SimpleNamespace(st_uid=uid, st_mode=stat.S_IFREG | mode)


@given(st.sampled_from([0, ME, OTHER]), st.integers(0, 0o777), st.booleans())
def test_only_this_account_and_root_may_change_it_and_read_a_key(uid: int, mode: int, secret: bool) -> None:
    said = rights.faults(FILE, secret=secret, me=ME, look=looks(uid, mode))
    assert len(said) == (uid == OTHER) + bool(mode & 0o022) + (secret and bool(mode & 0o044))
    assert all(str(FILE) in text and ": " in text for text in said)


def test_roots_own_files_are_its_own_and_an_accounts_are_not() -> None:
    assert rights.faults(FILE, me=0, look=looks(0, 0o600)) == []
    (said,) = rights.faults(FILE, me=0, look=looks(OTHER, 0o600))
    assert "uid 1001" in said
    assert "sudo -u" in said


def test_a_folder_above_may_be_anybodys_but_not_open_to_all() -> None:
    for mode, open_to_all in ((0o755, False), (0o775, False), (0o777, True), (0o1777, False)):
        said = rights.above(Path("/srv/fl/state"), looks(OTHER, mode))
        assert bool(said) == open_to_all


@pytest.fixture
def site(tmp_path: Path) -> SiteSettings:
    make_certificates(tmp_path / "authority", ["fl.example.org"])
    make_site_key(tmp_path / "keys", "north")
    text = 'site = "north"\ndata = "data"\nstate = "state"\nauthority = "authority/ca.crt"\n'
    (tmp_path / "north.toml").write_text(text + 'key = "keys/north.key"\nsuperlink = "127.0.0.1:1"\n')
    found = read_site(tmp_path / "north.toml", None)
    write_whole(control_folder(found) / "approvals.json", b"[]")
    for folder in (tmp_path, *(path for path in tmp_path.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
    return found


def test_what_our_own_commands_make_is_fit(site: SiteSettings) -> None:
    assert rights.of_site(site) == []


@pytest.mark.parametrize(
    ("name", "mode", "gate"),
    [
        ("state", 0o777, True),
        ("state", 0o775, True),
        ("state/_site", 0o757, True),
        ("state/_site/north", 0o770, True),
        ("state/_site/north/approvals.json", 0o666, True),
        ("state/_site/north/approvals.json", 0o620, True),
        ("keys/north.key", 0o644, False),
        ("keys/north.key", 0o640, False),
        ("keys", 0o777, False),
        ("authority/ca.crt", 0o666, False),
        (".", 0o777, True),
    ],
)
def test_what_others_could_change_or_read_is_refused_everywhere(
    name: str, mode: int, gate: bool, site: SiteSettings, tmp_path: Path
) -> None:
    path = Path(os.path.normpath(tmp_path / name))
    path.chmod(mode)
    subject = subject_of(tmp_path / "north.toml", None, {})
    (found,) = examine(subject, {"rights": CHECKS["rights"]})
    assert (found.status, f"{path} can be" in found.text) == ("failed", True)
    assert f"(mode {mode:04o})" in found.text
    assert "chmod" in found.remedy
    with pytest.raises(StoreError, match="PFS-608") as caught:
        site_process.keep_running(site, [], lambda line: None)
    assert str(path) in str(caught.value)
    assert str(path) not in caught.value.public()
    if gate:
        with pytest.raises(StoreError, match="PFS-608"):
            approval.check_approved(site, b"", {}, "1")
        with pytest.raises(StoreError, match="PFS-608"):
            approval.approve(site, "0" * 64, None)
        assert approval.withdraw_all(site) == 0  # that is always possible


def test_a_sites_file_that_everybody_can_change_is_refused(
    site: SiteSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "north.toml"
    file.chmod(0o664)
    assert rights.of_file(file) == []
    file.chmod(0o666)
    assert main(["site", "start", str(file)]) == 1
    assert f"{file} can be changed by everybody" in capsys.readouterr().err
    (found,) = examine(subject_of(file, None, {}), {"rights": CHECKS["rights"]})
    assert (found.status, found.remedy) == ("failed", f"chmod o-w {file}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_another_accounts_state_folder_is_refused(
    site: SiteSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.chown(site.state, OTHER, OTHER)
    assert main(["site", "start", str(tmp_path / "north.toml"), "--insecure"]) == 1
    err = capsys.readouterr().err
    assert "PFS-608" in err
    assert f"{site.state} belongs to uid {OTHER}" in err


def test_the_coordinators_database_is_not_for_others(tmp_path: Path) -> None:
    folder = tmp_path / "coordinator"
    folder.mkdir()
    for name, mode in (("state.db", 0o644), ("state.db-wal", 0o644), ("superlink.key", 0o600)):
        (folder / name).touch()
        (folder / name).chmod(mode)
    folder.chmod(0o755)
    flat = {
        "coordinator.enrolment": str(folder / "enrolled.json"),
        "coordinator.folder": str(tmp_path / "runs"),
    }
    checks = {"rights": CHECKS["rights"]}
    (found,) = examine(subject_of(None, None, flat), checks)
    assert found.status == "failed"
    assert found.text.count("can be read by others (mode 0644)") == 2
    folder.chmod(0o700)
    (found,) = examine(subject_of(None, None, flat), checks)
    assert found.status == "ok"
    (folder / "superlink.key").chmod(0o640)
    (found,) = examine(subject_of(None, None, {}, certificates=(folder / "superlink.crt",)), checks)
    assert (found.status, "superlink.key can be read" in found.text) == ("failed", True)


def test_what_the_site_commands_write_is_for_this_account_alone(tmp_path: Path) -> None:
    (tmp_path / "north.toml").write_text('site = "north"\ndata = "data"\nstate = "state"\n')
    before = os.umask(0o002)
    try:
        assert main(["site", "pause", str(tmp_path / "north.toml")]) == 0
        assert os.umask(0o002) == 0o002
    finally:
        os.umask(before)
    found = read_site(tmp_path / "north.toml", None)
    assert stat.S_IMODE(control_folder(found).stat().st_mode) == 0o700
    assert rights.of_site(found) == []
