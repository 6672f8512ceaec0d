"""Dice per patient, with the empty policy said in numbers."""

from pathlib import Path

import numpy as np
import pytest

from pfedsam_flower.data.cases import CaseData
from pfedsam_flower.data.layouts import Case
from pfedsam_flower.evaluation.metrics import Overlap, mean_dice, overlap
from pfedsam_flower.evaluation.score import choose_mix, dice_of, mixed, patient_overlaps


def case(patient: str, reference: np.ndarray, annotated: tuple[bool, ...] = (True,)) -> CaseData:
    image = np.zeros((*reference.shape[1:], 1), np.float32)
    return CaseData(Case(patient, patient, Path("i"), Path("m")), image, reference, np.array(annotated), None)


def square(rows: int, n_classes: int = 1) -> np.ndarray:
    mask = np.zeros((n_classes, 1, 4, 4), bool)
    mask[:, :, :rows] = True
    return mask


def logits(mask: np.ndarray) -> np.ndarray:
    return np.where(mask, 2.0, -2.0).astype(np.float32)


def test_dice_by_hand_and_against_monai() -> None:
    import torch
    from monai.metrics import compute_dice

    prediction, reference = square(1)[0], square(2)[0]
    assert overlap(prediction, reference) == Overlap(4, 4, 8)
    theirs = compute_dice(
        torch.tensor(prediction[None, None]).float(), torch.tensor(reference[None, None]).float()
    )
    assert Overlap(4, 4, 8).dice == pytest.approx(2 / 3) == pytest.approx(theirs.item())


def test_empty_policy() -> None:
    assert Overlap(0, 0, 0).dice is None
    assert Overlap(0, 5, 0).dice == 0
    assert Overlap(0, 0, 5).dice == 0
    assert mean_dice([Overlap(), Overlap(2, 2, 2)]) == 1
    assert mean_dice([Overlap()]) is None


def test_slices_of_a_patient_count_as_one_scan() -> None:
    cases = [case("a", square(2)), case("a", square(0)), case("b", square(4))]
    found, counts = patient_overlaps(cases, [logits(square(2)), logits(square(2)), logits(square(4))])
    assert found[("a", 0)] == Overlap(8, 16, 8)
    assert counts == {"empty": 1, "marked": 1}
    assert dice_of(cases, [logits(square(2)), logits(square(2)), logits(square(4))]) == pytest.approx(
        (2 / 3 + 1) / 2
    )


def test_a_class_that_is_not_annotated_is_not_scored() -> None:
    one = case("a", square(2, 2), (True, False))
    wrong = np.concatenate([logits(square(2)), logits(square(0))])
    assert dice_of([one], [wrong]) == 1


def test_the_mix_prefers_the_better_model_but_is_shrunk() -> None:
    cases = [case(f"p{i}", square(2)) for i in range(4)]
    good, bad = [logits(square(2))] * 4, [5 * logits(square(4))] * 4
    mix = choose_mix(cases, {"alone": good, "global": bad, "personal": bad})
    assert mix["alone"] == pytest.approx((4 * 1 + 4 / 3) / 8)
    assert sum(mix.values()) == pytest.approx(1)
    mix = choose_mix(cases, {"alone": good, "global": good, "personal": good})
    assert mix == pytest.approx({"alone": 1 / 3, "global": 1 / 3, "personal": 1 / 3})
    assert choose_mix([case("a", square(0))], {"global": [logits(square(0))]}) == {"global": 1}
    both = mixed({"a": good, "b": bad}, {"a": 0.75, "b": 0.25})
    assert np.allclose(both[0], 0.75 * good[0] + 0.25 * bad[0])
