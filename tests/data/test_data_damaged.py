"""A short run of the campaign of damaged files; benchmarks/damaged.py has the long one."""

import pytest

from benchmarks.damaged import KINDS, campaign

COUNT = 9 * len(KINDS)


@pytest.mark.filterwarnings("ignore")
def test_every_damage_gives_one_clear_error_and_leaves_nothing():
    trials = campaign(COUNT, seed=1)
    assert len(trials) == COUNT
    assert [trial for trial in trials if trial.outcome != "clear"] == []
