"""What runs in one process share changes nothing but the time."""

from typing import Any

import numpy as np
import torch
from site_small import rounds, settings

from pfedsam_flower.data.samples import SiteData
from pfedsam_flower.model.build import build
from pfedsam_flower.model.exchange import export_shared
from pfedsam_flower.site.recall import forgetful
from pfedsam_flower.site.round import site_round


class Notebook:
    """Remembers, and knows which kinds of step it had to see made."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}
        self.made: list[str] = []

    def __call__(self, key: Any, make: Any) -> Any:
        name = repr(key)
        if name not in self.kept:
            self.made += [kind for kind in ("tokens", "logits", "global", "alone", "own") if kind in key]
            self.kept[name] = make()
        return self.kept[name]


def test_what_is_remembered_changes_nothing(data: SiteData) -> None:
    recall = Notebook()
    run = settings(method="pfedsam")
    built = build(run, "")
    start = export_shared(built.model, built.contract)
    plain = site_round("train", 1, start, built, data, None, run, "hospital")
    first = site_round("train", 1, start, build(run, ""), data, None, run, "hospital", recall)
    n = len(recall.made)
    assert set(recall.made) == {"tokens", "logits", "global", "alone"}
    again = site_round("train", 1, start, build(run, ""), data, None, run, "hospital", recall)
    assert len(recall.made) == n
    for one in (first, again):
        assert np.array_equal(one.delta, plain.delta)
        assert one.metrics == plain.metrics
        assert np.array_equal(one.personal.alone, plain.personal.alone)
        for key, value in plain.personal.alone_optimiser.items():
            assert torch.equal(one.personal.alone_optimiser[key], value)
    other = settings(method="pfedsam", **{"training.learning-rate-shared": 1e-4})
    site_round("train", 1, start, build(other, ""), data, None, other, "hospital", recall)
    assert len(recall.made) > n


def test_what_one_row_pulls_is_not_remembered_for_one_that_does_not(data: SiteData) -> None:
    recall, pull = Notebook(), {"training.proximal": 0.5, "training.global-steps": 2}
    deltas: dict[str, list[np.ndarray]] = {}
    for method in ("fedavg", "ditto"):
        run = settings(method=method, **pull)
        start = export_shared(build(run, "").model, build(run, "").contract)
        for memory in (recall, forgetful):
            found = site_round("train", 1, start, build(run, ""), data, None, run, "hospital", memory)
            deltas.setdefault(method, []).append(found.delta)
    assert all(np.array_equal(*both) for both in deltas.values())
    assert not np.array_equal(deltas["fedavg"][0], deltas["ditto"][0])


def test_rows_share_what_their_experts_see_only_where_it_is_the_same(data: SiteData) -> None:
    recall = Notebook()

    def closing(**changes: Any) -> list[str]:
        """The steps that had to be made; what came of them is what comes without a memory."""
        run = settings(method="pfedsam", **{"training.closing-steps": 3} | changes)
        known = len(recall.made)
        found = []
        for memory in (recall, forgetful):
            built = build(run, "")
            start = export_shared(built.model, built.contract)
            found.append(site_round("close", 2, start, built, data, None, run, "hospital", memory))
        assert found[0].metrics == found[1].metrics
        assert found[0].scores == found[1].scores
        return recall.made[known:]

    assert set(closing()) == {"tokens", "logits", "alone"}
    assert closing(**{"lmoe.gate": "uniform"}) == []
    assert closing(**{"distillation.direction": "none"}) == []
    assert set(closing(**{"lmoe.blocks": "0,1,2"})) == {"tokens"}, "the experts see another block's input"
    assert "tokens" in closing(seed=1)


def test_personal_norms_below_the_decoder_are_part_of_what_is_remembered(data: SiteData) -> None:
    recall = Notebook()
    run = settings(method="fedbn", **{"training.learning-rate-personal": 0.1})
    built, start, first, last = rounds(run, data)
    assert first.delta is not None
    average = start + first.delta
    same = site_round("close", 2, average, build(run, ""), data, first.personal, run, "hospital", recall)
    assert same.metrics == last.metrics
    plain = site_round("close", 2, average, build(run, ""), data, None, run, "hospital")
    again = site_round("close", 2, average, build(run, ""), data, None, run, "hospital", recall)
    assert again.metrics == plain.metrics != same.metrics
