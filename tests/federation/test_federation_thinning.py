"""A run folder does not grow for ever, and what a run goes on from is never what goes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from federation_light import CONTRACT, NAMES, Fate, World, play, told
from hypothesis import given
from hypothesis import strategies as st

from pfedsam_flower.errors import StoreError
from pfedsam_flower.federation.history import RunFolder
from pfedsam_flower.settings.run import RunSettings
from pfedsam_flower.site import rounds as files
from pfedsam_flower.site.rounds import newest_round, save_round, thin


def numbers(folder: Path) -> list[int]:
    return sorted(int(path.parent.name[6:]) for path in folder.glob("round-*/shared.safetensors"))


def filled(folder: Path, last: int) -> Path:
    for number in range(last + 1):
        save_round(folder, number, np.full(4, number, np.float32))
    return folder


def test_the_newest_and_each_tenth_stay(tmp_path: Path) -> None:
    assert thin(filled(tmp_path, 23), 5, 10) == [*range(1, 10), *range(11, 19)]
    assert numbers(tmp_path) == [0, 10, 19, 20, 21, 22, 23]
    assert sorted(path.name for path in tmp_path.glob("round-*")) == [
        f"round-{n:04d}" for n in numbers(tmp_path)
    ]
    assert thin(tmp_path, 5, 10) == []


@given(last=st.integers(0, 30), newest=st.integers(2, 6), every=st.integers(0, 12))
def test_what_a_run_goes_on_from_stays(
    tmp_path_factory: pytest.TempPathFactory, last: int, newest: int, every: int
) -> None:
    folder = tmp_path_factory.mktemp("run")
    for number in range(last + 1):  # as a run does, round by round
        save_round(folder, number, np.full(4, number, np.float32))
        thin(folder, newest, every)
        found = newest_round(folder)
        assert found is not None
        assert found[0] == number
        assert numbers(folder)[-min(newest, number + 1) :] == list(
            range(max(0, number - newest + 1), number + 1)
        )
    assert set(numbers(folder)) == {
        n for n in range(last + 1) if n > last - newest or (every and n % every == 0)
    }


def test_folders_of_other_names_and_files_of_others_are_left(tmp_path: Path) -> None:
    filled(tmp_path, 9)
    (tmp_path / "round-0001.damaged").mkdir()
    (tmp_path / "round-0002" / "note.txt").write_text("mine")
    (tmp_path / "round-0003" / ".shared.safetensors.77.part").write_text("half")
    thin(tmp_path, 2, 0)
    assert (tmp_path / "round-0001.damaged").is_dir()
    assert (tmp_path / "round-0002" / "note.txt").read_text() == "mine"
    assert not (tmp_path / "round-0003").exists()
    assert numbers(tmp_path) == [8, 9]


def test_a_run_thins_its_folder_and_goes_on_from_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def kept(self: Any, path: Path, *rest: Any) -> None:
        real(self, path, 2, 4)

    real = RunFolder.__init__
    whole = play(monkeypatch, tmp_path / "all", World({name: Fate() for name in NAMES}), n_rounds=9)
    monkeypatch.setattr(RunFolder, "__init__", kept)
    for last in (6, 9):
        found = play(monkeypatch, tmp_path / "few", World({name: Fate() for name in NAMES}), n_rounds=last)
    assert found.tobytes() == whole.tobytes()
    assert numbers(tmp_path / "few") == [4, 8, 9]
    assert numbers(tmp_path / "all") == list(range(1, 10))
    ends = [e for e in told(tmp_path / "few", "round-end") if e["kind"] == "train"]
    assert [e["shared"] for e in ends] == [
        e["shared"] for e in told(tmp_path / "all", "round-end") if e["kind"] == "train"
    ]
    assert [e["rounds"] for e in told(tmp_path / "few", "thinned")] == [[1], [2], [3], [5], [6], [7]]


def test_a_crash_before_the_removal_leaves_all_and_the_next_round_catches_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = RunFolder(filled(tmp_path, 6), 2, 0)
    with monkeypatch.context() as patch:
        patch.setattr(
            files.Path, "unlink", lambda *args, **kwargs: (_ for _ in ()).throw(PermissionError(13, "no"))
        )
        with pytest.raises(StoreError, match="an old round cannot be removed") as caught:
            folder.thin()
        assert caught.value.code == "PFS-604"
    assert numbers(tmp_path) == list(range(7))
    folder.save_round(7, np.zeros(4, np.float32))
    folder.thin()
    assert numbers(tmp_path) == [6, 7]


def test_a_damaged_newest_round_still_has_one_before_it(tmp_path: Path) -> None:
    folder = RunFolder(filled(tmp_path, 6), 2, 0)
    folder.thin()
    (tmp_path / "round-0006" / "shared.safetensors").unlink()
    found = RunFolder(tmp_path).open(RunSettings(rounds=9), CONTRACT)
    assert found is None or found[0] == 5
    newest = newest_round(tmp_path)
    assert newest is not None
    assert newest[0] == 5
