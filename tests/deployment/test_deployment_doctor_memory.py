"""The doctor on devices: is there one, and does its memory hold what a training step is estimated to need."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfedsam_flower.deployment.doctor import compute
from pfedsam_flower.deployment.doctor.subject import subject_of
from pfedsam_flower.settings.run import RunSettings
from pfedsam_flower.site import estimates

ROOT = Path(__file__).parents[2]


def run_of(**changed: object) -> RunSettings:
    """Settings by key, with two underscores for the dot."""
    flat = {key.replace("__", ".").replace("_", "-"): value for key, value in changed.items()}
    run = subject_of(None, None, flat).run
    assert run is not None
    return run


def test_a_device_that_is_not_there_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert [compute.device(name).status for name in ("cpu", "cuda", "mps")] == ["ok", "failed", "failed"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"card {index}")
    assert compute.device("cuda:1").text == "cuda:1, card 1"
    assert compute.device("cuda:2").status == "failed"


def test_more_threads_than_cores_is_a_warning() -> None:
    assert compute.threads(4, cores=4).status == "ok"
    found = compute.threads(5, cores=4)
    assert (found.status, "threads = 4" in found.remedy) == ("warning", True)


def test_too_little_memory_fails_or_warns_and_says_what_fits() -> None:
    run = run_of(training__batch_size=16)
    need, four = (
        estimates.training_bytes(run_of(training__batch_size=size), on_gpu=False) for size in (16, 4)
    )
    assert compute.enough(run, need, need, on_gpu=False).status == "ok"
    found = compute.enough(run, four, need, on_gpu=False)
    assert (found.status, "batch-size = 4 " in found.remedy) == ("warning", True)
    found = compute.enough(run, four // 2, four, on_gpu=False)
    assert (found.status, "batch-size = 4 " in found.remedy) == ("failed", True)
    found = compute.enough(run, 1 << 20, 1 << 20, on_gpu=False)
    assert (found.status, "not one image" in found.remedy) == ("failed", True)


@given(
    st.sampled_from(["vit_tiny", "vit_b", "mobile_sam", "efficient_sam_ti"]),
    st.integers(1, 12),
    st.integers(2, 60),
)
def test_larger_batches_and_images_never_need_less(name: str, batch_size: int, grid: int) -> None:
    patch = 14 if name == "vit_tiny" else 16
    small = {"backbone__name": name, "image__size": patch * grid, "training__batch_size": batch_size}
    for larger in ({"training__batch_size": batch_size + 1}, {"image__size": patch * (grid + 1)}):
        for on_gpu in (False, True):
            low, high = (
                estimates.training_bytes(run_of(**flat), on_gpu=on_gpu) for flat in (small, small | larger)
            )
            assert low <= high


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"method": "fedavg", "decoder.mode": "heads", "lora.targets": "q,k,v", "classes": "a"},
        {"decoder.mode": "lora-heads", "lmoe.blocks": "all", "lmoe.experts": 3, "lora.rank": 5},
    ],
)
def test_trained_parameters_are_counted_exactly(changed: dict[str, object]) -> None:
    from pfedsam_flower.model.build import build
    from pfedsam_flower.model.exchange import personal_state

    run = run_of(**changed)
    built = build(run, "")
    assert estimates.shared_values(run) == built.contract.n_values
    assert estimates.personal_values(run) == sum(
        value.numel() for value in personal_state(built.model, built.roles).values()
    )
    weights = sum(value.numel() for value in built.model.parameters())
    assert estimates.model_bytes(run) / 4 == pytest.approx(weights, rel=0.06)


def test_the_table_of_the_manual_is_what_the_doctor_says() -> None:
    """Measured and estimated peaks: the estimates are recomputed, the errors are those that are stated."""
    page = (ROOT / "docs" / "how-to" / "doctor.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\w+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", page, flags=re.MULTILINE)
    assert len(rows) >= 10
    for name, *numbers in rows:
        size, batch_size, n_classes, measured, said = map(int, numbers)
        classes = ",".join(f"c{k}" for k in range(n_classes))
        run = run_of(backbone__name=name, image__size=size, training__batch_size=batch_size, classes=classes)
        assert round(estimates.training_bytes(run, on_gpu=False) / 2**20) == said
        assert 0.94 < said / measured < 1.18, name


def test_memory_is_that_of_the_container_where_it_is_less(tmp_path: Path) -> None:
    table, kib = tmp_path / "meminfo", 1024
    table.write_text("MemTotal:  8000 kB\nMemFree: 1 kB\nMemAvailable:  6000 kB\n")
    assert estimates.main_memory(table, tmp_path) == (6000 * kib, 8000 * kib)
    (tmp_path / "memory.max").write_text(f"{3000 * kib}\n")
    (tmp_path / "memory.current").write_text(f"{1000 * kib}\n")
    assert estimates.main_memory(table, tmp_path) == (2000 * kib, 3000 * kib)
    (tmp_path / "memory.max").write_text("max\n")
    assert estimates.main_memory(table, tmp_path) == (6000 * kib, 8000 * kib)
