"""Dice per patient, with the empty policy said in numbers; the mix that a site deploys."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from pfedsam_flower.data.cases import CaseData
from pfedsam_flower.data.layouts import Case
from pfedsam_flower.data.pixels import Grid
from pfedsam_flower.data.planes import AS_STORED
from pfedsam_flower.evaluation.metrics import Overlap, mean_dice, overlap
from pfedsam_flower.evaluation.score import Tally, candidates, choose_mix, mixed, shrunk, tally


def case(patient: str, reference: np.ndarray, annotated: tuple[bool, ...] = (True,)) -> CaseData:
    shape = reference.shape[1:]
    files = Case(patient, patient, Path("i"), Path("m"))
    image = np.zeros((*shape, 1), np.float32)
    return CaseData(files, image, reference, np.array(annotated), None, Grid(shape), AS_STORED)


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
    found = tally(cases, (logits(square(rows)) for rows in (2, 2, 4)))
    assert found.overlaps[("a", 0)] == Overlap(8, 16, 8)
    assert (found.empty, found.marked) == (1, 1)
    assert found.dice == pytest.approx((2 / 3 + 1) / 2)


def test_a_class_that_is_not_annotated_is_not_scored() -> None:
    one = case("a", square(2, 2), (True, False))
    wrong = np.concatenate([logits(square(2)), logits(square(0))])
    assert tally([one], [wrong]).dice == 1


def choice(cases: list[CaseData], predicted: dict[str, list[np.ndarray]]) -> dict[str, float]:
    """Case by case, as a site does it."""
    mixes = candidates(predicted)
    tried = [Tally() for _ in mixes]
    for i, one in enumerate(cases):
        for mix, counted in zip(mixes, tried, strict=True):
            counted.add(one, mixed({name: values[i] for name, values in predicted.items()}, mix))
    best = choose_mix(mixes, [counted.dice for counted in tried])
    return shrunk(best, len({one.case.patient for one in cases}))


def test_the_mix_prefers_the_better_model_but_is_shrunk() -> None:
    cases = [case(f"p{i}", square(2)) for i in range(4)]
    good, bad = [logits(square(2))] * 4, [5 * logits(square(4))] * 4
    mix = choice(cases, {"alone": good, "global": bad, "personal": bad})
    assert mix["alone"] == pytest.approx((4 * 1 + 4 / 3) / 8)
    assert sum(mix.values()) == pytest.approx(1)
    mix = choice(cases, {"alone": good, "global": good, "personal": good})
    assert mix == pytest.approx({"alone": 1 / 3, "global": 1 / 3, "personal": 1 / 3})
    assert choice([case("a", square(0))], {"global": [logits(square(0))]}) == {"global": 1}
    both = mixed({"a": good[0], "b": bad[0]}, {"a": 0.75, "b": 0.25})
    assert np.allclose(both, 0.75 * good[0] + 0.25 * bad[0])


def mean_of_all_at_once(cases: list[CaseData], values: list[np.ndarray]) -> float | None:
    """Mean Dice with every case's logits in memory, patient by patient."""
    found: dict[tuple[str, int], list[int]] = {}
    for one, logit in zip(cases, values, strict=True):
        for k in np.flatnonzero(one.annotated):
            p, r = logit[k] > 0, one.target[k]
            sums = found.setdefault((one.case.patient, int(k)), [0, 0])
            sums[0] += 2 * int((p & r).sum())
            sums[1] += int(p.sum()) + int(r.sum())
    defined = [both / total for both, total in found.values() if total]
    return sum(defined) / len(defined) if defined else None


@pytest.mark.parametrize("seed", range(12))
def test_case_by_case_and_all_at_once_choose_the_same_mix_to_the_bit(seed: int) -> None:
    """The rule in its first form: all logits of all models held, each candidate scored over all cases."""
    rng = np.random.default_rng(seed)
    cases = [
        case(f"p{rng.integers(5)}", rng.random((2, 1, 4, 4)) < 0.4 * rng.random(), (True, bool(seed % 3)))
        for _ in range(7)
    ]
    predicted = {
        name: [rng.standard_normal((2, 1, 4, 4)).astype(np.float32) for _ in cases]
        for name in ("alone", "global", "personal")
    }
    names = sorted(predicted)
    groups = [g for size in (3, 2, 1) for g in combinations(names, size)]
    shares = [{name: float(name in group) / len(group) for name in names} for group in groups]
    scores = []
    for share in shares:
        blended = [
            share["alone"] * predicted["alone"][i]
            + share["global"] * predicted["global"][i]
            + share["personal"] * predicted["personal"][i]
            for i in range(len(cases))
        ]
        score = mean_of_all_at_once(cases, blended)
        scores.append(-1.0 if score is None else score)
    best, n = shares[scores.index(max(scores))], len({one.case.patient for one in cases})
    expected = {name: (n * best[name] + 4 * shares[0][name]) / (n + 4) for name in names}
    assert choice(cases, predicted) == expected
    for name in names:
        assert tally(cases, predicted[name]).dice == mean_of_all_at_once(cases, predicted[name])
