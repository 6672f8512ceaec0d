"""Only a key whose words were read out is admitted; names, node ids and Flower's table stay together.

A script of a few lines stands in for Flower's command: it keeps the nodes in a file.
"""

import json
import stat
import sys
import tomllib
from pathlib import Path

import pytest

from pfedsam_flower.cli.__main__ import main
from pfedsam_flower.deployment import flower
from pfedsam_flower.deployment.certificates import make_certificates
from pfedsam_flower.deployment.enrolment import REGISTER, enrol, overview, read_register, revoke
from pfedsam_flower.deployment.keys import make_site_key, read_public_key
from pfedsam_flower.errors import FederationError, SettingsError, StoreError

LINK = "127.0.0.1:18000"
FLWR = """
import json, os, pathlib, sys
here = pathlib.Path(__file__).parent
table = here / "nodes.json"
nodes = json.loads(table.read_text()) if table.exists() else []
def answer(**what):
    table.write_text(json.dumps(nodes))
    print(json.dumps({"success": True} | what))
    sys.exit()
def refuse(why):
    print(json.dumps({"success": False, "error-message": why}))
    sys.exit(1)
(here / "seen.json").write_text(json.dumps({
    "argv": sys.argv[1:],
    "env": dict(os.environ),
    "config": (pathlib.Path(os.environ["FLWR_HOME"]) / "config.toml").read_text(),
}))
if (here / "down").exists():
    refuse("Connection to the SuperLink is unavailable.")
group, what, *rest = sys.argv[1:]
assert group == "supernode" and rest[-2:] == ["--format", "json"]
if what == "register":
    key, connection, option, name = rest[:-2]
    assert option == "--name"
    key = pathlib.Path(key).read_text()
    if any(node["key"] == key for node in nodes):
        refuse("[code: 23] Public key already in use.")
    nodes.append({"node-id": str(2**64 - 1 - len(nodes)), "status": "registered", "key": key, "name": name})
    answer(**{"node-id": nodes[-1]["node-id"]})
if what == "list":
    answer(nodes=[{k: node[k] for k in ("node-id", "status")} for node in nodes])
for node in nodes:
    if node["node-id"] == rest[0] and node["status"] != "unregistered":
        node["status"] = "unregistered"
        answer(**{"node-id": rest[0]})
refuse("[code: 24] Node ID not found for account.")
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """The folder where the stand-in keeps what it was told."""
    folder = tmp_path / "programs"
    folder.mkdir()
    program = folder / "flwr"
    program.write_text(f"#!{sys.executable} -ES\n{FLWR}")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(flower, "PROGRAMS", folder)
    return folder


@pytest.fixture
def coordinator(tmp_path, stand_in):
    make_certificates(tmp_path / "coordinator", ["fl.example.org"])
    return tmp_path / "coordinator"


@pytest.fixture
def north(tmp_path):
    return make_site_key(tmp_path / "keys", "north")


def flowers_nodes(stand_in: Path) -> list[dict]:
    table = stand_in / "nodes.json"
    return json.loads(table.read_text()) if table.exists() else []


def test_an_enrolled_site_is_known_to_flower_and_by_name(coordinator, stand_in, north):
    one = enrol(coordinator, LINK, "north", north.public, north.words.upper().replace(" ", ", "))
    [node] = flowers_nodes(stand_in)
    assert (int(node["node-id"]), node["name"]) == (one.node_id, "north") == (2**64 - 1, "north")
    assert node["key"] == one.key + "\n" == read_public_key(north.public) + "\n"
    assert read_register(coordinator).sites == (one,)
    assert stat.S_IMODE((coordinator / REGISTER).stat().st_mode) == 0o600
    seen = json.loads((stand_in / "seen.json").read_text())
    [connection] = (
        one for one in tomllib.loads(seen["config"])["superlink"].values() if isinstance(one, dict)
    )
    assert connection == {"address": LINK, "root-certificates": str(coordinator / "ca.crt")}
    assert (seen["env"]["FLWR_TELEMETRY_ENABLED"], seen["env"]["FLWR_DISABLE_UPDATE_CHECK"]) == ("0", "1")
    assert seen["env"]["NO_PROXY"] == "127.0.0.1"
    assert not Path(seen["env"]["FLWR_HOME"]).exists()


@pytest.mark.parametrize("place", [None, 0, 9])
def test_a_key_whose_words_differ_is_not_admitted_and_the_right_ones_are_not_told(
    coordinator, stand_in, north, place
):
    heard = [] if place is None else north.words.split()
    if heard:
        heard[place] = "zebra" if heard[place] != "zebra" else "acorn"
    with pytest.raises(FederationError, match="words") as caught:
        enrol(coordinator, LINK, "north", north.public, " ".join(heard))
    assert caught.value.code == "PFS-508"
    assert place is None or f"number {place + 1} of 10" in caught.value.message
    told = caught.value.local().split()
    assert not [word for word in north.words.split() if word in told]
    assert flowers_nodes(stand_in) == []
    assert not (coordinator / REGISTER).exists()


def test_a_name_and_a_key_belong_to_one_site(coordinator, stand_in, north, tmp_path):
    enrol(coordinator, LINK, "north", north.public, north.words)
    other = make_site_key(tmp_path / "other", "north")
    with pytest.raises(FederationError, match="north is enrolled already"):
        enrol(coordinator, LINK, "north", other.public, other.words)
    with pytest.raises(FederationError, match=r"this is the key of north\n"):
        enrol(coordinator, LINK, "valley", north.public, north.words)
    with pytest.raises(SettingsError):
        enrol(coordinator, LINK, "../north", other.public, other.words)
    assert len(flowers_nodes(stand_in)) == 1


def test_a_revoked_key_never_comes_back_but_its_site_may(coordinator, stand_in, north, tmp_path):
    first = enrol(coordinator, LINK, "north", north.public, north.words)
    assert revoke(coordinator, LINK, site="north") == (first.node_id, True)
    assert [node["status"] for node in flowers_nodes(stand_in)] == ["unregistered"]
    with pytest.raises(FederationError, match="no site 'north' is enrolled"):
        revoke(coordinator, LINK, site="north")
    with pytest.raises(FederationError, match="this is the key of north, and it was revoked"):
        enrol(coordinator, LINK, "north", north.public, north.words)
    new = make_site_key(tmp_path / "new", "north")
    second = enrol(coordinator, LINK, "north", new.public, new.words)
    old, current = read_register(coordinator).sites
    assert (old.key, old.revoked is None, current) == (first.key, False, second)
    assert [row.remark for row in overview(coordinator, LINK)] == ["", ""]
    # an old database was brought back: the revoked key would be admitted again
    table = stand_in / "nodes.json"
    table.write_text(table.read_text().replace("unregistered", "offline"))
    assert [row.remark[:24] for row in overview(coordinator, LINK)] == ["revoked, and yet admitte", ""]
    assert revoke(coordinator, LINK, node_id=first.node_id) == (first.node_id, True)
    assert read_register(coordinator).sites == (old, current)
    assert [row.remark for row in overview(coordinator, LINK)] == ["", ""]


def test_what_flower_refuses_is_not_written_down(coordinator, stand_in, north):
    (stand_in / "down").touch()
    with pytest.raises(FederationError, match="is unavailable"):
        enrol(coordinator, LINK, "north", north.public, north.words)
    assert not (coordinator / REGISTER).exists()
    (stand_in / "down").unlink()
    enrol(coordinator, LINK, "north", north.public, north.words)
    (stand_in / "down").touch()
    with pytest.raises(FederationError, match="is unavailable"):
        revoke(coordinator, LINK, site="north")
    assert read_register(coordinator).of("north") is not None


def test_where_register_and_flower_differ_it_is_said_and_can_be_mended(
    coordinator, stand_in, north, tmp_path, capsys
):
    words = ["--superlink", LINK]
    assert main(["enrol", str(coordinator), *words]) == 0
    assert capsys.readouterr().out == "no site is enrolled\n"
    enrol(coordinator, LINK, "north", north.public, north.words)
    assert main(["enrol", str(coordinator), *words]) == 0
    # the process ended between Flower's answer and our file: admitted, without a name
    (coordinator / REGISTER).unlink()
    assert main(["enrol", str(coordinator), *words]) == 3
    assert f"node {2**64 - 1}: not enrolled here, and yet admitted" in capsys.readouterr().out
    with pytest.raises(FederationError, match="Flower has had this key before"):
        enrol(coordinator, LINK, "north", north.public, north.words)
    assert main(["revoke", str(coordinator), "--node", str(2**64 - 1), *words]) == 0
    assert f"node {2**64 - 1} is shut out" in capsys.readouterr().out
    assert main(["enrol", str(coordinator), *words, "--json"]) == 0
    [node] = json.loads(capsys.readouterr().out)["nodes"]
    assert (node["site"], node["status"], node["remark"]) == ("", "unregistered", "")
    # the SuperLink lost its database: enrolled, and not admitted
    new = make_site_key(tmp_path / "new", "north")
    lost = enrol(coordinator, LINK, "north", new.public, new.words)
    with pytest.raises(FederationError, match="north is enrolled already"):
        enrol(coordinator, LINK, "north", new.public, new.words)
    (stand_in / "nodes.json").unlink()
    assert main(["enrol", str(coordinator), *words]) == 3
    assert "the SuperLink has forgotten it: enrol the same key again" in capsys.readouterr().out
    again = enrol(coordinator, LINK, "north", new.public, new.words)
    assert read_register(coordinator).sites == (again,)
    assert (again.key, again.node_id) != (lost.key, lost.node_id)
    assert main(["enrol", str(coordinator), *words]) == 0
    # shut out with Flower's own command, and then the database is lost as well
    (stand_in / "nodes.json").write_text(
        (stand_in / "nodes.json").read_text().replace("registered", "unregistered")
    )
    capsys.readouterr()
    assert main(["enrol", str(coordinator), *words]) == 3
    assert "shut out by other means: revoke it here too" in capsys.readouterr().out
    (stand_in / "nodes.json").unlink()
    assert main(["revoke", str(coordinator), "--site", "north", *words]) == 0
    assert "was not admitted by the SuperLink any more" in capsys.readouterr().out
    assert main(["enrol", str(coordinator), *words]) == 0


def test_a_node_that_nobody_knows_cannot_be_revoked(coordinator):
    with pytest.raises(FederationError, match="neither Flower nor the register has a node 7"):
        revoke(coordinator, LINK, node_id=7)


def twice(plain: dict, **changed: object) -> dict:
    return plain | {"sites": [*plain["sites"], plain["sites"][0] | changed]}


@pytest.mark.parametrize(
    "damage",
    [
        lambda plain: json.dumps(plain)[:-9],
        lambda plain: json.dumps(plain | {"more": 1}),
        lambda plain: json.dumps(plain | {"format": 2}),
        lambda plain: json.dumps(twice(plain, site="valley", node_id=5)),
        lambda plain: json.dumps(twice(plain, site="valley", key="ecdsa-sha2-nistp384 AAAA")),
        lambda plain: json.dumps(twice(plain, node_id=5, key="ecdsa-sha2-nistp384 AAAA")),
    ],
    ids=["cut", "more", "format", "key twice", "node twice", "site twice"],
)
def test_a_damaged_register_is_refused_and_kept(coordinator, stand_in, north, tmp_path, damage):
    enrol(coordinator, LINK, "north", north.public, north.words)
    path = coordinator / REGISTER
    path.write_text(damage(json.loads(path.read_text())))
    before = path.read_bytes()
    other = make_site_key(tmp_path / "other", "peak")
    for act in (
        lambda: enrol(coordinator, LINK, "peak", other.public, other.words),
        lambda: revoke(coordinator, LINK, site="north"),
        lambda: overview(coordinator, LINK),
    ):
        with pytest.raises(StoreError) as caught:
            act()
        assert caught.value.code == "PFS-603"
    assert path.read_bytes() == before
    assert [node["status"] for node in flowers_nodes(stand_in)] == ["registered"]


def test_a_folder_without_certificates_is_refused_and_not_made(stand_in, north, tmp_path):
    with pytest.raises(StoreError, match="no certificate") as caught:
        enrol(tmp_path / "coordinatr", LINK, "north", north.public, north.words)
    assert caught.value.code == "PFS-605"
    assert not (tmp_path / "coordinatr").exists()


def test_the_command_wants_the_words_of_the_site(coordinator, stand_in, north, capsys):
    words = ["enrol", str(coordinator), str(north.public), "--superlink", LINK]
    assert main(words) == 1
    assert "--site NAME" in capsys.readouterr().err
    assert main([*words, "--site", "north"]) == 1
    assert "without the words" in capsys.readouterr().err
    assert main([*words, "--site", "north", "--words", *north.words.split()]) == 0
    assert f"north is enrolled as node {2**64 - 1}" in capsys.readouterr().out
    assert main(["revoke", str(coordinator), "--superlink", LINK, "--site", "north"]) == 0
    assert main(["revoke", str(coordinator), "--superlink", LINK]) == 2
