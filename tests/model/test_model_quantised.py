"""Weights inside the package: small, the same bits for everybody, and refused when they are not those."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from pfedsam_flower.errors import CheckpointError
from pfedsam_flower.model.sam import files
from pfedsam_flower.model.sam.backbones import BACKBONES
from pfedsam_flower.model.sam.checkpoint import state_digest
from pfedsam_flower.model.sam.load import load_sam
from pfedsam_flower.model.sam.modules import untrained
from pfedsam_flower.model.sam.quantised import dequantise, quantise

SHIPPED = {name: row for name, row in BACKBONES.items() if row.shipped}


@given(st.integers(0, 1000), st.floats(1e-6, 1e4), st.sampled_from([(65, 64), (5, 9, 10, 10), (4097, 2)]))
def test_no_value_is_off_by_more_than_half_a_step(seed: int, size: float, shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(shape, generator=generator) * size
    rows[0] = 0
    packed = quantise({"w": rows})
    assert packed["w"].dtype == torch.int8
    assert packed["w:scale"].shape == (shape[0],)
    back = dequantise(packed)["w"]
    step = rows.flatten(1).abs().amax(1) / 127
    assert ((back - rows).flatten(1).abs().amax(1) <= 0.5001 * step).all()
    assert not back[0].any()


def test_small_tensors_lose_half_precision_only_and_integers_nothing() -> None:
    state = {
        "bias": torch.tensor([0.1, -3.0]),
        "positions": torch.randn(1, 16, 16, 384, generator=torch.Generator().manual_seed(0)),
        "count": torch.tensor(123_456_789),
    }
    back = dequantise(quantise(state))
    assert torch.equal(back["count"], state["count"])
    for name in ("bias", "positions"):
        assert back[name].dtype == torch.float32
        assert torch.equal(back[name], state[name].half().float())


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e6])
@pytest.mark.parametrize("shape", [(3,), (65, 64)])
def test_values_that_cannot_be_kept_are_refused(bad: float, shape: tuple[int, ...]) -> None:
    values = torch.zeros(shape)
    values[0] = bad
    if bad == 1e6 and len(shape) == 2:
        assert dequantise(quantise({"w": values}))["w"].max() == bad
    else:
        with pytest.raises(ValueError, match="w holds values"):
            quantise({"w": values})


def test_a_whole_backbone_takes_a_quarter_and_comes_back_the_same_each_time(tmp_path: Path) -> None:
    state = untrained(BACKBONES["vit_tiny"], 224, 0).state_dict()
    path = tmp_path / "w.safetensors"
    save_file(quantise(state), path)
    assert path.stat().st_size < 0.29 * sum(4 * v.numel() for v in state.values())
    first, second = dequantise(load_file(path)), dequantise(load_file(path))
    assert first.keys() == state.keys()
    assert all(first[n].shape == state[n].shape for n in state)
    assert state_digest(first) == state_digest(second) != state_digest(state)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_weights_load_by_default_with_one_identity(name: str) -> None:
    sam, report = load_sam(name, 224)
    again, _ = load_sam(name, SHIPPED[name].patch * 4)
    assert state_digest(sam.state_dict()) == state_digest(again.state_dict())
    assert report.official
    assert len(report.loaded) == len(sam.state_dict())


@pytest.mark.parametrize("name", SHIPPED)
def test_missing_and_altered_package_weights_are_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytearray(files.weights_file(name, "").read_bytes())
    monkeypatch.setattr(files, "SHIPPED", tmp_path)
    with pytest.raises(CheckpointError, match="are missing") as caught:
        load_sam(name, 224)
    assert caught.value.code == "PFS-304"
    content[-1] ^= 1
    (tmp_path / SHIPPED[name].shipped).write_bytes(content)
    with pytest.raises(CheckpointError, match="was released") as caught:
        load_sam(name, 224)
    assert caught.value.code == "PFS-304"
    assert str(tmp_path) not in caught.value.public()


def test_a_backbone_without_weights_of_its_own_needs_a_file() -> None:
    with pytest.raises(CheckpointError, match="lite_medsam needs its weights") as caught:
        load_sam("lite_medsam", 256)
    assert caught.value.code == "PFS-301"
    assert "lite_medsam.pth" in caught.value.hint
