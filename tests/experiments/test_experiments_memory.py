"""Results of steps that runs share, and prepared images: back to the bit, pruned, made again when damaged."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pfedsam_flower.experiments.memory import Memory
from pfedsam_flower.experiments.prepared import prepared_images


def arrays() -> dict[str, np.ndarray]:
    return {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "number": np.array(0.1),
        "none": np.zeros((0, 2), np.int64),
        "yes": np.array([True, False]),
    }


def test_results_come_back_to_the_bit_and_a_damaged_one_is_made_again(tmp_path: Path) -> None:
    def never() -> dict[str, np.ndarray]:
        pytest.fail("it was made again")

    key = ["step", 3, {"b": 1, "a": (1, 2)}, 0.1]
    first = Memory(tmp_path)(key, arrays)
    memory = Memory(tmp_path)
    for found in (first, memory(["step", 3, {"a": [1, 2], "b": 1}, 0.1], never)):
        assert list(found) == list(arrays()) or sorted(found) == sorted(arrays())
        for name, values in arrays().items():
            assert (found[name].dtype, found[name].shape) == (values.dtype, values.shape)
            assert np.array_equal(found[name], values)
    found["a"][0, 0] = 5  # nobody else's
    assert (memory.hits, memory.misses) == (1, 0)
    path = memory.path(key)
    whole = path.read_bytes()
    damages: list[Callable[[bytes], bytes]] = [
        lambda b: b[:-1], lambda b: b"", lambda b: b[:-1] + bytes([b[-1] ^ 1]),
    ]  # fmt: skip
    for damage in damages:
        path.write_bytes(damage(whole))
        again = Memory(tmp_path)
        assert np.array_equal(again(key, arrays)["a"], arrays()["a"])
        assert (again.hits, again.misses) == (0, 1)
    assert Memory(tmp_path).path(["step", 4]) != path


def test_what_was_not_used_for_longest_is_forgotten(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    for age, name in enumerate(("third", "first", "second")):
        memory([name], arrays)
        os.utime(memory.path([name]), (age, age))
    size = memory.path(["first"]).stat().st_size
    memory(["third"], arrays)
    memory.prune(2 * size)
    kept = [name for name in ("first", "second", "third") if memory.path([name]).exists()]
    assert kept == ["second", "third"]


def test_time_that_was_spared_is_counted_once(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    memory(["inner"], arrays)
    with pytest.MonkeyPatch.context() as patch:
        clock = iter([0.0, 100.0])
        patch.setattr("pfedsam_flower.experiments.memory.perf_counter", lambda: next(clock))
        memory(["outer"], arrays)
    later = Memory(tmp_path)
    later(["outer"], arrays)
    assert later.saved_s == 100.0


def test_prepared_images_of_other_software_go_unless_somebody_uses_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def software(name: str) -> None:
        monkeypatch.setattr("pfedsam_flower.experiments.prepared.software", lambda: name)

    software("old")
    with prepared_images(tmp_path):
        software("new")
        with prepared_images(tmp_path):
            assert {path.name for path in tmp_path.iterdir()} == {"old", "new"}
    with prepared_images(tmp_path):
        assert {path.name for path in tmp_path.iterdir()} == {"new"}
