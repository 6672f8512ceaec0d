"""The doctor: every check can fail, none writes, and what it knows of Flower and of sizes is still so."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pfedsam_flower.cli.__main__ import main
from pfedsam_flower.contract.software import software
from pfedsam_flower.data.phantoms import write_phantoms
from pfedsam_flower.data.samples import load_site
from pfedsam_flower.deployment.doctor import CHECKS, Check, examine, folders, installation
from pfedsam_flower.deployment.doctor.subject import Subject, ok, subject_of
from pfedsam_flower.deployment.flower import PROGRAMS
from pfedsam_flower.errors import StoreError
from pfedsam_flower.settings.run import RunSettings
from pfedsam_flower.settings.site import SiteSettings
from pfedsam_flower.site.files import locked
from pfedsam_flower.site.paths import split_path, store_folder

ROOT = Path(__file__).parents[2]


def run_of(flat: dict[str, object]) -> RunSettings:
    run = subject_of(None, None, flat).run
    assert run is not None
    return run


@pytest.fixture
def sites(tmp_path: Path) -> Path:
    write_phantoms(tmp_path / "sites", n_sites=2, patients=5, slices=2, size=48)
    return tmp_path / "sites" / "sites.toml"


@pytest.fixture
def north(sites: Path) -> SiteSettings:
    site = subject_of(sites, "north", {}).site
    assert site is not None
    return site


def outcomes(subject: Subject, *names: str) -> dict[str, tuple[str, str, str]]:
    found = examine(subject, {name: CHECKS[name] for name in names})
    return {one.name: (one.status, one.text, one.remedy) for one in found}


# the installation


def test_an_old_python_fails() -> None:
    assert installation.python("3.10.14").status == "failed"
    assert installation.python("3.13.0").status == "ok"


def test_packages_that_are_missing_or_of_another_version_are_all_named() -> None:
    found = installation.packages(["numpy>=99", "no-such-package-here", "pydantic>=2", "ray; extra == 'x'"])
    assert found.status == "failed"
    assert re.fullmatch(r"numpy is [\d.]+, wanted is >=99; no-such-package-here is missing", found.text)
    assert "make env" in found.remedy
    assert installation.packages(["numpy>=1"]).status == "ok"


def test_the_smallest_python_is_the_projects() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'requires-python = "{installation.PYTHONS}"' in project


def test_programs_must_be_on_the_path_and_of_this_environment(tmp_path: Path) -> None:
    missing = installation.programs("site", path=str(tmp_path))
    assert (missing.status, "flwr-clientapp" in missing.text) == ("failed", True)
    for name in installation.STARTED["site"]:
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    foreign = installation.programs("site", path=str(tmp_path))
    assert (foreign.status, str(tmp_path) in foreign.text, str(PROGRAMS) in foreign.remedy) == (
        "failed",
        True,
        True,
    )
    assert installation.programs("site", path=str(tmp_path), own=tmp_path).status == "ok"


def test_an_environment_in_which_flower_calls_home_is_a_warning() -> None:
    quiet = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
    assert installation.environment("site", quiet).status == "ok"
    found = installation.environment("coordinator", quiet)
    assert (found.status, found.remedy) == (
        "warning",
        "set FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION=1 where Flower is started",
    )
    assert installation.environment("site", quiet | {"FLWR_TELEMETRY_ENABLED": "1"}).status == "warning"


def test_the_digest_that_sites_compare_is_said() -> None:
    assert software() in installation.software().text


def test_torch_is_not_needed_to_be_told_that_it_is_broken() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pfedsam_flower.deployment.doctor import CHECKS, examine\n"
        "from pfedsam_flower.deployment.doctor.subject import subject_of\n"
        "names = ('pytorch', 'run settings', 'plan', 'run folder')\n"
        "for one in examine(subject_of(None, None, {}), {n: CHECKS[n] for n in names}): print(one.status)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert said.stdout.split() == ["failed", "ok", "skipped", "ok"]


# settings, data, folders


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        (None, None, "PFS-102 the file cannot be read"),
        ("site = ", None, "PFS-102 the file cannot be read"),
        ('site = "a"\ndata = "d"\nstate = "s"\ndevise = "cpu"', None, "did you mean device?"),
        ('[[site]]\nsite = "a"\ndata = "d"\nstate = "s"', "b", "there is no site 'b'; known: a"),
    ],
)
def test_a_site_file_that_cannot_be_used_is_a_failed_check(
    text: str | None, name: str | None, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "site.toml"
    if text is not None:
        file.write_text(text)
    found = outcomes(subject_of(file, name, {}), "site settings", "data")
    assert found["site settings"][0] == "failed"
    assert said in found["site settings"][1]
    assert found["data"][:2] == ("skipped", "not looked at before site settings is in order")


def test_which_of_several_sites_must_be_said(sites: Path) -> None:
    status, text, remedy = outcomes(subject_of(sites, None, {}), "site settings")["site settings"]
    assert (status, "2 sites" in text, "--site-name" in remedy) == ("failed", True, True)


def test_a_node_config_is_a_site_too(north: SiteSettings, tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text(f'site = "north"\ndata = "{north.data}"\nstate = "{north.state}"\ntest-share = 0.3\n')
    site = subject_of(file, None, {}).site
    assert site is not None
    assert (site.data, site.test_share) == (north.data, 0.3)


def test_wrong_run_settings_fail_alone_or_together() -> None:
    found = outcomes(subject_of(None, None, {"clases": "a", "rounds": -1}), "run settings", "plan")
    assert found["run settings"][0] == "failed"
    assert "did you mean classes?" in found["run settings"][1]
    assert "rounds = -1" in found["run settings"][1]
    assert found["plan"][0] == "skipped"
    found = outcomes(subject_of(None, None, {"image.size": 225}), "run settings", "plan")
    assert (found["run settings"][0], found["plan"][0]) == ("ok", "failed")
    assert "a multiple of 14" in found["plan"][1]
    assert outcomes(subject_of(None, None, {"coordinator.foldr": "x"}), "run settings")["run settings"][
        0
    ] == ("failed")


def test_data_with_a_fault_fails_and_points_further(north: SiteSettings) -> None:
    assert folders.data(north, RunSettings()).text == "3, 1 and 1 patients to train, validate and test"
    next((Path(north.data) / "masks").iterdir()).unlink()
    found = folders.data(north, RunSettings())
    assert (found.status, found.text[:7], "check-data" in found.remedy) == ("failed", "PFS-202", True)


def test_a_folder_that_cannot_be_written_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert folders.writable(tmp_path / "a" / "b").status == "ok"
    assert not (tmp_path / "a").exists()
    (tmp_path / "file").write_text("")
    assert folders.writable(tmp_path / "file" / "state").status == "failed"
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    assert folders.writable(tmp_path / "nowhere").status == "failed"
    if os.geteuid() == 0:  # may write anywhere, whatever the rights
        monkeypatch.setattr(os, "access", lambda path, mode: False)
    tmp_path.chmod(0o500)
    found = folders.writable(tmp_path / "state")
    tmp_path.chmod(0o700)
    assert (found.status, str(tmp_path) in found.text) == ("failed", True)


def test_a_site_at_work_fails_and_is_not_disturbed(north: SiteSettings) -> None:
    run = RunSettings()
    folder = store_folder(north, run.federation.name, run.method)
    assert folders.lock(north, run).status == "ok"
    assert not folder.exists()
    with locked(folder):
        assert folders.lock(north, run).status == "failed"
        with pytest.raises(StoreError), locked(folder):
            pass
    assert folders.lock(north, run).status == "ok"
    with locked(folder):
        pass


def test_too_little_room_fails_and_little_room_warns(tmp_path: Path) -> None:
    found = folders.room(tmp_path / "state", 1 << 60, "images")
    assert (found.status, "free some space" in found.remedy) == ("failed", True)
    free = 100 * 1024**2
    assert folders.room(tmp_path, 0, "nothing").status == "ok"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folders.shutil, "disk_usage", lambda path: type("Usage", (), {"free": free}))
        assert folders.room(tmp_path, int(0.6 * free), "images").status == "warning"
        assert folders.room(tmp_path, int(0.4 * free), "images").status == "ok"


def test_the_prepared_arrays_are_as_large_as_was_said(north: SiteSettings, tmp_path: Path) -> None:
    run = run_of({"image.size": 56})
    said = folders.prepared_bytes(north, run)
    load_site(north, run, split_path(north, run.federation.name), cache=tmp_path / "prepared")
    written = sum(path.stat().st_size for path in (tmp_path / "prepared").rglob("*.npy"))
    n_headers = len(list((tmp_path / "prepared").rglob("*.npy")))
    assert said == written - 128 * n_headers


def test_weights_that_are_missing_or_others_fail(tmp_path: Path) -> None:
    assert "the package's own" in folders.weights(RunSettings(), "").text
    found = outcomes(subject_of(None, None, {"backbone.name": "vit_b"}), "weights")["weights"]
    assert (found[0], "PFS-301" in found[1], "sam_vit_b_01ec64.pth" in found[2]) == ("failed", True, True)
    (tmp_path / "sam_vit_b_01ec64.pth").write_bytes(b"cut")
    flat = {"backbone.name": "vit_b", "coordinator.checkpoint": str(tmp_path / "sam_vit_b_01ec64.pth")}
    found = outcomes(subject_of(None, None, flat), "weights")["weights"]
    assert (found[0], "PFS-303" in found[1]) == ("failed", True)
    (tmp_path / "own.pth").write_bytes(b"other")
    assert "compare it" in folders.weights(run_of({"backbone.name": "vit_b"}), str(tmp_path / "own.pth")).text


# as a whole


def test_a_check_that_collapses_is_a_failed_one_and_what_follows_it_is_skipped() -> None:
    def collapse(subject: Subject) -> object:
        raise ZeroDivisionError("by\nnothing")

    checks = {
        "a": Check(collapse),  # type: ignore[arg-type]
        "b": Check(lambda s: ok("fine"), after=("a",)),
        "c": Check(lambda s: ok("fine")),
        "d": Check(lambda s: ok("fine"), roles=("site",)),
    }
    found = list(examine(subject_of(None, None, {}), checks))
    assert [(one.name, one.status) for one in found] == [("a", "failed"), ("b", "skipped"), ("c", "ok")]
    assert found[0].text == "the check itself failed: ZeroDivisionError: by nothing"


def test_what_comes_after_stands_after() -> None:
    seen: set[str] = set()
    for name, check in CHECKS.items():
        assert set(check.after) <= seen, name
        seen.add(name)


@pytest.fixture
def fit(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment in which nothing but what a test changes is wrong."""
    monkeypatch.setenv("PATH", str(PROGRAMS), prepend=os.pathsep)
    monkeypatch.setenv("FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION", "1")
    return monkeypatch


def test_a_fit_site_is_0_and_nothing_is_written(
    sites: Path, fit: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(sites.parent.rglob("*"))
    assert main(["doctor", "--site", str(sites), "--site-name", "north"]) == 0
    said = capsys.readouterr().out
    assert "north: fit to start; 0 failed, 0 warning(s)" in said
    assert software() in said
    assert sorted(sites.parent.rglob("*")) == before


def test_a_warning_is_3_a_failure_1_and_both_are_said_with_their_remedies(
    sites: Path, fit: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["doctor", "--site", str(sites), "--site-name", "north"]
    fit.delenv("FLWR_DISABLE_UPDATE_CHECK")
    assert main(words) == 3
    assert "→ set FLWR_DISABLE_UPDATE_CHECK=1 where Flower is started" in capsys.readouterr().out
    assert main([*words, "--set", "backbone.name=vit_b", "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert (answer["role"], answer["name"], answer["status"]) == ("site", "north", "failed")
    assert answer["software"] == software()
    found = {one["name"]: one for one in answer["checks"]}
    assert found["environment"]["status"] == "warning"
    assert found["weights"]["status"] == "failed"
    assert found["tls"]["status"] == "skipped"
    assert all(one["remedy"] for one in found.values() if one["status"] in ("failed", "warning"))


def test_a_coordinator_is_examined_without_a_site(
    fit: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["doctor", "--set", f"coordinator.folder={tmp_path / 'runs'}", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    names = [one["name"] for one in answer["checks"]]
    assert (answer["role"], answer["name"]) == ("coordinator", "coordinator")
    assert "run folder" in names
    assert "data" not in names
    assert list(tmp_path.iterdir()) == []


def test_the_manual_names_every_check() -> None:
    page = (ROOT / "docs" / "how-to" / "doctor.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| ([a-z ]+) \| (?:site|coordinator|both) \|", page, flags=re.MULTILINE)
    assert named == list(CHECKS)


def test_address_and_authority_come_from_the_sites_file_unless_they_are_given(tmp_path: Path) -> None:
    file = tmp_path / "north.toml"
    lines = (
        'site = "north"\ndata = "d"\nstate = "s"\nsuperlink = "fl.example.org:8443"\nauthority = "ca.crt"\n'
    )
    file.write_text(lines)
    found = subject_of(file, None, {}, superlink="", insecure=False, roots=None)
    assert (found.superlink, found.roots) == ("fl.example.org:8443", tmp_path / "ca.crt")
    given = subject_of(file, None, {}, superlink="127.0.0.1:8000", insecure=True, roots=None)
    assert (given.superlink, given.roots) == ("127.0.0.1:8000", None)
