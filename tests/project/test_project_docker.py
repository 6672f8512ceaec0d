"""The rehearsal in containers: files that the package accepts, and containers that may do little."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from pfedsam_flower.federation.plan import read_plan
from pfedsam_flower.settings.sources import default_flat, site_from_flat

DOCKER = Path(__file__).resolve().parents[2] / "docker"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
SITES = sorted(path.stem for path in (DOCKER / "sites").glob("*.toml"))


def test_the_run_is_accepted_and_every_site_that_it_names_is_a_container() -> None:
    tables = tomllib.loads((DOCKER / "coordinator" / "run.toml").read_text())
    nested = {k: v for k, v in tables.items() if isinstance(v, dict)}
    flat = {k: v for k, v in tables.items() if k not in nested}
    flat |= {f"{table}.{k}": v for table, values in nested.items() for k, v in values.items()}
    assert set(flat) <= set(default_flat())
    run, coordinator = read_plan(default_flat() | flat)
    assert sorted(run.federation.sites) == SITES
    assert set(SITES) < set(SERVICES)
    assert f"runs:{coordinator.folder}" in SERVICES["superlink"]["volumes"]
    started = (DOCKER / "coordinator" / "start.sh").read_text()
    assert f"pfedsam report {coordinator.folder}/{run.federation.name}\n" in started


@pytest.mark.parametrize("name", SITES)
def test_a_sites_file_is_accepted_and_its_volumes_are_its_own(name: str) -> None:
    site = site_from_flat(tomllib.loads((DOCKER / "sites" / f"{name}.toml").read_text()))
    assert site.site == name
    targets = {volume.split(":")[1]: volume.split(":")[0] for volume in SERVICES[name]["volumes"]}
    assert f"data-{name}:{site.data}:ro" in SERVICES[name]["volumes"]
    for other, service in SERVICES.items():
        mounted = {volume.split(":")[0] for volume in service.get("volumes", [])}
        assert other == name or targets[site.state] not in mounted
        assert other in (name, "phantoms") or targets[site.data] not in mounted


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_may_do_little(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"ports", "privileged", "cap_add", "devices", "pid", "ipc"} & set(service)
    assert service.get("network_mode") == "none" or service["networks"] == ["federation"]
    assert ("user" in service) <= (service.get("network_mode") == "none")  # root only without a network


def test_the_network_has_no_way_out_and_the_image_is_built_from_a_named_base_for_an_ordinary_user() -> None:
    networks = yaml.safe_load((DOCKER / "compose.yaml").read_text())["networks"]
    assert networks == {"federation": {"internal": True}}
    lines = (DOCKER / "Dockerfile").read_text().splitlines()
    assert [line for line in lines if line.startswith("FROM")] == ["FROM ${BASE_IMAGE}"]
    assert [line for line in lines if line.startswith("USER")] == ["USER 1000:1000"]
