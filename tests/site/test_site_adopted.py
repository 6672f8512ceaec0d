"""Experts are taken over whole, from a state that can be read, or refused by name."""

from pathlib import Path

import pytest
import torch

from pfedsam_flower.contract.messages import RoundReply
from pfedsam_flower.errors import StoreError
from pfedsam_flower.settings.site import SiteSettings
from pfedsam_flower.site import store
from pfedsam_flower.site.adopted import FILE, adopt, adopted
from pfedsam_flower.site.paths import store_folder

BINDING = {"site": "north", "method": "pfedsam", "backbone": "b", "personal": "p", "contract": "c"}


@pytest.fixture
def site(tmp_path: Path) -> SiteSettings:
    return SiteSettings(site="north", data=str(tmp_path), state=str(tmp_path / "state"))


def reply(number: int) -> RoundReply:
    return RoundReply(kind="train", site="north", round=number, contract="c", broadcast="b" * 64)


def earlier(of: SiteSettings, tensors: dict[str, torch.Tensor], **binding: str) -> Path:
    folder = store_folder(of, "old", "pfedsam.aside-1")
    store.record(folder, BINDING | binding, store.Personal(tensors), reply(1), None, "")
    return folder


def test_the_newest_experts_are_taken_and_nothing_else(site: SiteSettings) -> None:
    source = earlier(site, {"lmoe.up": torch.full((2, 3), 4.0)})
    path = adopt(site, "new", source)
    folder = store_folder(site, "new", "pfedsam")
    assert path == folder / FILE
    found = adopted(folder, BINDING | {"contract": "another", "seed": "1"})
    assert found is not None
    assert {k: v.tolist() for k, v in found.items()} == {"lmoe.up": [[4.0] * 3] * 2}
    assert adopted(store_folder(site, "third", "pfedsam"), BINDING) is None


def test_they_are_there_while_the_first_round_may_be_done_again(site: SiteSettings) -> None:
    folder = adopt(site, "new", earlier(site, {"lmoe.up": torch.ones(2)})).parent
    there = []
    for number in (1, 1, 2):
        store.record(folder, BINDING, store.Personal({}), reply(number), None, f"settings {len(there)}")
        there.append(adopted(folder, BINDING) is not None)
    assert there == [True, True, False]


@pytest.mark.parametrize("part", ["site", "backbone", "personal"])
def test_experts_that_do_not_fit_are_refused_and_stay(site: SiteSettings, part: str) -> None:
    path = adopt(site, "new", earlier(site, {"lmoe.up": torch.ones(2)}))
    with pytest.raises(StoreError, match=f"do not fit this run: {part} differ") as caught:
        adopted(path.parent, BINDING | {part: "another"})
    assert caught.value.code == "PFS-601"
    assert path.exists()


def test_what_cannot_be_adopted_is_said_and_nothing_is_written(site: SiteSettings, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no personal state can be read there") as caught:
        adopt(site, "new", tmp_path)
    assert caught.value.code == "PFS-603"
    with pytest.raises(StoreError, match="has no experts"):
        adopt(site, "new", earlier(site, {}))
    elsewhere = SiteSettings(site="north", data=site.data, state=str(tmp_path / "other"))
    foreign = earlier(elsewhere, {"lmoe.up": torch.ones(2)}, site="south")
    with pytest.raises(StoreError, match="the experts of south, not of north"):
        adopt(site, "new", foreign)
    damaged = earlier(site, {"lmoe.up": torch.ones(2)})
    file = next(damaged.glob("personal-*"))
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(StoreError, match="PFS-603"):
        adopt(site, "new", damaged)
    assert not store_folder(site, "new", "pfedsam").exists()


def test_a_cut_file_is_named_and_state_that_is_there_already_stays(site: SiteSettings) -> None:
    source = earlier(site, {"lmoe.up": torch.ones(2)})
    path = adopt(site, "new", source)
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(StoreError, match="the adopted experts cannot be read") as caught:
        adopted(path.parent, BINDING)
    assert caught.value.code == "PFS-603"
    reply = RoundReply(kind="train", site="north", round=1, contract="c", broadcast="b" * 64)
    store.record(store_folder(site, "old", "pfedsam"), BINDING, store.Personal(), reply, None, "")
    with pytest.raises(StoreError, match="has personal state for old already; nothing was changed"):
        adopt(site, "old", source)
