"""Personal state survives a kill at any write, and foreign or damaged state is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pfedsam_flower.contract.messages import RoundReply
from pfedsam_flower.errors import StoreError
from pfedsam_flower.site import files, journal, store
from pfedsam_flower.site.store import Personal

BINDING = {"federation": "f", "site": "north", "contract": "c"}


def personal(value: float) -> Personal:
    return Personal(
        {"lmoe.up": torch.full((2, 3), value)},
        {"lmoe.up/mean": torch.full((2, 3), -value), "steps": torch.tensor([3])},
        np.full(4, value, np.float32),
    )


def reply(number: int, broadcast: str = "b" * 64, kind: str = "train") -> RoundReply:
    return RoundReply(
        kind=kind,
        site="north",
        round=number,
        contract="c",
        broadcast=broadcast,
        n_train_patients=2,
        n_train_samples=3,
    )


def record(
    folder: Path, number: int, value: float | None = None, broadcast: str = "b" * 64, kind: str = "train"
) -> None:
    delta = np.full(4, number, np.float32)
    own = personal(float(number) if value is None else value)
    store.record(folder, BINDING, own, reply(number, broadcast, kind), delta, "s")


def value_before(folder: Path, number: int) -> float | None:
    found = store.load_before(folder, BINDING, number)
    return None if found is None else float(found.tensors["lmoe.up"][0, 0])


def test_round_trip_and_two_generations(tmp_path: Path) -> None:
    assert value_before(tmp_path, 1) is None
    for number in (1, 2, 3):
        record(tmp_path, number)
    assert value_before(tmp_path, 4) == 3
    assert value_before(tmp_path, 9) == 3  # was absent for a while
    assert value_before(tmp_path, 3) == 2
    found = store.load_before(tmp_path, BINDING, 4)
    assert found is not None
    assert found.alone is not None
    assert found.alone.tolist() == [3.0] * 4
    assert int(found.optimiser["steps"]) == 3
    assert len(list(tmp_path.glob("personal-*.safetensors"))) == 2
    with pytest.raises(StoreError, match="round 2 and later") as caught:
        store.load_before(tmp_path, BINDING, 2)
    assert caught.value.code == "PFS-602"


def test_a_message_that_comes_again_gets_the_same_answer(tmp_path: Path) -> None:
    record(tmp_path, 1)
    again = store.stored_reply(tmp_path, BINDING, "train", 1, "b" * 64, "s")
    assert again is not None
    assert again[0] == reply(1)
    assert again[1] is not None
    assert again[1].tolist() == [1.0] * 4
    assert store.stored_reply(tmp_path, BINDING, "train", 1, "a" * 64, "s") is None
    assert store.stored_reply(tmp_path, BINDING, "close", 1, "b" * 64, "s") is None
    assert store.stored_reply(tmp_path, BINDING, "train", 2, "b" * 64, "s") is None
    assert store.stored_reply(tmp_path, BINDING, "train", 1, "b" * 64, "other settings") is None
    assert store.stored_reply(tmp_path, BINDING, "train", 1, "b" * 64, None) is not None
    assert value_before(tmp_path, 1) is None, "with other settings the first round is done from the start"


def test_a_round_done_again_after_a_rollback_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    record(tmp_path, 1)
    record(tmp_path, 2, 2.0, "a" * 64)
    record(tmp_path, 2, 7.0, "e" * 64)
    assert value_before(tmp_path, 3) == 7
    assert value_before(tmp_path, 2) == 1


class Killed(BaseException):
    pass


@pytest.mark.parametrize("write", [1, 2, 3])
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    ("kind", "broadcast"),
    [pytest.param("train", "e" * 64, id="rolled back"), pytest.param("close", "a" * 64, id="more rounds")],
)
def test_killed_at_any_write_it_holds_the_old_or_the_new_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: int, moment: str, kind: str, broadcast: str
) -> None:
    """More rounds: what was the closing round becomes a training round, on the same broadcast."""
    record(tmp_path, 1)
    record(tmp_path, 2, 2.0, "a" * 64, kind)
    real, count = files.os.replace, 0

    def replace(source: Any, target: Any) -> None:
        nonlocal count
        count += 1
        if count == write and moment == "before":
            raise Killed
        real(source, target)
        if count == write:
            raise Killed

    monkeypatch.setattr(files.os, "replace", replace)
    with pytest.raises(Killed):
        record(tmp_path, 2, 9.0, broadcast)
    monkeypatch.setattr(files.os, "replace", real)
    new = (write, moment) == (3, "after")
    assert value_before(tmp_path, 3) == (9.0 if new else 2.0)
    assert value_before(tmp_path, 2) == 1.0
    assert store.newest(tmp_path, BINDING) is not None
    if not new:
        assert store.stored_reply(tmp_path, BINDING, kind, 2, "a" * 64, "s") is not None
    record(tmp_path, 3)
    assert value_before(tmp_path, 4) == 3.0


@pytest.mark.parametrize("key", sorted(BINDING))
def test_foreign_state_is_refused_and_stays(tmp_path: Path, key: str) -> None:
    record(tmp_path, 1)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    other = BINDING | {key: "another"}
    for call in (
        lambda: store.load_before(tmp_path, other, 2),
        lambda: store.stored_reply(tmp_path, other, "train", 1, "b" * 64, "s"),
        lambda: store.record(tmp_path, other, personal(1), reply(2), None, "s"),
    ):
        with pytest.raises(StoreError, match=f"{key} was") as caught:
            call()
        assert caught.value.code == "PFS-601"
        assert str(tmp_path) not in caught.value.public()
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("how", ["cut", "missing", "list"])
def test_damaged_state_is_refused(tmp_path: Path, how: str) -> None:
    record(tmp_path, 1)
    path = next(tmp_path.glob("personal-*"))
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-5])
    elif how == "missing":
        path.unlink()
    else:
        (tmp_path / "state.json").write_text("{")
    with pytest.raises(StoreError) as caught:
        store.load_before(tmp_path, BINDING, 2)
    assert caught.value.code == "PFS-603"


def test_personal_files_are_for_their_owner_only(tmp_path: Path) -> None:
    record(tmp_path, 1)
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.iterdir())


def test_only_one_process_at_a_time(tmp_path: Path) -> None:
    with files.locked(tmp_path), pytest.raises(StoreError, match="another process"), files.locked(tmp_path):
        pass
    with files.locked(tmp_path):
        pass


def test_journal_chain(tmp_path: Path) -> None:
    path = tmp_path / "sent.jsonl"
    for number in range(4):
        journal.append(path, {"round": number})
    assert journal.broken_at(path) is None
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1].replace('"round":1', '"round":8'), *lines[2:]]) + "\n")
    assert journal.broken_at(path) == 3
    path.write_text("\n".join([lines[0], *lines[2:]]) + "\n")
    assert journal.broken_at(path) == 2


def test_personal_parameters_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    record(tmp_path, 1, value=float("nan"))
    for read in (lambda: store.newest(tmp_path, BINDING), lambda: store.load_before(tmp_path, BINDING, 2)):
        with pytest.raises(StoreError, match="10 values of the personal state are not finite") as caught:
            read()
        assert caught.value.code == "PFS-603"
