"""Tables, intervals and tests by hand, by property, and by what they promise in repetition."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pfedsam_flower.errors import SettingsError
from pfedsam_flower.evaluation.resampling import bootstrap_interval, mean_over_sites, sign_flip_test
from pfedsam_flower.evaluation.statistics import Score, compare, holm, make_table, summarise

DICE = st.floats(0, 1)
SITES = st.dictionaries(
    st.sampled_from("abcd"),
    st.lists(st.tuples(DICE, DICE), min_size=2, max_size=5),
    min_size=1,
    max_size=3,
)


def rows(method: str, by_site: dict[str, list[float | None]], seed: int = 0) -> list[Score]:
    return [
        Score(method, site, f"{site}{number}", seed, value)
        for site, values in by_site.items()
        for number, value in enumerate(values)
    ]


# "ours" and "alone" at two sites: means 0.5 and 0.9 against 0.6 and 0.6
HAND = [
    *rows("ours", {"a": [0.4, 0.5, 0.6], "b": [0.9]}),
    *rows("alone", {"a": [0.6, 0.6, 0.6], "b": [0.6]}),
]


def test_a_summary_by_hand() -> None:
    ours, alone = summarise(make_table(HAND, ["ours", "alone"]), "alone")
    assert ours.sites == pytest.approx({"a": 0.5, "b": 0.9})
    assert ours.mean_over_sites == pytest.approx(0.7)
    assert ours.mean_over_patients == pytest.approx(0.6)
    assert ours.worst_site == "a"
    assert ours.gains == pytest.approx({"a": -0.1, "b": 0.3})
    assert ours.worst_gain == "a"
    assert ours.interval is None, "site b has one patient"
    assert alone.gains == {"a": 0, "b": 0}
    assert summarise(make_table(HAND, ["ours"]))[0].gains == {}


def test_of_distances_the_largest_is_worst() -> None:
    table = make_table(HAND, ["ours", "alone"])
    ours = summarise(table, "alone", larger_is_better=False)[0]
    assert (ours.worst_site, ours.worst_gain) == ("b", "b")
    assert ours.gains == summarise(table, "alone")[0].gains


def test_seeds_are_averaged_per_patient_and_add_no_patient() -> None:
    three = [s for seed, by in ((0, 0.1), (1, 0.2), (2, 0.6)) for s in rows("m", {"a": [by, by + 0.1]}, seed)]
    table = make_table(three, ["m"])
    assert table.values["a"] == pytest.approx(np.array([[0.3], [0.4]]))
    assert table.patients == 2


def test_who_is_undefined_for_one_method_is_left_out_for_all_and_counted() -> None:
    scores = [
        *rows("x", {"a": [None, 0.2, 0.4], "b": [None]}),
        *rows("y", {"a": [0.0, 0.2, None], "b": [0.7]}),
    ]
    table = make_table(scores, ["x", "y"])
    assert table.undefined == {"x": 2, "y": 1}
    assert table.left_out == (("a", "a0"), ("a", "a2"), ("b", "b0"))
    assert list(table.values) == ["a"], "nobody is left at b"
    assert table.patients == 1
    assert make_table(scores, ["x"]).patients == 2, "what y says does not matter where y is not asked"


def test_undefined_with_one_seed_is_undefined() -> None:
    scores = [*rows("m", {"a": [0.5, None]}, 0), *rows("m", {"a": [0.5, 0.0]}, 1)]
    table = make_table(scores, ["m"])
    assert table.undefined == {"m": 1}
    assert table.values["a"] == pytest.approx(np.array([[0.5]]))


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ([], "ours has no scores"),
        (HAND[:4], "alone has no scores"),
        (HAND[:-1], "alone has no score for 1 of its patients and seeds: b/b0 seed 0"),
        ([*HAND, *rows("ours", {"a": [1.0]}, seed=1)], "ours has no score for 3"),
        ([*HAND, HAND[0]], "1 scores are given more than once: ours a/a0 seed 0"),
        ([replace(HAND[0], value=float("nan")), *HAND[1:]], "not finite (undefined is None): ours a/a0"),
        ([replace(score, value=None) for score in HAND], "all 4 patients are undefined"),
    ],
)
def test_scores_that_do_not_belong_together_are_refused(scores: list[Score], said: str) -> None:
    with pytest.raises(SettingsError, match="PFS-105") as caught:
        make_table(scores, ["ours", "alone"])
    assert said in caught.value.local()


def test_methods_that_are_not_there_are_refused() -> None:
    with pytest.raises(SettingsError, match="no method is named"):
        make_table(HAND, [])
    with pytest.raises(SettingsError, match="the reference pooled is not in the table, which has ours"):
        summarise(make_table(HAND, ["ours"]), "pooled")
    with pytest.raises(SettingsError, match="pooled has no scores"):
        compare(HAND, "ours", ["alone", "pooled"])


def test_a_method_is_not_its_own_rival() -> None:
    with pytest.raises(SettingsError, match="own rival"):
        compare(HAND, "ours", ["alone", "ours"])


def two_methods(sites: dict[str, list[tuple[float, float]]]) -> list[Score]:
    return [
        score
        for column, method in enumerate("xy")
        for score in rows(method, {site: [pair[column] for pair in pairs] for site, pairs in sites.items()})
    ]


@given(SITES, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=15)
def test_the_order_of_the_scores_changes_no_bit(sites, random) -> None:
    scores = two_methods(sites)
    shuffled = list(scores)
    random.shuffle(shuffled)
    assert compare(shuffled, "x", ["y"]) == compare(scores, "x", ["y"])
    ours, theirs = (summarise(make_table(s, ["x", "y"]), "y") for s in (shuffled, scores))
    assert ours == theirs


@given(SITES)
@settings(deadline=None, max_examples=15)
def test_swapping_the_methods_turns_the_sign_and_nothing_else(sites) -> None:
    scores = two_methods(sites)
    (there,), (back,) = compare(scores, "x", ["y"]), compare(scores, "y", ["x"])
    assert back.gain == -there.gain
    assert back.gains == {site: -gain for site, gain in there.gains.items()}
    assert (back.p, back.exact, back.patients, back.spread) == (
        there.p,
        there.exact,
        there.patients,
        pytest.approx(there.spread),
    )
    assert [back.interval.low, back.interval.high] == pytest.approx(
        [-there.interval.high, -there.interval.low], abs=1e-9
    )


@given(SITES)
@settings(deadline=None, max_examples=15)
def test_the_gain_is_the_difference_of_the_means_and_lies_in_its_interval_of_all_draws(sites) -> None:
    scores = two_methods(sites)
    (found,) = compare(scores, "x", ["y"])
    x, y = summarise(make_table(scores, ["x", "y"]))
    assert found.gain == pytest.approx(x.mean_over_sites - y.mean_over_sites, abs=1e-12)
    differences = make_table(scores, ["x", "y"]).gains("x", "y")
    assert found.interval.low >= np.mean([v.min() for v in differences.values()]) - 1e-12
    assert found.interval.high <= np.mean([v.max() for v in differences.values()]) + 1e-12


def test_the_spread_is_that_within_sites() -> None:
    scores = two_methods({"a": [(0.1, 0.0), (0.3, 0.0)], "b": [(0.6, 0.0), (0.8, 0.0)]})
    (found,) = compare(scores, "x", ["y"])
    assert found.spread == pytest.approx(np.sqrt((4 * 0.01) / 2))
    assert compare(two_methods({"a": [(0.1, 0.0)]}), "x", ["y"])[0].spread is None


# intervals


def test_an_interval_of_two_patients_is_their_range() -> None:
    found = bootstrap_interval({"a": np.array([0.2, 0.6])})
    assert (found.low, found.high) == (0.2, 0.6), "n - 1 = 1 patient is drawn"


def test_the_spread_of_the_draws_is_the_standard_error() -> None:
    """Of 68.27 % of draws, against s²/n; drawing n of 4 patients would give 0.87 of it."""
    random = np.random.default_rng(3)
    by_site = {site: random.normal(size=4) for site in "abcdefghij"}
    variance = sum(v.var(ddof=1) / len(v) for v in by_site.values()) / len(by_site) ** 2
    found = bootstrap_interval(by_site, draws=40_000, level=0.6827)
    assert (found.high - found.low) / 2 == pytest.approx(np.sqrt(variance), rel=0.03)


def test_the_seed_decides_and_the_level_widens() -> None:
    random = np.random.default_rng(0)
    by_site = {"a": random.normal(size=9), "b": random.normal(size=5)}
    assert bootstrap_interval(by_site, seed=1) == bootstrap_interval(dict(reversed(by_site.items())), seed=1)
    assert bootstrap_interval(by_site, seed=1) != bootstrap_interval(by_site, seed=2)
    narrow, wide = (bootstrap_interval(by_site, level=level) for level in (0.5, 0.95))
    assert wide.low < narrow.low < mean_over_sites(by_site) < narrow.high < wide.high


def test_intervals_cover_what_they_say() -> None:
    """Four sites of 8 to 20 patients, each with its own mean; 94 % of 400 intervals of 95 % hold theirs."""
    random = np.random.default_rng(11)
    sizes = {"a": 8, "b": 20, "c": 10, "d": 14}
    truth = {site: 0.02 * number for number, site in enumerate(sizes)}
    held = 0
    for repeat in range(400):
        by_site = {site: truth[site] + 0.05 * random.standard_t(5, n) for site, n in sizes.items()}
        found = bootstrap_interval(by_site, seed=repeat, draws=1000)
        held += found.low <= 0.03 <= found.high
    assert 0.91 < held / 400 < 0.97


# tests


def by_enumeration(by_site: dict[str, np.ndarray]) -> float:
    """Every pattern of signs, one after the other, in fractions of the definition."""
    sizes = [len(v) for v in by_site.values()]
    found = abs(np.mean([v.mean() for v in by_site.values()]))
    count = 0
    for signs in product((1, -1), repeat=sum(sizes)):
        parts = np.split(np.array(signs), np.cumsum(sizes)[:-1])
        flipped = np.mean([(s * v).mean() for s, v in zip(parts, by_site.values(), strict=True)])
        count += abs(flipped) >= found - 1e-12
    return count / 2 ** sum(sizes)


def test_a_p_value_by_hand() -> None:
    """1, 2, 3 at one site: only all three signs alike reach a mean of 2, that is 2 of 8 patterns."""
    found = sign_flip_test({"a": np.array([1.0, 2.0, 3.0])})
    assert (found.p, found.exact, found.patterns) == (0.25, True, 8)
    assert sign_flip_test({"a": np.zeros(3)}).p == 1
    # means of sites (4, 1): ±4 ±1 halved, 5 is reached by two of four
    assert sign_flip_test({"a": np.array([4.0]), "b": np.array([1.0])}).p == 0.5


@given(
    st.dictionaries(
        st.sampled_from("abc"), st.lists(st.integers(-4, 4), min_size=1, max_size=3), min_size=1, max_size=3
    )
)
@settings(deadline=None, max_examples=25)
def test_exact_p_is_the_share_of_all_patterns(sites) -> None:
    by_site = {site: np.array(values) / 10 for site, values in sorted(sites.items())}
    assert sign_flip_test(by_site).p == by_enumeration(by_site)


def test_one_site_agrees_with_scipy_exact_and_sampled() -> None:
    random = np.random.default_rng(0)
    for n, tolerance in ((12, 0.0), (40, 0.006)):
        differences = random.normal(0.02, 0.05, n)
        theirs = stats.permutation_test(
            (differences,),
            lambda x, axis: x.mean(axis=axis),
            permutation_type="samples",
            vectorized=True,
            n_resamples=50_000,
            rng=1,
        )
        ours = sign_flip_test({"a": differences})
        assert ours.exact == (n == 12)
        assert ours.p == pytest.approx(theirs.pvalue, abs=tolerance + 1e-12)


def test_p_is_never_zero_and_the_sample_is_counted() -> None:
    found = sign_flip_test({"a": np.full(30, 0.1), "b": np.full(10, 0.1)}, flips=999)
    assert (found.p, found.exact, found.patterns) == (1 / 1000, False, 999)
    assert sign_flip_test({"a": np.full(16, 0.1)}).p == 2 / 2**16
    assert sign_flip_test({"a": np.arange(17.0)}, seed=1) == sign_flip_test({"a": np.arange(17.0)}, seed=1)


def test_p_is_uniform_when_the_methods_are_alike() -> None:
    """Symmetric differences around 0 at two sites of different spread; exact and sampled."""
    random = np.random.default_rng(7)
    for n in (5, 12):
        p = [
            sign_flip_test(
                {"a": random.normal(size=n), "b": 3 * random.normal(size=n)}, seed=repeat, flips=999
            ).p
            for repeat in range(400)
        ]
        assert stats.kstest(p, "uniform").pvalue > 0.01
        assert np.mean(np.array(p) <= 0.05) < 0.08


# family


def test_holm_by_hand() -> None:
    """0.01 x 4, 0.02 x 3, then 0.03 x 2 = 0.06 and 0.04 x 1, which may not fall below it."""
    corrected = holm({"d": 0.04, "a": 0.01, "c": 0.03, "b": 0.02})
    assert corrected == pytest.approx({"d": 0.06, "a": 0.04, "c": 0.06, "b": 0.06})
    assert list(corrected) == ["d", "a", "c", "b"]
    assert holm({"a": 0.6, "b": 0.7}) == {"a": 1, "b": 1}
    assert holm({}) == {}
    assert holm({"a": 0.01, "b": 0.02}, 5) == pytest.approx({"a": 0.05, "b": 0.08}), "three have no p yet"


@given(st.dictionaries(st.text(max_size=3), st.floats(1e-6, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_lies_between_p_and_bonferroni(p_values) -> None:
    corrected = holm(p_values)
    ranked = sorted(p_values, key=lambda name: p_values[name])
    assert [corrected[name] for name in ranked] == sorted(corrected.values())
    for name, p in p_values.items():
        assert p <= corrected[name] <= min(1, len(p_values) * p)


def test_the_family_is_all_rivals_that_are_named() -> None:
    random = np.random.default_rng(0)
    base = {site: list(random.uniform(0.4, 0.6, 6)) for site in "ab"}
    scores = [
        score
        for method, lift in (("ours", 0.1), ("one", 0.02), ("two", 0.09))
        for score in rows(
            method, {s: [v + lift + random.normal(0, 0.02) for v in values] for s, values in base.items()}
        )
    ]
    one, two = compare(scores, "ours", ["one", "two"])
    assert (one.rival, two.rival) == ("one", "two")
    assert one.p == 2 / 2**12
    assert one.p_holm == 2 * one.p
    assert two.p_holm == two.p > one.p
    assert compare(scores, "ours", ["one"])[0].p_holm == one.p
    assert one.interval.low > 0
    assert compare(scores, "ours", []) == []
