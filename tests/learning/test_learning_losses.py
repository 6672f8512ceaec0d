"""Loss, distillation and optimiser against MONAI, hand-made values and torch."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pfedsam_flower.learning.losses import distillation_loss, same_size, task_loss, teacher_quality, warmed
from pfedsam_flower.learning.optim import adamw_step, clip_gradients
from pfedsam_flower.learning.seeds import derive


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


ALL = torch.tensor([True, True])
ONES = torch.ones(3, 1, 8, 8)


def test_task_loss_equals_monai() -> None:
    from monai.losses import DiceLoss

    logits, target = random(3, 2, 8, 8), (random(3, 2, 8, 8, seed=1) > 0).float()
    dice = DiceLoss(sigmoid=True, batch=True, smooth_nr=1.0, smooth_dr=1.0)(logits, target)
    cross = torch.nn.BCEWithLogitsLoss()(logits, target)
    torch.testing.assert_close(task_loss(logits, target, ONES, ALL), 0.2 * cross + 0.8 * dice)


def test_a_class_that_is_not_annotated_has_no_part() -> None:
    logits, target = random(3, 2, 8, 8).requires_grad_(), (random(3, 2, 8, 8, seed=1) > 0).float()
    task_loss(logits, target, ONES, torch.tensor([True, False])).backward()
    assert logits.grad is not None
    assert logits.grad[:, 0].abs().sum() > 0
    assert logits.grad[:, 1].abs().sum() == 0


def test_padding_has_no_part() -> None:
    weight = ONES.clone()
    weight[..., 4:] = 0
    logits, target = random(3, 2, 8, 8), torch.zeros(3, 2, 8, 8)
    changed = logits.clone()
    changed[..., 4:] = 50
    assert torch.equal(task_loss(logits, target, weight, ALL), task_loss(changed, target, weight, ALL))
    assert torch.equal(
        distillation_loss(logits, logits * 2, weight, 2.0),
        distillation_loss(changed, logits * 2, weight, 2.0),
    )


def test_empty_targets_still_punish_marks() -> None:
    target = torch.zeros(3, 2, 8, 8)
    marked, quiet = torch.full((3, 2, 8, 8), 3.0), torch.full((3, 2, 8, 8), -6.0)
    assert task_loss(marked, target, ONES, ALL) > task_loss(quiet, target, ONES, ALL) + 0.5


@given(seed=st.integers(0, 10_000), temperature=st.sampled_from([0.5, 1.0, 2.0, 4.0]))
def test_distillation_is_zero_at_equality_and_positive_elsewhere(seed: int, temperature: float) -> None:
    teacher = random(3, 1, 8, 8, seed=seed) * 4
    assert distillation_loss(teacher, teacher, ONES, temperature) == 0
    assert distillation_loss(teacher + 0.5, teacher, ONES, temperature) > 0


def test_distillation_by_hand_and_without_gradient_to_the_teacher() -> None:
    student = torch.zeros(1, 1, 1, 1, requires_grad=True)
    teacher = torch.full((1, 1, 1, 1), 2.0, requires_grad=True)
    p = torch.sigmoid(torch.tensor(1.0))  # T = 2
    expected = 4 * (p * torch.log(p / 0.5) + (1 - p) * torch.log((1 - p) / 0.5))
    loss = distillation_loss(student, teacher, torch.ones(1, 1, 1, 1), 2.0)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert teacher.grad is None
    assert student.grad is not None


def test_adamw_is_torchs_adamw() -> None:
    ours = {name: torch.nn.Parameter(random(4, 5, seed=i)) for i, name in enumerate("ab")}
    theirs = {name: torch.nn.Parameter(p.detach().clone()) for name, p in ours.items()}
    torchs = torch.optim.AdamW(list(theirs.values()), lr=1e-2, weight_decay=0.05, foreach=False)
    moments: dict[str, torch.Tensor] = {}
    for step in range(5):
        for i, name in enumerate("ab"):
            ours[name].grad = random(4, 5, seed=100 * step + i) * 3
            theirs[name].grad = ours[name].grad.clone()
        clip_gradients(ours, 1.0)
        torch.nn.utils.clip_grad_norm_(list(theirs.values()), 1.0)
        adamw_step(ours, moments, 1e-2, 0.05)
        torchs.step()
    for name in "ab":
        torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=1e-7)
    assert int(moments["steps"]) == 5


def test_gradients_below_the_limit_are_left_alone() -> None:
    p = torch.nn.Parameter(torch.zeros(2))
    p.grad = torch.tensor([0.3, 0.4])
    clip_gradients({"p": p}, 1.0)
    assert torch.equal(p.grad, torch.tensor([0.3, 0.4]))


def test_warm_up_and_teacher_quality() -> None:
    assert [warmed(0.1, r, 2) for r in (1, 2, 3, 9)] == [0.0, 0.05, 0.1, 0.1]
    assert warmed(0.1, 1, 0) == 0.1
    assert teacher_quality(0.7, 0.74) == 1.0
    assert teacher_quality(0.2, 0.74) == 0.0
    assert 0 < teacher_quality(0.6, 0.75) < 1
    assert teacher_quality(None, 0.5) == 1.0


def test_area_average_keeps_the_share() -> None:
    target = torch.zeros(1, 1, 112, 112)
    target[..., :56, :28] = 1
    small = same_size(target, 32)
    assert small.shape[-1] == 32
    assert small.mean().item() == pytest.approx(1 / 8, abs=1e-6)


def test_seeds_depend_on_every_part_and_nothing_else() -> None:
    draws = [(0, 1, "north", "local"), (0, 1, "north", "global"), (0, 2, "north", "local")]
    draws += [(1, 1, "north", "local"), (0, 1, "south", "local"), (0, 11, "north", "local")]
    seeds = {derive(*draw) for draw in draws}
    assert len(seeds) == 6
    assert derive(0, 1, "north", "local") == 3919247082528464950
