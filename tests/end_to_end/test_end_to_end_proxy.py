"""The proxy of docker/proxy: sites work through it, and nothing but what sites need is reachable."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from federation_links import Link, running_link, said
from site_small import SHORT

from pfedsam_flower.data.phantoms import write_phantoms
from pfedsam_flower.deployment import flower
from pfedsam_flower.deployment.enrolment import enrol
from pfedsam_flower.deployment.keys import make_site_key
from pfedsam_flower.deployment.rehearsal import app_folder, free_port
from pfedsam_flower.errors import FederationError
from pfedsam_flower.settings.sources import sites_from_file, to_flat

CONFIGURATION = Path(__file__).parents[2] / "docker" / "proxy" / "nginx.conf"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
SETTINGS = SHORT | {
    "evaluation.alone": False,
    "federation.name": "behind-a-proxy",
    "federation.start-deadline-s": 120.0,
    "federation.round-deadline-s": 200.0,
}
CLOSED = [
    "/v1/control/list-runs",
    "/v1/control/start-run",
    "/v1/control/register-node",
    "/v1/runtime/acquire-task",
    "/v1/fleet/",
    "/v1/fleet",
    "/v1/fleet/../control/list-runs",
    "/v1/fleet/%2e%2e/control/list-runs",
    "/v1/fleet/..%2fcontrol/list-runs",
    "/v1/fleet/%252e%252e/control/list-runs",
    "//v1/control/list-runs",
    "/v1/control/list-runs?/v1/fleet/pull-messages",
    "/openapi.json",
    "/docs",
    "/health",
]


@pytest.fixture
def link(tmp_path: Path) -> Iterator[Link]:
    with running_link(tmp_path / "coordinator") as link:
        yield link


def start_proxy(link: Link) -> str:
    """The shipped configuration on two free ports; its address."""
    port, text = free_port(), CONFIGURATION.read_text()
    for shipped, here in (
        ("listen 8443 ", f"listen 127.0.0.1:{port} "),
        ("127.0.0.1:8000;", f"{link.address};"),
    ):
        assert text.count(shipped) == 1
        text = text.replace(shipped, here)
    (link.folder / "nginx.conf").write_text(text)
    assert NGINX
    link.start("proxy", NGINX, "-p", str(link.folder), "-c", "nginx.conf")
    address = f"127.0.0.1:{port}"
    link.wait(lambda: link.answer("/", at=address) == 404, "the proxy")
    return address


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed here (Debian: nginx-light)")
@pytest.mark.timeout(590)
def test_sites_work_through_the_proxy_and_nothing_else_does(link: Link, tmp_path: Path) -> None:
    address, superlink = start_proxy(link), link.programs[0]
    write_phantoms(tmp_path / "sites", n_sites=2, patients=3, slices=1, size=48)
    sites = sites_from_file(tmp_path / "sites" / "sites.toml")
    authority = ("--root-certificates", str(link.folder / "ca.crt"))
    for site in sites:
        key = make_site_key(tmp_path / "keys" / site.site, site.site)
        enrol(link.folder, link.address, site.site, key.public, key.words)
        node = tmp_path / f"{site.site}.toml"
        node.write_text(flower.toml(to_flat(site)))
        options = ("--auth-supernode-private-key", str(key.private), "--node-config", str(node))
        link.supernode(site.site, *authority, *options, at=address)
    names = ",".join(site.site for site in sites)
    config = tmp_path / "run.toml"
    own = {
        "coordinator.folder": str(tmp_path / "runs"),
        "coordinator.enrolment": str(link.folder / "enrolled.json"),
    }
    config.write_text(flower.toml(SETTINGS | own | {"federation.sites": names}))
    call = {"env": link.env("coordinator"), "cwd": link.folder}
    flower.write_connection(link.folder / "flower-coordinator", link.address, link.folder / "ca.crt")
    number = flower.run(app_folder(), config, nodes=None, **call)

    # While the sites work: a stranger who knows the address and has ca.crt, which is no secret.
    key = make_site_key(tmp_path / "keys" / "stranger", "stranger")
    stranger = link.supernode(
        "stranger", *authority, "--auth-supernode-private-key", str(key.private), at=address
    )
    for path in CLOSED:
        for method in ("GET", "POST"):
            assert link.answer(path, at=address, method=method) == 404, f"{method} {path}"
    assert link.answer("/v1/fleet/activate-node", at=address) == 405, "what pfedsam doctor looks for"
    for call_name in ("pull-messages", "get-run", "get-fab", "push-messages", "register-node"):
        answered = link.answer(f"/v1/fleet/{call_name}", at=address, method="POST", body=b"")
        assert answered == 401, f"{call_name}: {answered}"
    assert link.answer("/v1/control/list-runs", method="POST", body=b"") == 200, "the loopback's own door"
    outside = {"env": link.env("outside"), "cwd": link.folder}
    flower.write_connection(link.folder / "flower-outside", address, link.folder / "ca.crt")
    with pytest.raises(FederationError, match="refused 'flwr supernode'"):
        flower.nodes(**outside)
    with pytest.raises(FederationError, match="refused 'flwr run'"):
        flower.run(app_folder(), config, nodes=None, **outside)
    link.wait(lambda: "[code: 2004]" in said(stranger), "the stranger to be refused")

    link.wait(lambda: flower.status(number, **call)[0].startswith("finished"), "the end of the run")
    assert flower.status(number, **call)[0] == "finished:completed", flower.last_words(number, **call)
    assert said(superlink).count("Activated node_id=") == len(sites)
    refused = (link.folder / "proxy.log").read_text()
    assert "/v1/control/start-run" in refused
    assert '" 200 ' not in refused
