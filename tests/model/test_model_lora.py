"""LoRA writes into the rows it is meant for, in either order of a fused qkv."""

import pytest
import torch

from pfedsam_flower.model.lora import PARTS, LoraLinear


def layer(groups: int, targets: tuple[str, ...]) -> tuple[torch.nn.Linear, LoraLinear]:
    generator = torch.Generator().manual_seed(5)
    base = torch.nn.Linear(8, 24)
    adapted = LoraLinear(base, PARTS, targets, 2, 0.5, generator, groups)
    for target in targets:
        torch.nn.init.normal_(getattr(adapted, f"lora_{target}_b"), generator=generator)
    return base, adapted


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("target", PARTS)
@torch.no_grad()
def test_one_adapted_part_changes_its_own_rows_alone(groups: int, target: str) -> None:
    """SAM keeps q, k, v one after another; TinyViT head by head: q, k, v of head 0, of head 1, …"""
    base, adapted = layer(groups, (target,))
    x = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(6))
    head = 24 // 3 // groups
    change = (adapted(x) - base(x)).reshape(3, 5, groups, 3, head)
    for place, part in enumerate(PARTS):
        if part != target:
            assert change[:, :, :, place].abs().max() == 0
    a, b = getattr(adapted, f"lora_{target}_a"), getattr(adapted, f"lora_{target}_b")
    for number in range(groups):
        rows = b[number * head : (number + 1) * head]
        expected = 0.5 * x @ a.T @ rows.T
        found = change[:, :, number, PARTS.index(target)]
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_the_layer_keeps_the_wrapped_ones_keys_and_parameters() -> None:
    base, adapted = layer(4, ("q", "v"))
    keys = {"weight", "bias", "lora_q_a", "lora_q_b", "lora_v_a", "lora_v_b"}
    assert set(adapted.state_dict()) == keys
    assert adapted.weight is base.weight
