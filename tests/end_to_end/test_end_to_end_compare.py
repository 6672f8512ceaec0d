"""A comparison's run in one process gives what a real SuperLink and real SuperNodes give."""

import json
import time
from pathlib import Path

import pytest
from experiments_small import small

from pfedsam_flower.data.folds import split_record
from pfedsam_flower.data.phantoms import write_phantoms
from pfedsam_flower.deployment import rehearsal as rehearsals
from pfedsam_flower.deployment.processes import descendants
from pfedsam_flower.experiments.memory import Memory
from pfedsam_flower.experiments.protocol import FEDERATION, runs_of
from pfedsam_flower.experiments.record import Record, read_record, record_of, run_path
from pfedsam_flower.experiments.running import run_one
from pfedsam_flower.settings.sources import sites_from_file
from pfedsam_flower.site.files import write_whole
from pfedsam_flower.site.paths import split_path

LIMIT_S = 400.0


def numbers(record: Record) -> list[object]:
    """Scores of all test cases and every number that the sites sent."""
    replies = [r["replies"] for r in record["rounds"]]
    return [record["scores"], [{site: one["metrics"] for site, one in r.items()} for r in replies]]


@pytest.mark.timeout(590)
def test_real_processes_give_the_same_numbers(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "sites", n_sites=2, patients=4, slices=1, size=48)
    protocol = small(tmp_path, sites_from_file(tmp_path / "sites" / "sites.toml"), ["pfedsam"])
    run = runs_of(protocol)[1]
    outcome = run_one(protocol, run, tmp_path, Memory(tmp_path / "memory"))
    assert outcome.state == "made", outcome.text
    expected = read_record(run_path(tmp_path, run.id))

    sites = [site.model_copy(update={"state": str(tmp_path / "state")}) for site in protocol.sites]
    for site in sites:
        record = split_record(protocol.folds, site.site, run.fold)
        write_whole(split_path(site, FEDERATION), json.dumps(record).encode())
    folder, runs = tmp_path / "rehearsal", tmp_path / "coordinator"
    with rehearsals.rehearsal(folder, sites, engine="deployment") as link:
        patient = {"federation.start-deadline-s": 120.0, "coordinator.folder": str(runs)}
        number = link.run(rehearsals.app_folder(), run.flat | patient)
        limit = time.monotonic() + LIMIT_S
        while not link.status(number)[0].startswith("finished"):
            assert time.monotonic() < limit, link.last_words(number)
            time.sleep(0.5)
        assert link.status(number)[0] == "finished:completed", link.last_words(number)
    assert not descendants(str(folder))
    found = record_of(protocol, run, sites, runs / FEDERATION, {})
    assert numbers(found) == numbers(expected)
    assert found["parameters"] == expected["parameters"]
    down = [[r["replies"]["north"]["bytes_down"] for r in record["rounds"]] for record in (found, expected)]
    assert down[0] == pytest.approx(down[1], rel=0.01)
