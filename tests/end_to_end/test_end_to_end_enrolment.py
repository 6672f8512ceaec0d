"""A real SuperLink with TLS and SuperNode authentication: the enrolled get in until revoked, no one else."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from federation_links import Link, running_link, said

from pfedsam_flower.deployment.certificates import CERTIFICATE_DAYS, renew_certificate
from pfedsam_flower.deployment.enrolment import enrol, overview, revoke
from pfedsam_flower.deployment.keys import make_site_key
from pfedsam_flower.deployment.processes import end_all


@pytest.fixture
def link(tmp_path: Path) -> Iterator[Link]:
    with running_link(tmp_path / "coordinator") as link:
        yield link


@pytest.mark.timeout(590)
def test_only_an_enrolled_site_gets_in_and_only_until_it_is_revoked(link: Link, tmp_path: Path) -> None:
    superlink, authority = link.programs[0], ("--root-certificates", str(link.folder / "ca.crt"))
    north, stranger = (make_site_key(tmp_path / name, name) for name in ("north", "stranger"))
    node_id = enrol(link.folder, link.address, "north", north.public, north.words).node_id
    activated = f"Activated node_id={node_id}"

    inside = link.supernode("north", *authority, "--auth-supernode-private-key", str(north.private))
    unknown = link.supernode("stranger", *authority, "--auth-supernode-private-key", str(stranger.private))
    bare = link.supernode("plain", "--insecure")
    link.wait(lambda: activated in said(superlink), "north to be accepted")
    link.wait(lambda: "[code: 2004]" in said(unknown), "the stranger to be refused")
    link.wait(lambda: said(bare).count("Connection attempt failed") > 1, "plain HTTP to fail")
    assert "No SuperNode found with the given public key" in said(superlink)
    assert [(row.site, row.node_id, row.status) for row in overview(link.folder, link.address)] == [
        ("north", node_id, "online")
    ]
    assert inside.process.poll() is None

    assert revoke(link.folder, link.address, site="north") == (node_id, True)
    link.wait(lambda: inside.process.poll() is not None, "north's SuperNode to end")
    refused = [
        line for line in said(superlink).splitlines() if "/v1/fleet/" in line and line.endswith(" 401")
    ]
    assert refused, "the SuperLink's log says that the revoked node was turned away"

    again = link.supernode("again", *authority, "--auth-supernode-private-key", str(north.private))
    link.wait(lambda: "[code: 2004]" in said(again), "the revoked key to be refused")
    assert said(superlink).count("Activated node_id=") == 1


@pytest.mark.timeout(590)
def test_a_site_says_nothing_to_a_coordinator_whose_certificate_has_expired(
    link: Link, tmp_path: Path
) -> None:
    authority, north = ("--root-certificates", str(link.folder / "ca.crt")), make_site_key(tmp_path, "north")
    enrol(link.folder, link.address, "north", north.public, north.words)
    end_all(str(link.folder), link.programs)
    long_ago = datetime.now(UTC) - timedelta(days=CERTIFICATE_DAYS + 1)
    renew_certificate(link.folder, ["fl.example.org"], now=long_ago)
    superlink = link.superlink()
    link.wait(link.listens, "the SuperLink")
    node = link.supernode("north", *authority, "--auth-supernode-private-key", str(north.private))
    link.wait(lambda: "certificate has expired" in said(node), "the site to see it")
    assert "/v1/fleet/" not in said(superlink)
