"""A real SuperLink and real SuperNodes on loopback: killed, recorded, and still the same bits."""

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from federation_wire import all_bytes, found_in, recording_proxy, windows
from safetensors.numpy import load_file

from pfedsam_flower.contract.schema import digest
from pfedsam_flower.data.phantoms import write_phantoms
from pfedsam_flower.deployment import rehearsal as rehearsals
from pfedsam_flower.deployment.processes import descendants
from pfedsam_flower.federation.client import build_client_app
from pfedsam_flower.federation.in_process import InProcessGrid
from pfedsam_flower.federation.server import coordinate
from pfedsam_flower.settings.site import SiteSettings
from pfedsam_flower.settings.sources import default_flat, sites_from_file

SETTINGS = {
    "federation.name": "test",
    "federation.minimum-sites": 2,
    "evaluation.alone": False,
    "federation.round-deadline-s": 300.0,
    "image.size": 28,
    "decoder.mode": "heads",
    "rounds": 4,
    "training.global-steps": 1,
    "training.local-steps": 1,
    "training.closing-steps": 2,
    "training.batch-size": 2,
}
LIMIT_S = 280.0


def events(run: Path, kind: str = "") -> list[dict[str, Any]]:
    if not (run / "history.jsonl").exists():
        return []
    lines = (run / "history.jsonl").read_text().split("\n")[:-1]
    return [e for e in map(json.loads, lines) if kind in ("", e["event"])]


def wait(until: Callable[[], bool], what: str) -> None:
    limit = time.monotonic() + LIMIT_S
    while not until():
        assert time.monotonic() < limit, f"waited too long for {what}"
        time.sleep(0.2)


def personal_digests(sites: list[SiteSettings]) -> dict[str, str]:
    found = {}
    for site in sites:
        state = Path(site.state) / "test" / site.site / "pfedsam" / "state.json"
        found[site.site] = json.loads(state.read_text())["generations"][-1]["personal_sha256"]
    return found


def processes_named(folder: Path, name: str) -> list[int]:
    found = []
    for pid in descendants(str(folder)):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(word.endswith(name.encode()) for word in words[:2]):
            found.append(pid)
    return found


# Not "alone": its start, kept where no model is trained alone, is the first broadcast.
PERSONAL = ("personal/", "optimiser/")


def on_disk(sites: list[SiteSettings], name: str, parts: tuple[str, ...]) -> list[np.ndarray]:
    """The tensors under one of ``parts`` in the files that the sites keep at the moment."""
    stores = [Path(site.state) / "test" / site.site / "pfedsam" for site in sites]
    files = [load_file(path) for store in stores for path in sorted(store.glob(f"{name}-*.safetensors"))]
    return [values for file in files for key, values in file.items() if key.startswith(parts)]


def private_texts(sites: list[SiteSettings]) -> set[bytes]:
    """Personal keys, patients, file names and folders of the sites, as their own disks have them."""
    texts = set()
    for site in sites:
        texts |= {str(Path(folder)) for folder in (site.data, site.state)}
        images = list((Path(site.data) / "images").iterdir())
        texts |= {image.name for image in images} | {image.stem.rpartition("-")[0] for image in images}
        store = Path(site.state) / "test" / site.site / "pfedsam"
        keys = [key for path in store.glob("personal-*.safetensors") for key in load_file(path)]
        texts |= {key.removeprefix("personal/") for key in keys if key.startswith("personal/")}
    return {text.encode() for text in texts}


def start_supernode(link: rehearsals.Rehearsal, site: SiteSettings, address: str) -> None:
    """A SuperNode that knows no other way to the SuperLink than ``address``."""
    link.programs.append(rehearsals._start_supernode(replace(link, address=address), site))


@pytest.mark.timeout(590)
def test_killed_after_round_2_of_4_it_resumes_to_the_same_bits_and_nothing_personal_was_on_the_wire(
    tmp_path: Path,
) -> None:
    write_phantoms(tmp_path / "sites", n_sites=2, patients=3, slices=1, size=48)
    sites = sites_from_file(tmp_path / "sites" / "sites.toml")
    names = {"federation.sites": ",".join(site.site for site in sites)}
    flat = default_flat() | SETTINGS | names | {"coordinator.folder": str(tmp_path / "runs")}

    elsewhere = [s.model_copy(update={"state": str(tmp_path / "undisturbed")}) for s in sites]
    undisturbed = coordinate(
        InProcessGrid(build_client_app(), elsewhere),
        flat | {"coordinator.folder": str(tmp_path / "runs0")},
        1,
    )

    folder, run = tmp_path / "rehearsal", tmp_path / "runs" / "test"
    with (
        rehearsals.rehearsal(folder, [], engine="deployment") as link,
        recording_proxy(link.address) as (address, recording),
    ):
        for site in sites:
            start_supernode(link, site, address)
        link.run(rehearsals.app_folder(), flat)
        wait(lambda: len(events(run, "round-end")) == 2, "the end of round 2")
        killed = processes_named(folder, "flwr-serverapp")
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        victim = link.programs[-1]
        os.kill(victim.pid, signal.SIGKILL)
        victim.process.wait()
        link.programs.remove(victim)
        assert killed
        assert len(events(run, "round-end")) == 2
        personal = on_disk(sites, "personal", PERSONAL)
        home = folder / "flower" / sites[-1].site
        home.rename(home.with_name("before"))
        start_supernode(link, sites[-1], address)
        again = link.run(rehearsals.app_folder(), flat)
        wait(lambda: bool(events(run, "end")), "the end")
        wait(lambda: link.status(again)[0].startswith("finished"), "Flower's word")
        assert link.status(again)[0] == "finished:completed", link.last_words(again)
    assert not descendants(str(folder))
    assert [e["first_round"] for e in events(run, "start")] == [1, 3]
    assert events(run, "round-end")[-1]["shared"] == digest(undisturbed)
    assert personal_digests(sites) == personal_digests(elsewhere)

    up, down = all_bytes(recording.up), all_bytes(recording.down)
    deltas, broadcast = on_disk(sites, "reply", ("delta",)), windows([undisturbed])
    assert len(deltas) == len(sites)  # of round 4; the closing round has none
    assert windows(deltas)
    assert found_in(windows(deltas), up) == windows(deltas)
    assert found_in(broadcast, down) == broadcast
    assert all(site.site.encode() in up for site in sites)

    personal += on_disk(sites, "personal", PERSONAL)
    assert len(windows(personal)) > 10_000
    assert not found_in(windows(personal), up + down)
    assert not {text for text in private_texts(sites) if text in up + down}


@pytest.mark.timeout(400)
def test_the_simulation_engine_gives_the_same_bits(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Flower's simulation engine needs Ray")
    write_phantoms(tmp_path / "sites", n_sites=2, patients=3, slices=1, size=48)
    sites = sites_from_file(tmp_path / "sites" / "sites.toml")
    flat = default_flat() | SETTINGS | {"rounds": 1}
    flat |= {
        "federation.sites": ",".join(site.site for site in sites),
        "coordinator.folder": str(tmp_path / "runs"),
    }
    elsewhere = [s.model_copy(update={"state": str(tmp_path / "undisturbed")}) for s in sites]
    expected = coordinate(
        InProcessGrid(build_client_app(), elsewhere),
        flat | {"coordinator.folder": str(tmp_path / "runs0")},
        1,
    )
    folder, run = tmp_path / "simulation", tmp_path / "runs" / "test"
    with rehearsals.rehearsal(folder, sites, engine="simulation") as link:
        number = link.run(rehearsals.app_folder(), flat)
        wait(lambda: link.status(number)[0].startswith("finished"), "the end")
        assert link.status(number)[0] == "finished:completed", link.last_words(number)
    assert not descendants(str(folder))
    assert events(run, "round-end")[-1]["shared"] == digest(expected)
    assert personal_digests(sites) == personal_digests(elsewhere)
