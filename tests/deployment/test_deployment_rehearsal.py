"""A rehearsal starts what it says, tells why something ended early, and leaves nothing behind.

Scripts of a few lines stand in for Flower's programs; like those, they start detached children.
"""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from pfedsam_flower.deployment import flower, processes
from pfedsam_flower.deployment import rehearsal as rehearsals
from pfedsam_flower.deployment.processes import descendants, end_all
from pfedsam_flower.deployment.rehearsal import app_folder, free_port, rehearsal
from pfedsam_flower.errors import FederationError, StoreError
from pfedsam_flower.settings.site import SiteSettings

SUPERLINK = """
import json, os, pathlib, subprocess, sys, socketserver
subprocess.Popen(["sleep", "600"], start_new_session=True)
home = pathlib.Path(os.environ["FLWR_HOME"])
(home / "seen.json").write_text(json.dumps({"argv": sys.argv, "env": dict(os.environ), "cwd": os.getcwd()}))
class Health(socketserver.StreamRequestHandler):
    def handle(self):
        self.rfile.readline()
        self.wfile.write(b"HTTP/1.0 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
socketserver.TCPServer.allow_reuse_address = True
port = int(sys.argv[sys.argv.index("--port") + 1])
socketserver.ThreadingTCPServer(("127.0.0.1", port), Health).serve_forever()
"""
SUPERNODE = """
import subprocess, signal
subprocess.Popen(["sleep", "600"])
signal.pause()
"""
FLWR = """
import json, pathlib, sys
if sys.argv[1] == "run":
    print("\\x1b[32mUsing SuperLink: rehearsal\\x1b[0m", file=sys.stderr)
    pathlib.Path("asked.json").write_text(json.dumps(sys.argv[1:]))
    print(json.dumps({"success": True, "run-id": "42"}))
elif sys.argv[1] == "list":
    print(json.dumps({"success": True, "runs": [{"status": "finished:failed", "status-details": "why"}]}))
else:
    print("Using SuperLink: rehearsal\\n\\x1b[91mERROR\\x1b[0m: the last word\\n")
"""


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A folder of stand-ins that a test may replace."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setattr(flower, "PROGRAMS", folder)
    for name, text in (("flower-superlink", SUPERLINK), ("flower-supernode", SUPERNODE), ("flwr", FLWR)):
        write_program(folder / name, text)
    return folder


def write_program(path: Path, text: str) -> None:
    path.write_text(f"#!{sys.executable} -ES\n{text}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def sites(folder: Path, *names: str) -> list[SiteSettings]:
    odd = str(folder / 'it\'s "here" \\ ü')
    return [
        SiteSettings(site=n, data=odd, state=str(folder), patient=r"^(.+)-s\d+$", threads=2) for n in names
    ]


def test_free_port_can_be_bound():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", free_port()))


@pytest.mark.parametrize("flat", [{"a.b-c": 1e-5, "b": True, "c": 3, "d": 'x"\\\n\x7fü 🙂'}, {}])
def test_toml_is_read_back_as_it_was(flat):
    assert tomllib.loads(flower.toml(flat)) == flat


def test_everything_runs_inside_and_nothing_afterwards(tmp_path, programs):
    folder = tmp_path / "run"
    with rehearsal(folder, sites(tmp_path, "north", "valley"), engine="deployment") as link:
        link.check()
        assert [p.name for p in link.programs] == [
            "the SuperLink",
            "the SuperNode of north",
            "the SuperNode of valley",
        ]
        # Three programs and, at once or a moment later, a detached or plain child of each.
        assert {p.pid for p in link.programs} <= descendants(str(folder))
        assert link.run(Path("app"), {"rounds": 3, "coordinator.folder": "x"}) == 42
        assert tomllib.loads((folder / "flower" / "run.toml").read_text()) == {
            "rounds": 3,
            "coordinator.folder": "x",
        }
        assert link.status(42) == ("finished:failed", "why")
        assert link.last_words(42).strip() == "ERROR: the last word"
    assert descendants(str(folder)) == set()
    assert all(program.process.returncode is not None for program in link.programs)


def test_no_proxy_of_any_kind_is_handed_to_what_speaks_on_loopback(tmp_path, programs, monkeypatch):
    names = ("http_proxy", "HTTPS_PROXY", "All_Proxy", "no_proxy", "NO_PROXY", "grpc_proxy", "no_grpc_proxy")
    for name in names:
        monkeypatch.setenv(name, "socks5://127.0.0.1:9")
    folder = tmp_path / "run"
    with rehearsal(folder, sites(tmp_path, "north"), engine="deployment") as link:
        seen = json.loads((folder / "flower" / "superlink" / "seen.json").read_text())["env"]
        assert not [name for env in (seen, link.env) for name in env if name.lower().endswith("_proxy")]


@pytest.mark.parametrize("name", ["logs/thesis.log", "flower/config.toml", "state.db"])
def test_what_no_rehearsal_made_is_not_replaced(tmp_path, programs, name):
    path = tmp_path / "run" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    with (
        pytest.raises(StoreError, match="PFS-604.*which no rehearsal made"),
        rehearsal(tmp_path / "run", [], engine="deployment"),
    ):
        pass
    assert path.read_text() == "mine"


def test_a_folder_of_an_earlier_release_can_be_used_again(tmp_path, programs):
    for name in ("logs", "work", "flower/superlink"):
        (tmp_path / "run" / name).mkdir(parents=True)
    (tmp_path / "run" / "state.db").touch()
    for _ in range(2):
        with rehearsal(tmp_path / "run", [], engine="deployment"):
            pass


def test_a_folder_with_other_things_can_be_used_again_and_again(tmp_path, programs):
    (tmp_path / "sites.toml").write_text("mine")
    (tmp_path / "run.toml").write_text("mine")
    for engine in ("deployment", "simulation", "deployment"):
        with rehearsal(tmp_path, sites(tmp_path, "north"), engine=engine) as link:
            link.run(Path("app"), {"rounds": 3})
    assert {(tmp_path / name).read_text() for name in ("sites.toml", "run.toml")} == {"mine"}


def test_processes_get_their_site_and_nothing_that_leaves_the_machine(tmp_path, programs):
    folder, both = tmp_path / "run", sites(tmp_path, "north", "valley")
    with rehearsal(folder, both, engine="deployment") as link:
        seen = json.loads((folder / "flower" / "superlink" / "seen.json").read_text())
        node = tomllib.loads((folder / "flower" / "valley" / "node.toml").read_text())
        config = tomllib.loads((folder / "flower" / "superlink" / "config.toml").read_text())
    assert SiteSettings(**{k.replace("-", "_"): v for k, v in node.items()}) == both[1]
    assert config["superlink"]["rehearsal"] == {"address": link.address, "insecure": True}
    assert "--disable-runtime-dependency-installation" in seen["argv"]
    assert "--simulation" not in seen["argv"]
    env = seen["env"]
    assert (env["FLWR_TELEMETRY_ENABLED"], env["RAY_USAGE_STATS_ENABLED"]) == ("0", "0")
    assert env["FLWR_DISABLE_UPDATE_CHECK"] == "1"
    assert env["PATH"].split(os.pathsep)[0] == str(programs)
    assert Path(env["PYTHONPATH"].split(os.pathsep)[0]) == Path(rehearsals.__file__).resolve().parents[2]
    assert seen["cwd"] == str(folder / "work")
    assert not list((folder / "work").glob("*.py"))


def test_simulation_has_one_virtual_node_per_site_and_no_supernode(tmp_path, programs, monkeypatch):
    monkeypatch.setattr(rehearsals.importlib.util, "find_spec", lambda name: object())
    folder, both = tmp_path / "run", sites(tmp_path, "north", "valley")
    with rehearsal(folder, both, engine="simulation") as link:
        link.run(Path("app"), {"rounds": 1})
        asked = json.loads((folder / "work" / "asked.json").read_text())
        seen = json.loads((folder / "flower" / "superlink" / "seen.json").read_text())
        assert len(link.programs) == 1
        assert Path(seen["env"]["RAY_TMPDIR"]).is_dir()
    assert "num-supernodes=2 client-resources-num-cpus=1" in asked
    assert "--simulation" in seen["argv"]
    tables = tomllib.loads(Path(seen["env"]["PFEDSAM_SITES"]).read_text())["site"]
    assert [table["site"] for table in tables] == ["north", "valley"]
    assert not Path(seen["env"]["RAY_TMPDIR"]).exists()


def test_simulation_without_ray_says_so_before_anything_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(rehearsals.importlib.util, "find_spec", lambda name: None)
    with (
        pytest.raises(FederationError, match="needs Ray"),
        rehearsal(tmp_path / "run", sites(tmp_path, "north"), engine="simulation"),
    ):
        pass
    assert not (tmp_path / "run").exists()


def test_a_program_that_ends_early_is_quoted_and_the_others_are_ended(tmp_path, programs):
    write_program(
        programs / "flower-superlink", "print('\\x1b[91mno luck\\x1b[0m today')\nraise SystemExit(3)\n"
    )
    folder = tmp_path / "run"
    with pytest.raises(FederationError) as caught, rehearsal(folder, [], engine="deployment"):
        pass
    text = caught.value.local()
    assert caught.value.code == "PFS-507"
    assert "ended early with status 3" in text
    assert "    no luck today" in text
    assert "superlink.log" in text
    assert str(tmp_path) not in caught.value.public()
    assert descendants(str(folder)) == set()


def test_a_supernode_that_dies_during_the_run_is_noticed(tmp_path, programs):
    folder = tmp_path / "run"
    with rehearsal(folder, sites(tmp_path, "north"), engine="deployment") as link:
        link.programs[1].process.kill()
        link.programs[1].process.wait()
        with pytest.raises(FederationError, match="SuperNode of north ended early"):
            link.check()
    assert descendants(str(folder)) == set()


def test_missing_program_is_one_sentence(tmp_path, programs):
    (programs / "flower-superlink").unlink()
    with (
        pytest.raises(FederationError, match="could not be started"),
        rehearsal(tmp_path / "run", [], engine="deployment"),
    ):
        pass


def test_a_superlink_that_does_not_answer_has_a_limit(tmp_path, programs, monkeypatch):
    monkeypatch.setattr(rehearsals, "HEALTH_LIMIT_S", 0.3)
    write_program(
        programs / "flower-superlink", "import signal\nprint('thinking', flush=True)\nsignal.pause()\n"
    )
    with (
        pytest.raises(FederationError, match="did not answer within"),
        rehearsal(tmp_path / "run", [], engine="deployment"),
    ):
        pass
    assert descendants(str(tmp_path / "run")) == set()


@pytest.mark.parametrize("reason", [KeyboardInterrupt, SystemExit, ZeroDivisionError])
def test_nothing_stays_whatever_the_reason_of_leaving(tmp_path, programs, reason):
    folder = tmp_path / "run"
    with pytest.raises(reason), rehearsal(folder, sites(tmp_path, "north"), engine="deployment"):
        raise reason
    assert descendants(str(folder)) == set()


def test_a_termination_signal_leaves_through_the_same_door(tmp_path, programs):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as caught, rehearsal(tmp_path / "run", [], engine="deployment"):
        os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.code == 128 + signal.SIGTERM
    assert descendants(str(tmp_path / "run")) == set()
    assert signal.getsignal(signal.SIGTERM) == before


def test_programs_that_ignore_the_request_are_made_to_end(tmp_path, programs, monkeypatch):
    monkeypatch.setattr(processes, "GRACE_S", 0.5)
    ignoring = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    write_program(programs / "flower-superlink", ignoring + SUPERLINK)
    folder = tmp_path / "run"
    with rehearsal(folder, [], engine="deployment") as link:
        pass
    assert descendants(str(folder)) == set()
    assert link.programs[0].process.returncode == -signal.SIGKILL


def test_what_a_killed_rehearsal_left_is_ended_at_the_next_start(tmp_path, programs):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "state.db").write_text("of a run that must not start again")
    (folder / rehearsals.OURS).touch()
    left = subprocess.Popen(
        ["sleep", "600"], env=os.environ | {processes.MARKER: str(folder)}, start_new_session=True
    )
    other = subprocess.Popen(["sleep", "600"], env=os.environ | {processes.MARKER: str(folder) + "2"})
    try:
        with rehearsal(folder, [], engine="deployment"):
            assert left.wait(5) == -signal.SIGTERM
            assert not (folder / "state.db").exists()
            assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_one_rehearsal_per_folder(tmp_path, programs):
    with rehearsal(tmp_path / "run", [], engine="deployment") as link:
        with (
            pytest.raises(StoreError, match="another process") as caught,
            rehearsal(tmp_path / "run", [], engine="deployment"),
        ):
            pass
        assert caught.value.code == "PFS-604"
        link.check()  # and the first one is not disturbed


def test_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(StoreError, match="cannot be used"),
        rehearsal(tmp_path / "file" / "run", [], engine="deployment"),
    ):
        pass


def test_flower_s_refusal_is_passed_on(tmp_path, programs):
    write_program(
        programs / "flwr",
        "print('Using SuperLink: rehearsal')\nraise SystemExit('[code: 15] Invalid run configuration.')\n",
    )
    with (
        pytest.raises(FederationError) as caught,
        rehearsal(tmp_path / "run", [], engine="deployment") as link,
    ):
        link.run(Path("app"), {"nope": 1})
    assert "Flower refused 'flwr run': [code: 15] Invalid run configuration." in caught.value.local()
    assert "Using" not in caught.value.local()


def test_ending_nothing_takes_no_time():
    began = time.monotonic()
    end_all("no rehearsal has this marker")
    assert time.monotonic() - began < 2


def test_app_is_found_beside_the_package_or_refused(monkeypatch, tmp_path):
    root = Path(rehearsals.__file__).resolve().parents[2]
    monkeypatch.setattr(rehearsals, "__file__", str(tmp_path / "site" / "deployment" / "rehearsal.py"))
    with pytest.raises(FederationError, match="not beside the installed package"):
        app_folder()
    monkeypatch.undo()
    if (root / "server_app" / "app.py").is_file():
        assert app_folder() == root
