"""Rows of a comparison by hand: who counts, who is incomplete, what is averaged first."""

from dataclasses import replace

import pytest

from pfedsam_flower.errors import SettingsError
from pfedsam_flower.evaluation.comparison import (
    Comparison,
    CurvePoint,
    Gate,
    PatientScore,
    RunFacts,
    compare_rows,
)

LOCAL = {"a": [0.5, 0.6, 0.7], "b": [0.4, 0.4]}
BETTER = {"a": [0.6, 0.7, 0.8], "b": [0.6, 0.4]}


def scores(row: str, by_site: dict[str, list[float | None]], seed: int = 0, name: str = "lesion", **more):
    return [
        PatientScore(row, site, f"{site}{number}", name, seed, dice, **more)
        for site, values in by_site.items()
        for number, dice in enumerate(values)
    ]


def row(comparison: Comparison, name: str):
    return next(result for result in comparison.rows if result.row == name)


def text(comparison: Comparison) -> str:
    return "\n".join(comparison.notes)


def test_a_comparison_by_hand() -> None:
    found = compare_rows([*scores("local", LOCAL), *scores("pfedsam", BETTER)], title="t", notes=["one CPU"])
    ours, local = row(found, "pfedsam"), row(found, "local")
    assert ours.dice.sites == pytest.approx({"a": 0.7, "b": 0.5})
    assert ours.dice.mean_over_sites == pytest.approx(0.6)
    assert ours.dice.mean_over_patients == pytest.approx(0.62)
    assert ours.dice.worst_site == "b"
    assert ours.dice.gains == pytest.approx({"a": 0.1, "b": 0.1})
    assert ours.gain is not None
    assert ours.gain.mean == pytest.approx(0.1)
    assert ours.gain.sites["b"].low == pytest.approx(0.0)
    assert ours.gain.sites["b"].high == pytest.approx(0.2)
    assert ours.intervals["a"].low < 0.7 < ours.intervals["a"].high
    assert local.gain is not None
    assert local.gain.mean == 0
    assert [(a.rival, a.gain, a.patients) for a in found.against] == [("local", pytest.approx(0.1), 5)]
    assert (found.title, found.classes, found.seeds, found.notes) == ("t", ("lesion",), (0,), ["one CPU"])
    assert found.patients == {"a": 3, "b": 2}
    assert (ours.classes, ours.surface, ours.marked, found.untested) == ({}, None, None, [])


def test_seeds_are_averaged_per_patient_and_shown_one_by_one() -> None:
    given = [*scores("local", LOCAL), *scores("local", LOCAL, 1)]
    given += [*scores("pfedsam", BETTER), *scores("pfedsam", {"a": [0.4, 0.5, 0.6], "b": [0.4, 0.2]}, 1)]
    found = compare_rows(given)
    assert found.against[0].gain == pytest.approx(0.0)
    assert found.against[0].patients == 5, "a second seed adds nobody"
    assert found.by_seed == {"local": {0: pytest.approx(0.1), 1: pytest.approx(-0.1)}}


def test_classes_are_averaged_per_patient_and_listed() -> None:
    given = [
        s
        for name, dice in (("local", 0.2), ("pfedsam", 0.4))
        for s in (*scores(name, {"a": [dice, dice]}), *scores(name, {"a": [0.8]}, name="organ"))
    ]
    ours = row(compare_rows(given), "pfedsam")
    assert ours.dice.sites == pytest.approx({"a": (0.6 + 0.4) / 2}), "a0 has two classes, a1 one"
    assert {name: c.sites["a"] for name, c in ours.classes.items()} == pytest.approx(
        {"lesion": 0.4, "organ": 0.8}
    )
    assert ours.classes["lesion"].gains == pytest.approx({"a": 0.2})
    assert ours.classes["organ"].interval is None, "one patient"


def test_a_class_that_is_undefined_for_one_row_counts_for_none_and_is_named() -> None:
    given = [*scores("local", {"a": [None, 0.5, 0.7]}), *scores("pfedsam", {"a": [0.0, 0.5, 0.7]})]
    given += [*scores("local", {"a": [0.6]}, name="organ"), *scores("pfedsam", {"a": [0.6]}, name="organ")]
    found = compare_rows(given)
    assert row(found, "pfedsam").dice.sites == row(found, "local").dice.sites == pytest.approx({"a": 0.6})
    assert "1 of 4 patients x classes (a/a0/lesion)" in text(found)
    assert (row(found, "local").undefined, row(found, "pfedsam").undefined) == (1, 0)


def test_the_share_marked_on_empty_cases_is_of_all_seeds() -> None:
    given = [*scores("pfedsam", {"a": [0.5, 0.6]}, empty=4, marked=1)]
    given += [*scores("pfedsam", {"a": [0.5, 0.6]}, 1, empty=4, marked=3)]
    ours = row(compare_rows(given), "pfedsam")
    assert (ours.empty, ours.marked) == (8, 0.5)


def test_distances_are_of_the_patients_that_all_have_and_their_failures_are_counted() -> None:
    def row_of(name: str, hd95: list[float | None], unit: str = "mm") -> list[PatientScore]:
        return [
            PatientScore(name, "a", f"a{n}", "lesion", 0, 0.5, d, None if d is None else 0.9, unit)
            for n, d in enumerate(hd95)
        ]

    found = compare_rows([*row_of("local", [2, 4, None]), *row_of("pfedsam", [1, 3, 80])])
    local, ours = row(found, "local").surface, row(found, "pfedsam").surface
    assert (local.hd95, ours.hd95, ours.nsd, ours.unit) == (3, 2, pytest.approx(0.9), "mm")
    assert (local.undefined, ours.undefined, ours.scores, ours.patients) == (1, 0, 3, 2)
    none = compare_rows([*row_of("local", [None, None, None]), *row_of("pfedsam", [1, 3, 80])])
    empty = row(none, "local").surface
    assert (empty.hd95, empty.undefined) == (None, 3), "a row without any distance"
    assert row(none, "pfedsam").surface.hd95 == 28, "does not take the others'"
    mixed = [*row_of("pfedsam", [1, 3]), replace(row_of("pfedsam", [1])[0], site="b", unit="pixel")]
    surface = row(compare_rows(mixed), "pfedsam").surface
    assert (surface.hd95, surface.nsd, surface.unit) == (None, None, "mixed"), "they have no mean"


def test_an_incomplete_row_is_named_described_on_what_is_shared_and_not_tested() -> None:
    given = [
        s
        for seed in (0, 1)
        for s in (
            *scores("local", LOCAL, seed),
            *scores("pfedsam", BETTER, seed),
            *scores("flap", LOCAL, seed),
        )
    ]
    given += scores("ditto", {"a": [0.9, 0.9, 0.9], "b": [0.9, 0.9]}, 1)
    given = [s for s in given if (s.row, s.patient, s.seed) != ("flap", "b1", 0)]
    found = compare_rows(given)
    assert [a.rival for a in found.against] == ["local"]
    assert found.against[0].p_holm == min(1, 3 * found.against[0].p) > found.against[0].p
    flap, ditto = found.untested
    assert (flap.rival, flap.lacks) == ("flap", "1 of its 10 scores (b/b1/lesion seed 0)")
    assert (ditto.rival, ditto.lacks, ditto.seeds) == ("ditto", "seed 0", (1,))
    assert ditto.gain == pytest.approx(0.6 - 0.9)
    assert ditto.patients == 5
    assert row(found, "ditto").lacks == "seed 0"
    assert row(found, "ditto").gain.mean == pytest.approx(0.4)
    assert "Incomplete: ditto lacks seed 0." in found.notes


def test_only_what_the_method_was_scored_on_counts_and_the_rest_is_said() -> None:
    given = [*scores("local", LOCAL), *scores("local", LOCAL, 1), *scores("pfedsam", {"a": BETTER["a"]})]
    given += scores("pfedsam", {"a": [0.1]}, 1)
    given += scores("late", LOCAL, 1)
    found = compare_rows(given, [RunFacts("local", 0, 0), RunFacts("local", 1, 1)])
    assert (found.seeds, found.folds, found.patients) == ((0,), (0,), {"a": 3})
    assert found.against[0].gain == pytest.approx(0.1)
    assert "not yet scored on 2 patients" in text(found)
    assert "b/b0, b/b1" in text(found)
    assert "pfedsam is not finished with it: seed 1" in text(found)
    assert "late has no score that counts." in found.notes
    assert found.untested[0].gain is None


def test_without_the_method_or_the_reference_there_are_means_alone() -> None:
    found = compare_rows([*scores("flap", LOCAL), *scores("ditto", BETTER)])
    assert [result.row for result in found.rows] == ["flap", "ditto"]
    assert row(found, "flap").gain is None
    assert row(found, "flap").dice.gains == {}
    assert found.against == []
    assert "No gains: local is not among the rows." in found.notes


def test_rivals_are_those_named() -> None:
    given = [s for name in ("local", "pfedsam", "flap", "pooled") for s in scores(name, LOCAL)]
    assert [a.rival for a in compare_rows(given, rivals=["flap", "local"]).against] == ["flap", "local"]
    assert len(compare_rows(given).against) == 3
    assert compare_rows(given, rivals=["gone"]).untested[0].lacks == "all scores"


def test_costs_are_means_over_runs_of_what_was_measured() -> None:
    facts = [
        RunFacts("pfedsam", 0, fold, trained=100, seconds=s) for fold, s in ((0, 2.0), (1, 4.0), (2, None))
    ]
    ours = compare_rows(scores("pfedsam", LOCAL), facts).rows[0]
    assert (ours.costs, ours.runs) == ({"trained": 100, "seconds": 3.0}, 3)


def test_curves_are_means_over_sites_of_rounds_that_all_have() -> None:
    points = [
        CurvePoint("pfedsam", site, 0, fold, number, "global", dice)
        for site, fold, values in (("a", 0, (0.2, 0.4, 0.5)), ("a", 1, (0.4, 0.6, 0.7)), ("b", 0, (0.9, 0.1)))
        for number, dice in enumerate(values)
    ]
    stray = [
        CurvePoint("pfedsam", "a", 7, 0, 0, "global", 0.0),
        CurvePoint("pfedsam", "a", 0, 0, 0, "alone", 0.1),
    ]
    gates = [Gate("pfedsam", "a", 0, fold, 1, value) for fold, value in ((0, 0.5), (1, 0.7))]
    found = compare_rows(scores("pfedsam", LOCAL), curves=[*points, *stray], gates=gates)
    first, alone = found.curves
    assert (first.row, first.name, first.rounds, first.dropped) == ("pfedsam", "global", (0, 1), (2,))
    assert first.values == pytest.approx(((0.3 + 0.9) / 2, (0.5 + 0.1) / 2)), "each site has the same weight"
    assert alone.name == "alone"
    assert "Not in the line of pfedsam, global" in text(found)
    assert [(g.name, g.rounds, g.values) for g in found.gates] == [("a", (1,), (pytest.approx(0.6),))]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "there are no scores"),
        (
            [*scores("x", {"a": [0.5]}), *scores("x", {"a": [0.5]})],
            "1 scores are given more than once: x a/a0/lesion",
        ),
        (scores("x", {"a": [float("nan")]}), "1 values are not finite"),
        (scores("x", {"a": [0.5]}, hd95=float("inf")), "hd95 of x a/a0/lesion seed 0"),
        (scores("x", {"a": [None]}), "undefined for every patient"),
    ],
)
def test_what_cannot_be_compared_is_refused(given: list[PatientScore], words: str) -> None:
    with pytest.raises(SettingsError, match="PFS-105") as caught:
        compare_rows(given)
    assert words in str(caught.value)


def test_the_order_of_the_scores_does_not_matter() -> None:
    given = [s for seed in (0, 1) for s in (*scores("local", LOCAL, seed), *scores("pfedsam", BETTER, seed))]
    one, two = compare_rows(given), compare_rows(given[::-1])
    assert one.against == two.against
    assert {r.row: r for r in one.rows} == {r.row: r for r in two.rows}
