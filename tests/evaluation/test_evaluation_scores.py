"""Dice per patient, with the empty policy said in numbers; the mix that a site deploys."""

from pathlib import Path

import numpy as np
import pytest

from pfedsam_flower.data.cases import CaseData
from pfedsam_flower.data.layouts import Case
from pfedsam_flower.data.pixels import Grid
from pfedsam_flower.data.planes import AS_STORED
from pfedsam_flower.evaluation.metrics import Overlap, mean_dice, overlap
from pfedsam_flower.evaluation.score import Tally, chosen_mix, mixed, tally


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


def choice(dice: dict[str, list[float]]) -> dict[str, float]:
    """The mix of models that marked so much of each patient's 100 voxels, and nothing else."""
    tallies = {}
    for name, values in dice.items():
        # Dice d of 100 voxels: n hits and no other mark, 2n / (n + 100) = d
        hits = [round(100 * d / (2 - d)) for d in values]
        tallies[name] = Tally({(f"p{i}", 0): Overlap(n, n, 100) for i, n in enumerate(hits)})
    return chosen_mix(tallies)


def test_the_mix_leaves_out_what_all_validation_patients_show_to_be_worse() -> None:
    worse = {"alone": [0.9, 0.8, 0.9], "global": [0.7, 0.6, 0.7], "personal": [0.9, 0.81, 0.89]}
    assert choice(worse) == {"alone": 0.5, "global": 0, "personal": 0.5}
    assert choice(worse | {"personal": [0.5, 0.4, 0.5]}) == {"alone": 1, "global": 0, "personal": 0}


def test_the_mix_keeps_what_patients_do_not_agree_on() -> None:
    assert choice({"alone": [0.9, 0.5, 0.7], "global": [0.4, 0.6, 0.7]}) == {"alone": 0.5, "global": 0.5}
    assert choice({"alone": [0.9], "global": [0.1]}) == {"alone": 0.5, "global": 0.5}
    assert choice({"alone": [0.8, 0.8], "global": [0.8, 0.8]}) == {"alone": 0.5, "global": 0.5}
    assert choice({"global": [0.8, 0.2]}) == {"global": 1}


def test_one_standard_error_is_the_border() -> None:
    # behind by 0.06 on average, with an error of 0.07; by 0.1, with one of 0.05
    best = [0.8, 0.8, 0.8]
    assert choice({"alone": best, "global": [0.82, 0.6, 0.8]}) == {"alone": 0.5, "global": 0.5}
    assert choice({"alone": best, "global": [0.75, 0.6, 0.75]}) == {"alone": 1, "global": 0}


def test_a_patient_that_is_not_defined_for_every_model_says_nothing() -> None:
    healthy = {("p9", 0): Overlap()}
    marked = {("p9", 0): Overlap(0, 50, 0)}
    seen = {("p0", 0): Overlap(100, 100, 100), ("p1", 0): Overlap(90, 90, 100)}
    mix = chosen_mix({"alone": Tally(seen | healthy), "global": Tally(seen | marked)})
    assert mix == {"alone": 0.5, "global": 0.5}


def test_classes_of_a_patient_count_as_one() -> None:
    one = Tally({("a", 0): Overlap(100, 100, 100), ("a", 1): Overlap(0, 10, 10), ("b", 0): Overlap()})
    assert one.by_patient == {"a": 0.5}


def test_a_mix_averages_probabilities() -> None:
    sure, doubtful = np.full((1, 1, 2, 2), 9.0, np.float32), np.full((1, 1, 2, 2), -0.5, np.float32)
    assert (mixed({"a": sure, "b": doubtful}, {"a": 1, "b": 0}) == sure).all()
    both = mixed({"a": sure, "b": doubtful}, {"a": 0.5, "b": 0.5})
    mean = (1 / (1 + np.exp(-9.0)) + 1 / (1 + np.exp(0.5))) / 2
    assert np.allclose(1 / (1 + np.exp(-both)), mean, atol=1e-6)
    three = mixed({"a": sure, "b": doubtful, "c": doubtful * 4}, {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3})
    assert (three < 0).all()  # by logits the one that is sure would have outvoted the two
    assert both.dtype == np.float32
    extreme = mixed({"a": sure * 100, "b": sure * 100}, {"a": 0.5, "b": 0.5})
    assert np.isfinite(extreme).all()
    assert (extreme > 0).all()


@pytest.mark.parametrize("seed", range(12))
def test_case_by_case_and_all_at_once_choose_the_same_mix(seed: int) -> None:
    """The rule with every case's logits in memory, patient by patient."""
    rng = np.random.default_rng(seed)
    cases = [
        case(f"p{rng.integers(5)}", rng.random((2, 1, 4, 4)) < 0.4 * rng.random(), (True, bool(seed % 3)))
        for _ in range(9)
    ]
    predicted = {
        name: [rng.standard_normal((2, 1, 4, 4)).astype(np.float32) + shift for _ in cases]
        for name, shift in (("alone", 0.0), ("global", 0.3), ("personal", -0.3))
    }
    found: dict[str, dict[str, float]] = {}
    for name, values in predicted.items():
        for patient in {one.case.patient for one in cases}:
            mine = [i for i, one in enumerate(cases) if one.case.patient == patient]
            each = []
            for k in np.flatnonzero(cases[0].annotated):
                hit = sum(int(((values[i][k] > 0) & cases[i].target[k]).sum()) for i in mine)
                size = sum(int((values[i][k] > 0).sum()) + int(cases[i].target[k].sum()) for i in mine)
                each += [2 * hit / size] if size else []
            if each:
                found.setdefault(name, {})[patient] = sum(each) / len(each)
    table = np.array([[found[name][p] for p in sorted(found["alone"])] for name in sorted(found)])
    behind = table[table.mean(axis=1).argmax()] - table
    kept = behind.mean(axis=1) <= behind.std(axis=1, ddof=1) / np.sqrt(table.shape[1])
    expected = dict(zip(sorted(found), kept / kept.sum(), strict=True))
    assert chosen_mix({name: tally(cases, values) for name, values in predicted.items()}) == pytest.approx(
        expected
    )
