"""``pfedsam prepare``: what it says, and that a federation accepts what it wrote."""

import published_trees as trees
import pytest

from pfedsam_flower.cli.__main__ import main
from pfedsam_flower.cli.prepare import NAMES
from pfedsam_flower.data.collections import COLLECTIONS, nuclei
from pfedsam_flower.data.samples import check_site
from pfedsam_flower.settings.run import RunSettings
from pfedsam_flower.settings.sources import sites_from_file


def test_the_names_offered_are_the_collections_there_are():
    assert list(NAMES) == list(COLLECTIONS)


def test_sites_are_written_and_the_next_command_is_said(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(nuclei, "TNBC_CASES", 6)
    trees.tnbc(tmp_path / "src", slides=3, each=2)
    sites = tmp_path / "sites"
    assert main(["prepare", "nuclei", str(tmp_path / "src"), str(sites)]) == 0
    said = capsys.readouterr().out
    assert "TNBC (case 1 of 6)" in said
    assert "TNBC: 6 cases" in said
    assert f"next: pfedsam rehearse --sites {sites / 'sites.toml'} --set classes=nucleus" in said
    (site,) = sites_from_file(sites / "sites.toml")
    counts = check_site(site, RunSettings(classes=("nucleus",)), tmp_path / "split.json")
    assert (counts.train, counts.validation, counts.test) == (1, 1, 1)


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_with_something_else_is_refused_in_words(name, tmp_path, capsys):
    (tmp_path / "src").mkdir()
    assert main(["prepare", name, str(tmp_path / "src"), str(tmp_path / "sites")]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("PFS-209 ")
    assert not (tmp_path / "sites").exists()


def test_an_unknown_collection_is_the_command_line_s_fault(tmp_path, capsys):
    assert main(["prepare", "hearts", str(tmp_path), str(tmp_path / "x")]) == 2
    assert "prostate" in capsys.readouterr().err
