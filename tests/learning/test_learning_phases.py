"""Each phase trains exactly its own parameters and leaves the rest bit-equal."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from pfedsam_flower.data.cases import Sample
from pfedsam_flower.learning.batches import Batch, batches
from pfedsam_flower.learning.phases import global_phase, local_phase
from pfedsam_flower.model.build import Built, build
from pfedsam_flower.settings.run import ImageSettings, RunSettings, TrainingSettings

RUN = RunSettings(image=ImageSettings(size=56), classes=("organ", "lesion"))
TRAINING = TrainingSettings()
CPU = torch.device("cpu")


@pytest.fixture
def built() -> Built:
    return build(RUN, "")


def samples(n: int = 5) -> list[Sample]:
    rng = np.random.default_rng(0)
    target = np.zeros((2, 56, 56), np.float16)
    target[:, 10:40, 10:30] = 1
    return [
        Sample(
            rng.uniform(0, 255, (1, 56, 56)).astype(np.float32),
            (56, 56),
            target,
            np.array([True, True]),
            f"p{i}",
        )
        for i in range(n)
    ]


def drawn(steps: int, seed: int = 1) -> Iterator[Batch]:
    return batches(samples(), steps, 2, seed, 16, None, CPU)


def snapshot(built: Built) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in built.model.state_dict().items()}


def changed(before: dict[str, torch.Tensor], built: Built) -> set[str]:
    return {built.roles[k] for k, v in built.model.state_dict().items() if not torch.equal(v, before[k])}


def test_global_phase_moves_shared_parameters_only(built: Built) -> None:
    before = snapshot(built)
    result = global_phase(built.model, built.roles, drawn(2), TRAINING)
    assert changed(before, built) == {"shared"}
    assert result.loss is not None
    assert all(p.grad is None or built.roles[n] == "shared" for n, p in built.model.named_parameters())
    assert not any(p.requires_grad for p in built.model.parameters())


def test_local_phase_moves_personal_parameters_only_and_its_moments_are_theirs(built: Built) -> None:
    before = snapshot(built)
    result = local_phase(built.model, built.roles, drawn(3), TRAINING, 0.1, 2.0, {})
    assert changed(before, built) == {"personal"}
    held = {key.rsplit("/", 1)[0] for key in result.optimiser if key != "steps"}
    assert held == {name for name, role in built.roles.items() if role == "personal"}
    assert int(result.optimiser["steps"]) == 3
    assert all(p.grad is None for n, p in built.model.named_parameters() if built.roles[n] == "frozen")


def test_global_phase_does_not_see_the_experts(built: Built) -> None:
    other = build(RUN, "")
    for expert in other.model.experts:
        torch.nn.init.normal_(expert.up)
    a = global_phase(built.model, built.roles, drawn(2), TRAINING)
    b = global_phase(other.model, other.roles, drawn(2), TRAINING)
    assert a.loss == b.loss
    for key, role in built.roles.items():
        if role == "shared":
            assert torch.equal(built.model.state_dict()[key], other.model.state_dict()[key]), key


def test_the_teacher_pulls_the_student(built: Built) -> None:
    free, taught = build(RUN, ""), built
    x = next(drawn(1))
    with torch.no_grad(), taught.model.personalised(False):
        teacher = taught.model(x.images, x.valid)
    distances = []
    for one, weight in ((free, 0.0), (taught, 10.0)):
        local_phase(one.model, one.roles, drawn(8), TRAINING, weight, 2.0, {})
        with torch.no_grad():
            distances.append(float((one.model(x.images, x.valid) - teacher).abs().mean()))
    assert distances[1] < distances[0]


def test_moments_carry_on(built: Built) -> None:
    other = build(RUN, "")
    whole = local_phase(built.model, built.roles, drawn(2), TRAINING, 0.0, 2.0, {})
    steps = list(drawn(2))
    first = local_phase(other.model, other.roles, iter(steps[:1]), TRAINING, 0.0, 2.0, {})
    second = local_phase(other.model, other.roles, iter(steps[1:]), TRAINING, 0.0, 2.0, first.optimiser)
    assert set(whole.optimiser) == set(second.optimiser)
    for key, value in whole.optimiser.items():
        assert torch.equal(value, second.optimiser[key]), key


def test_batches_depend_on_the_seed_alone_and_see_everything_once() -> None:
    a, b, c = (list(batches(samples(6), 3, 2, seed, 16, None, CPU)) for seed in (1, 1, 2))
    assert all(torch.equal(x.images, y.images) for x, y in zip(a, b, strict=True))
    assert not all(torch.equal(x.images, y.images) for x, y in zip(a, c, strict=True))
    seen = torch.cat([batch.images[:, 0, 0, 0] for batch in a])
    assert len(set(seen.tolist())) == 6
