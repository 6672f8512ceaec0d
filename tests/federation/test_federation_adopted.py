"""What a site has learnt goes on in another federation: adopted experts begin the first round there."""

from pathlib import Path
from typing import Any

import pytest
import torch
from federation_runs import start
from safetensors.torch import load_file

from pfedsam_flower.cli.__main__ import main
from pfedsam_flower.settings.site import SiteSettings

NEXT = {
    "federation.name": "next",
    "seed": 7,
    "rounds": 1,
    "training.local-steps": 0,
    "training.closing-steps": 0,
}


def store(site: SiteSettings, federation: str) -> Path:
    return Path(site.state) / federation / site.site / "pfedsam"


def experts(folder: Path) -> dict[str, torch.Tensor]:
    """The personal parameters of the newest generation."""
    newest = load_file(sorted(folder.glob("personal-*.safetensors"))[-1])
    return {k: v for k, v in newest.items() if k.startswith("personal/")}


def site_file(site: SiteSettings, folder: Path) -> Path:
    path = folder / f"{site.site}.toml"
    path.write_text(f'site = "{site.site}"\ndata = "{site.data}"\nstate = "{site.state}"\n')
    return path


def test_adopted_experts_go_on_under_another_name_and_seed_and_the_earlier_state_is_only_read(
    flat: dict[str, Any], sites: list[SiteSettings], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start(flat, sites)
    mine, other = sites[0], sites[1]
    earlier = store(mine, "test")
    before = {path.name: path.read_bytes() for path in earlier.iterdir()}
    words = ["site", "adopt", str(site_file(mine, tmp_path)), "--federation", "next", "--from", str(earlier)]
    assert main(words) == 0
    assert "begins with the experts of" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in earlier.iterdir()} == before

    start(flat | NEXT, sites)
    learnt, found = experts(earlier), experts(store(mine, "next"))
    assert learnt.keys() == found.keys()
    assert all(torch.equal(learnt[k], found[k]) for k in learnt)  # no step was taken since
    moved = experts(store(other, "test"))
    fresh = experts(store(other, "next"))
    assert not all(torch.equal(moved[k], fresh[k]) for k in moved)
    assert not (store(mine, "next") / "adopted.safetensors").exists()

    assert main(words) == 1
    assert "has personal state for next already; nothing was changed" in capsys.readouterr().err
