"""The federation in containers: files that the package accepts, and containers that may do little."""

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from pfedsam_flower.cli.__main__ import COMMANDS
from pfedsam_flower.federation.plan import read_plan
from pfedsam_flower.settings.sources import default_flat, site_from_flat

DOCKER = Path(__file__).resolve().parents[2] / "docker"
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SITES = sorted(path.stem for path in (DOCKER / "sites").glob("*.toml"))
BESIDE = "service:superlink"
MOUNTED = "/etc/pfedsam"


def volumes(name: str) -> dict[str, str]:
    """Source by target of a service's volumes."""
    split = (volume.split(":") for volume in SERVICES[name].get("volumes", []))
    return {target: source for source, target, *_ in split}


def flat_run() -> dict[str, Any]:
    tables = tomllib.loads((DOCKER / "coordinator" / "run.toml").read_text())
    nested = {k: v for k, v in tables.items() if isinstance(v, dict)}
    flat = {k: v for k, v in tables.items() if k not in nested}
    return flat | {f"{table}.{k}": v for table, values in nested.items() for k, v in values.items()}


def test_the_run_is_accepted_and_every_site_that_it_names_is_a_container() -> None:
    assert set(flat_run()) <= set(default_flat())
    run, coordinator = read_plan(default_flat() | flat_run())
    assert sorted(run.federation.sites) == SITES
    assert set(SITES) < set(SERVICES)
    assert run.federation.below_quorum == "wait", "nothing is approved at the start"
    assert volumes("superlink")[coordinator.folder] == "runs"
    started = (DOCKER / "coordinator" / "start.sh").read_text()
    assert f"pfedsam report {coordinator.folder}/{run.federation.name}\n" in started


def test_sites_are_known_by_their_keys() -> None:
    enrolment = Path(flat_run()["coordinator.enrolment"])
    assert volumes("superlink")[str(enrolment.parent)] == volumes("enrol")[str(enrolment.parent)]
    assert "--enable-supernode-auth" in SERVICES["superlink"]["command"]
    texts = [path.read_text() for path in DOCKER.rglob("*") if path.is_file() and path.name != "README.md"]
    assert not any("insecure" in text for text in texts)


@pytest.mark.parametrize("name", SITES)
def test_a_sites_file_is_accepted_and_its_volumes_are_its_own(name: str) -> None:
    site = site_from_flat(tomllib.loads((DOCKER / "sites" / f"{name}.toml").read_text()))
    assert site.site == name
    assert SERVICES[name]["command"] == f"pfedsam site start {MOUNTED}/{name}.toml"
    beside = (f"key-{name}", f"approve-{name}")
    assert all(SERVICES[other]["command"].split()[-1] == name for other in beside)
    made = (DOCKER / "sites" / "key.sh").read_text()
    assert site.key.replace(name, "$1") in made
    assert str(Path(site.authority).parent) in volumes(name)
    assert SERVICES[f"approve-{name}"]["network_mode"] == "none"
    assert f"data-{name}:{site.data}:ro" in SERVICES[name]["volumes"]
    for other in SERVICES:
        mounted = set(volumes(other).values())
        assert other in (name, *beside) or volumes(name)[site.state] not in mounted
        assert other in (name, "phantoms") or volumes(name)[site.data] not in mounted


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_may_do_little(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"ports", "privileged", "cap_add", "devices", "pid", "ipc"} & set(service)
    assert ("user" in service) <= (service.get("network_mode") == "none")  # root only without a network


def test_a_hospital_reaches_the_proxy_and_nothing_else() -> None:
    for name in SITES:
        assert SERVICES[name]["networks"] == [name]
        others = [n for n, s in SERVICES.items() if name in s.get("networks", []) and n != name]
        assert others == ["superlink"], "whose network the proxy has"
    assert COMPOSE["networks"] == {name: {"internal": True} for name in SITES}
    assert "--host 127.0.0.1 --port 8000" in SERVICES["superlink"]["command"]
    inside = [name for name, service in SERVICES.items() if service.get("network_mode") == BESIDE]
    assert inside == ["proxy", "enrol", "start"]
    for name, service in SERVICES.items():
        assert ("networks" in service) != (service.get("network_mode") in ("none", BESIDE)), name
    proxy = (DOCKER / "proxy" / "nginx.conf").read_text()
    (port,) = re.findall(r"listen (\d+) ssl;", proxy)
    for name in SITES:
        site = site_from_flat(tomllib.loads((DOCKER / "sites" / f"{name}.toml").read_text()))
        assert site.superlink == f"coordinator:{port}"
    assert "proxy_pass https://127.0.0.1:8000;" in proxy


def test_the_authoritys_key_is_in_no_service_that_goes_on_running() -> None:
    assert [name for name in SERVICES if "authority" in volumes(name).values()] == ["certificates"]
    assert SERVICES["certificates"]["network_mode"] == "none"


def test_every_file_that_a_container_is_given_is_here_and_calls_commands_that_exist() -> None:
    for name, service in SERVICES.items():
        for target, source in volumes(name).items():
            if source.startswith("./"):
                assert (DOCKER / source).is_dir(), source
                said = service["command"] if isinstance(service["command"], str) else ""
                for word in (w for w in shlex.split(said) if w.startswith(f"{target}/")):
                    assert (DOCKER / source / word.removeprefix(f"{target}/")).is_file(), word
            else:
                assert source in COMPOSE["volumes"]
    for script in DOCKER.rglob("*.sh"):
        for command in re.findall(r"pfedsam ([a-z-]+) ", script.read_text()):
            assert command in COMMANDS, f"{script.name}: {command}"


def test_every_hospital_gets_a_device_of_its_own_in_the_overlay() -> None:
    overlay = yaml.safe_load((DOCKER / "compose.gpu.yaml").read_text())["services"]
    assert sorted(overlay) == SITES
    found = [
        one["deploy"]["resources"]["reservations"]["devices"][0]["device_ids"] for one in overlay.values()
    ]
    assert sorted(found) == [["0"], ["1"], ["2"]]


def test_the_image_is_built_from_a_named_base_for_an_ordinary_user() -> None:
    lines = (DOCKER / "Dockerfile").read_text().splitlines()
    stages = [line for line in lines if line.startswith("FROM")]
    assert stages == ["FROM ${BASE_IMAGE} AS proxy", "FROM ${BASE_IMAGE}"]
    assert [line for line in lines if line.startswith("USER")] == ["USER 1000:1000"] * 2
    made = next(line for line in lines if "install -d -o 1000" in line)
    own = {target for name in SERVICES for target in volumes(name)} & set(made.split())
    assert own == {"/state", "/runs", "/authority", "/coordinator", "/mail"}
