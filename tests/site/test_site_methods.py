"""Every row of METHODS through a training and the closing round, on one small phantom hospital."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from site_small import rounds, settings

from pfedsam_flower.contract.methods import METHODS
from pfedsam_flower.data.samples import SiteData
from pfedsam_flower.model.build import build, problems
from pfedsam_flower.model.exchange import export_shared
from pfedsam_flower.site.round import site_round


@pytest.mark.parametrize("name", METHODS)
def test_a_method_trains_what_its_row_says(name: str, data: SiteData) -> None:
    method = METHODS[name]
    mode = "lora-heads" if name.startswith("iat") else "heads"
    run = settings(method=name, **{"decoder.mode": mode})
    fresh = build(run, "").model.state_dict()
    built, start, first, last = rounds(run, data)
    roles = built.roles
    assert first.delta is not None
    assert first.delta.shape == start.shape == (built.contract.n_values,)
    assert last.delta is None
    moved = np.abs(first.delta).sum() > 0
    assert moved == bool(method.shared), "what is averaged has to be trained"
    # nothing frozen changed, and the model is left with the broadcast
    after = built.model.state_dict()
    assert not [
        key for key, value in after.items() if roles[key] == "frozen" and not torch.equal(value, fresh[key])
    ]
    assert np.array_equal(export_shared(built.model, built.contract), start + first.delta)
    personal = last.personal.tensors
    assert {key for key, role in roles.items() if role == "personal"} == set(personal)
    if method.personal:
        # experts' A gets its first gradient when B has left zero, so not all move in so few steps
        assert [key for key, value in personal.items() if not torch.equal(value, fresh[key])]
    assert (last.personal.own is not None) == method.own_copy
    scored = {key.removeprefix("test.dice.") for key in last.metrics if key.startswith("test.dice.")}
    expected = {"global", "alone"} if method.has_global else set()
    expected |= {"personal"} if method.has_personal else set()
    assert scored == expected | {"deployed"} | ({"blend"} if len(expected) == 3 else set())
    patients = set(data.split.test)
    assert {(row.model, row.patient) for row in last.scores} == {(m, p) for m in scored for p in patients}


def test_the_shared_start_is_the_same_under_all_methods_with_lora() -> None:
    starts = {}
    for name in ("pfedsam", "fedavg", "private-lora", "ditto", "fedavg-ft"):
        built = build(settings(method=name), "")
        starts[name] = export_shared(built.model, built.contract)
    assert all(np.array_equal(start, starts["fedavg"]) for start in starts.values())


@pytest.mark.parametrize("name", ["pfedsam", "private-lora", "fedmsa"])
def test_additions_start_as_the_backbone(name: str) -> None:
    run = settings(method=name)
    built, plain = build(run, ""), build(settings(method="fedavg"), "")
    x = torch.rand(1, 3, 28, 28, generator=torch.Generator().manual_seed(0)) * 255
    valid = torch.tensor([[28, 28]])
    with torch.no_grad():
        assert torch.equal(built.model(x, valid), plain.model(x, valid))


def test_the_global_phase_is_the_same_whatever_stays_at_the_site(data: SiteData) -> None:
    steps, pull = {"training.global-steps": 2}, {"training.proximal": 0.5}
    runs = [settings(method=name, **steps) for name in ("fedavg", "pfedsam", "private-lora")]
    runs.append(settings(method="ditto", **steps, **pull))
    deltas = [rounds(run, data)[2].delta for run in runs]
    assert all(np.array_equal(delta, deltas[0]) for delta in deltas)


def validated_as(monkeypatch: pytest.MonkeyPatch, **dice: float) -> list[int]:
    """Validation says this; returns the numbers of the rounds in which somebody asked."""
    asked: list[int] = []

    def validate(work: Any, personal: Any) -> None:
        asked.append(work.number)
        work.validated = dict(dice)

    monkeypatch.setattr("pfedsam_flower.site.round.validate", validate)
    return asked


def test_who_is_far_behind_does_not_teach(data: SiteData, monkeypatch: pytest.MonkeyPatch) -> None:
    """A round after one in which the experts have learnt, so that the two models differ."""

    def trained(direction: str, dice: tuple[float, float]) -> tuple[np.ndarray, dict[str, Any]]:
        run = settings(rounds=2, **{"distillation.direction": direction, "distillation.weight": 5.0})
        built = build(run, "")
        start = export_shared(built.model, built.contract)
        first = site_round("train", 1, start, built, data, None, settings(rounds=2), "hospital")
        validated_as(monkeypatch, **{"global": dice[0], "personal": dice[1]})
        second = site_round("train", 2, start, built, data, first.personal, run, "hospital")
        monkeypatch.undo()
        assert second.delta is not None
        return second.delta, second.personal.tensors

    def same(one: Any, other: Any) -> tuple[bool, bool]:
        return np.array_equal(one[0], other[0]), all(torch.equal(one[1][k], other[1][k]) for k in one[1])

    nobody = trained("none", (0.5, 0.5))
    assert same(trained("both", (0.5, 0.5)), nobody) == (False, False)
    assert same(trained("both", (0.2, 0.5)), nobody) == (False, True)
    assert same(trained("both", (0.5, 0.2)), nobody) == (True, False)


@pytest.mark.parametrize(
    ("changes", "rounds_asked", "weight"),
    [
        pytest.param({}, [1, 2, 3], 0.0, id="trained before"),
        pytest.param({"method": "pfedsam-coupled"}, [1, 2, 3], 0.0, id="trained with the shared ones"),
        pytest.param({"training.local-steps": 0}, [1, 2, 3], 0.0, id="trained elsewhere, for all it knows"),
        pytest.param({"training.closing-steps": 0}, [1, 2], None, id="nothing is trained"),
        pytest.param({"method": "ditto"}, [1, 2], None, id="a copy without a teacher"),
        pytest.param({"distillation.direction": "none"}, [1, 2], 0.0, id="nobody teaches"),
        pytest.param({"evaluation.every": 2}, [1, 3], 0.0, id="rounds between"),
    ],
)
def test_before_a_teacher_teaches_in_the_closing_round_it_is_asked_who_is_better(
    changes: dict[str, Any],
    rounds_asked: list[int],
    weight: float | None,
    data: SiteData,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = validated_as(monkeypatch, **{"global": 0.2, "personal": 0.5})
    run = settings(rounds=2, **{"distillation.weight": 1.0} | changes)
    built = build(run, "")
    start, personal = export_shared(built.model, built.contract), None
    for number, kind in ((1, "train"), (2, "train"), (3, "close")):
        result = site_round(kind, number, start, built, data, personal, run, "hospital")
        personal = result.personal
    assert asked == rounds_asked
    assert result.metrics.get("distillation.weight") == weight


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"distillation.direction": "personal-to-global"}, "delta"),
        ({"training.proximal": 5.0, "training.global-steps": 3}, "delta"),
        ({"lora.train": "alternating"}, "delta"),
        ({"lmoe.gate": "uniform"}, "personal"),
        ({"lmoe.gate": "top-1"}, "personal"),
        ({"lmoe.blocks": "all"}, "personal"),
        ({"distillation.direction": "none"}, "personal"),
        ({"neck.rank": 0}, "personal"),
    ],
)
def test_a_setting_changes_what_it_is_about(changes: dict[str, Any], what: str, data: SiteData) -> None:
    steps = {"training.global-steps": changes.get("training.global-steps", 1), "training.local-steps": 3}
    base = rounds(settings(**steps), data)
    other = rounds(settings(**(steps | changes)), data)
    if what == "delta":
        assert not np.array_equal(base[2].delta, other[2].delta)
    else:
        assert np.array_equal(base[2].delta, other[2].delta)
        assert base[3].metrics.get("loss.local") != other[3].metrics.get("loss.local")


@pytest.mark.parametrize("name", ["iat-share", "iat-share-mirror", "fedsa"])
def test_orthogonality_changes_what_a_site_sends(name: str, data: SiteData) -> None:
    found = []
    for weight in (0.0, 1.0):
        run = settings(
            method=name,
            **{
                "rounds": 2,
                "training.global-steps": 4,
                "decoder.mode": "lora-heads",
                "training.orthogonality": weight,
            },
        )
        built, start, first, _ = rounds(run, data)
        assert first.delta is not None
        after = start + first.delta
        second = site_round("train", 2, after, built, data, first.personal, run, "hospital")
        found.append((first.delta, second.delta))
    (first_without, second_without), (first_with, second_with) = found
    assert np.array_equal(first_without, first_with), "B is zero at the start: there is no direction yet"
    assert not np.array_equal(second_without, second_with)


def test_orthogonality_is_refused_where_no_pair_is_divided() -> None:
    (problem,) = problems(settings(method="pfedsam", **{"training.orthogonality": 0.1}))
    assert problem.startswith("training.orthogonality = 0.1: it is for methods that average one factor")


def test_alternating_rounds_rest_one_factor(data: SiteData) -> None:
    built, _, first, _ = rounds(settings(**{"lora.train": "alternating"}), data)
    moved = {key for key, values in built.contract.unpack(first.delta).items() if np.abs(values).sum() > 0}
    assert not [key for key in moved if key.endswith("_a")]
    assert [key for key in moved if key.endswith("_b")]


def test_the_learning_rate_falls_over_the_second_half() -> None:
    from pfedsam_flower.learning.rates import falling

    whole = [falling(0, 100)(step) for step in range(100)]
    assert whole[:51] == [1.0] * 51
    assert whole == sorted(whole, reverse=True)
    assert whole[-1] == pytest.approx(0.05)
    # a phase knows where in the run it is
    assert [falling(60, 100)(step) for step in range(10)] == whole[60:70]


def test_residuals_make_the_mean_exact(tmp_path: Path) -> None:
    from pfedsam_flower.aggregation.rules import RULES

    run = settings(**{"aggregation.rule": "residual", "method": "fedavg"})
    built = build(run, "")
    start = export_shared(built.model, built.contract)
    rng = np.random.default_rng(0)
    deltas = {}
    for site in ("a", "b"):
        parts = {
            key: np.zeros(shape, np.float32)
            if key.endswith("_residual")
            else rng.normal(0, 0.1, shape).astype(np.float32)
            for key, shape in built.contract.tensors
        }
        deltas[site] = built.contract.pack(parts)
    after = RULES["residual"](built.contract.tensors, start, deltas, {"a": 1, "b": 3})
    key = "image_encoder.blocks.0.attn.qkv.lora_q"
    at = {site: built.contract.unpack(start + delta) for site, delta in deltas.items()}
    mean = sum(p * at[site][f"{key}_b"] @ at[site][f"{key}_a"] for site, p in (("a", 0.25), ("b", 0.75)))
    found = built.contract.unpack(after)
    whole = found[f"{key}_b"] @ found[f"{key}_a"] + found[f"{key}_residual"]
    np.testing.assert_allclose(whole, mean, atol=1e-6)
    assert np.abs(found[f"{key}_residual"]).max() > 1e-3
