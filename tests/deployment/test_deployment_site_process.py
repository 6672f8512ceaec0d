"""The SuperNode of a site: how it is started, what it inherits, when it is started again."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pfedsam_flower.deployment import site_process
from pfedsam_flower.deployment.certificates import make_certificates
from pfedsam_flower.deployment.processes import Program
from pfedsam_flower.errors import ConsentError, SettingsError, StoreError
from pfedsam_flower.settings.site import SiteSettings
from pfedsam_flower.settings.sources import read_site, site_from_flat
from pfedsam_flower.site import consent
from pfedsam_flower.site.files import locked


@pytest.fixture
def site(tmp_path: Path) -> SiteSettings:
    make_certificates(tmp_path, ["fl.example.org"])
    (tmp_path / "north.key").touch()
    text = 'site = "north"\ndata = "data"\nstate = "state"\nauthority = "ca.crt"\nkey = "north.key"\n'
    (tmp_path / "north.toml").write_text(text + 'superlink = "fl.example.org:443"\n')
    return read_site(tmp_path / "north.toml", None)


def test_paths_are_relative_to_the_sites_file(site: SiteSettings, tmp_path: Path) -> None:
    assert site.data == str(tmp_path / "data")
    assert site.key == str(tmp_path / "north.key")
    assert site.checkpoint == ""


def test_tls_and_key_are_what_it_is_started_with(site: SiteSettings) -> None:
    assert site_process.connection(site, insecure=False) == [
        *("--superlink", "fl.example.org:443", "--root-certificates", site.authority),
        *("--auth-supernode-private-key", site.key),
    ]


@pytest.mark.parametrize(
    ("change", "insecure", "said"),
    [
        ({"superlink": ""}, False, "superlink: is needed"),
        ({"authority": ""}, False, "authority: is needed"),
        ({"authority": __file__}, False, "this is not a certificate"),
        ({"key": "/nowhere/north.key"}, False, "there is no such file"),
        ({}, True, "plain HTTP (--insecure) is for this machine only"),
        ({"superlink": "10.0.0.7:8000"}, True, "plain HTTP (--insecure) is for this machine only"),
    ],
)
def test_what_is_missing_is_refused(site: SiteSettings, change: dict, insecure: bool, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        site_process.connection(site.model_copy(update=change), insecure=insecure)
    assert said in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", "[::1]:8000"])
def test_plain_http_only_on_this_machine_and_only_by_the_flag(site: SiteSettings, host: str) -> None:
    here = site.model_copy(update={"superlink": host, "key": "", "authority": ""})
    assert site_process.connection(here, insecure=True) == ["--superlink", host, "--insecure"]
    with pytest.raises(SettingsError):
        site_process.connection(here, insecure=False)


@pytest.mark.parametrize(
    ("device", "before", "visible", "told"),
    [
        ("cpu", {}, "", "cpu"),
        ("cuda:1", {}, "1", "cuda:0"),
        ("cuda:1", {"CUDA_VISIBLE_DEVICES": "4,6"}, "6", "cuda:0"),
        ("cuda", {"CUDA_VISIBLE_DEVICES": "4,6"}, "4,6", "cuda"),
        ("cuda", {}, None, "cuda"),
    ],
)
def test_each_site_sees_its_own_device_only(
    site: SiteSettings, device: str, before: dict, visible: str | None, told: str
) -> None:
    site = site.model_copy(update={"device": device, "threads": 3})
    env = site_process.environment(site, before | {"PATH": "/usr/bin", "PFEDSAM_ADMITTED": "x"})
    assert env.get("CUDA_VISIBLE_DEVICES") == visible
    assert f'"device" = "{told}"' in site_process.node_config(site)
    assert (env["FLWR_TELEMETRY_ENABLED"], env["FLWR_DISABLE_UPDATE_CHECK"]) == ("0", "1")
    assert env["OMP_NUM_THREADS"] == "3"
    assert "PFEDSAM_ADMITTED" not in env
    assert env["PATH"].split(os.pathsep)[0] == str(consent.control_folder(site) / "bin")


def test_a_device_that_is_not_visible_is_refused(site: SiteSettings) -> None:
    with pytest.raises(SettingsError):
        site_process.environment(
            site.model_copy(update={"device": "cuda:2"}), {"CUDA_VISIBLE_DEVICES": "4,6"}
        )


def test_the_app_gets_the_sites_settings_without_its_key(site: SiteSettings) -> None:
    import tomllib

    flat = tomllib.loads(site_process.node_config(site))
    assert site_from_flat(flat) == site.model_copy(update={"superlink": "", "authority": "", "key": ""})


def test_the_gate_is_found_first_and_no_other_task_runs(site: SiteSettings) -> None:
    folder = site_process.write_programs(site)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    names = {"flwr-clientapp", *site_process.OTHER_TASKS}
    assert {one.name for one in folder.iterdir()} == names
    assert all(stat.S_IMODE(one.stat().st_mode) == 0o700 for one in folder.iterdir())
    from flwr.supercore.constant import TASK_TYPE_TO_COMMAND

    assert set(TASK_TYPE_TO_COMMAND.values()) == names, "Flower knows other programs than we do"
    done = subprocess.run(["flwr-agentapp"], env={"PATH": path}, capture_output=True, text=True)
    assert done.returncode == 1
    assert "this site runs no such task" in done.stderr


def test_it_is_started_again_later_each_time_and_steady_ones_at_once() -> None:
    assert [site_process.waiting_s(n) for n in (1, 2, 3, 7, 50, 5000)] == [5, 10, 20, 300, 300, 300]


def ended(code: int) -> Program:
    process = subprocess.Popen([sys.executable, "-c", f"raise SystemExit({code})"])
    process.wait()
    return Program("the SuperNode of north", process, Path(os.devnull))


class Told(threading.Event):
    """Counts waits in place of waiting; set after ``n`` of them."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n, self.waits = n, []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout)
        if len(self.waits) >= self.n:
            self.set()
        return self.is_set()


def test_a_crash_is_said_and_followed_by_a_start_until_told_to_stop() -> None:
    said, closed, told = [], [], Told(3)
    times = iter([0, 1, 10, 12, 100, 1000])  # begin and end of each: two early ones, one after long
    site_process.supervise(
        lambda: ended(4), closed.append, told, lambda: False, said.append, lambda: next(times)
    )
    assert told.waits == [5, 10, 5]
    assert len(closed) == 3
    assert "ended with status 4; it is started again in 5 s" in said[1]


def test_a_site_that_has_left_is_not_started(site: SiteSettings) -> None:
    consent.leave(site)
    with pytest.raises(ConsentError) as caught:
        site_process.keep_running(site, [], print)
    assert caught.value.code == "PFS-703"


def test_a_second_start_is_refused(site: SiteSettings) -> None:
    with locked(consent.control_folder(site)), pytest.raises(StoreError) as caught:
        site_process.keep_running(site, [], print)
    assert caught.value.code == "PFS-604"


def test_a_proxy_of_the_hospital_is_used_for_the_coordinator_only(site: SiteSettings) -> None:
    env = site_process.environment(site, {"HTTPS_PROXY": "http://proxy:3128", "no_proxy": ".example.org"})
    assert env["HTTPS_PROXY"] == "http://proxy:3128"
    assert env["NO_PROXY"] == env["no_proxy"] == ".example.org,127.0.0.1,localhost"


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ({}, "is asked directly; passed on: no_proxy=127.0.0.1,localhost"),
        (
            {"HTTPS_PROXY": "http://me:secret@proxy:3128"},
            "is asked through the web proxy proxy:3128; passed on: HTTPS_PROXY=http://***@proxy:3128, "
            "no_proxy=127.0.0.1,localhost",
        ),
        (
            {"https_proxy": "proxy:3128", "NO_PROXY": ".other.org", "no_proxy": ".example.org"},
            "is asked directly; passed on: https_proxy=proxy:3128, no_proxy=.example.org,127.0.0.1,localhost",
        ),
    ],
)
def test_what_is_passed_on_about_proxies_is_said(site: SiteSettings, base: dict, said: str) -> None:
    env = site_process.environment(site, base)
    assert site_process.passed_on("https://fl.example.org:443/", env) == f"fl.example.org:443 {said}"
    assert "directly" in site_process.passed_on("http://[::1]:8000/", {})


def test_a_proxy_that_flower_cannot_use_ends_the_start(
    site: SiteSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy:1080")
    with pytest.raises(SettingsError, match="ALL_PROXY=socks5"):
        site_process.keep_running(site, [], print)
