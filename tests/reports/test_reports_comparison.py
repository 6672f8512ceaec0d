"""The report on a comparison: what its tables say, what its JSON holds, which pictures there are."""

import json

import pytest

from pfedsam_flower.errors import StoreError
from pfedsam_flower.evaluation.comparison import CurvePoint, Gate, PatientScore, RunFacts, compare_rows
from pfedsam_flower.reports.comparison import write_comparison
from pfedsam_flower.reports.comparison_plots import _apart
from pfedsam_flower.reports.comparison_tables import as_markdown


def scores(row: str, by_site: dict[str, list[float]], seed: int = 0, name: str = "lesion", **more):
    return [
        PatientScore(row, site, f"{site}{number}", name, seed, dice, **more)
        for site, values in by_site.items()
        for number, dice in enumerate(values)
    ]


# binary fractions, so that differences are exact
LOCAL = {"a": [0.5, 0.5, 0.5], "b": [0.25, 0.25]}
BETTER = {"a": [0.75, 0.75, 0.75], "b": [0.125, 0.125]}
SCORES = [*scores("local", LOCAL, empty=2, marked=1), *scores("pfedsam", BETTER, empty=2)]
FACTS = [
    RunFacts("local", 0, 0, trained=1500, bytes_up=0, bytes_down=0, seconds=2.0, alone_steps=30),
    RunFacts("pfedsam", 0, 0, 1500, 1000, 500, 1_250_000, 2_000, 9.96, 812.4, 20, 10, 0),
]


def lines(text: str, row: str) -> list[str]:
    """The lines of all tables that begin with this row."""
    return [line for line in text.splitlines() if line.startswith(f"| {row} |")]


def test_the_tables_by_hand() -> None:
    text = as_markdown(compare_rows(SCORES, FACTS, title="lgg", notes=["Hardware: two cores."]))
    assert text.startswith("# lgg\n\nTest patients: 5 (a 3, b 2).\nSeeds: 0. Folds: 0.\n")
    assert lines(text, "**pfedsam**") == [
        "| **pfedsam** | 0.438 [0.438, 0.438] | 0.500 | 0.125 b | +0.062 [+0.062, +0.062] | -0.125 b |",
        "| **pfedsam** | 0.750 (+0.250) | 0.125 (-0.125) |",
        "| **pfedsam** | 10 | 0.000 |",
        "| **pfedsam** | 1,500 | 1,000 | 500 | 1.2 MB | 2.0 kB | 20 | 10 | 0 | 10.0 | 812 MB | 1 |",
    ]
    assert lines(text, "local") == [
        "| local | 0.375 [0.375, 0.375] | 0.400 | 0.250 b | – | – |",
        "| local | 0.500 | 0.250 |",
        "| local | +0.062 [+0.062, +0.062] | -0.125 b | 0.438 | 0.438 | 5 |",
        "| local | 10 | 0.500 |",
        "| local | 1,500 | – | – | 0 B | 0 B | – | – | 30 | 2.0 | – | 1 |",
    ]
    assert text.endswith("## Notes\n\n- Hardware: two cores.\n")
    assert "†" not in text
    assert "Each class" not in text


def test_seeds_one_by_one_and_the_incomplete_row() -> None:
    given = [*SCORES, *(s for row in ("local", "pfedsam", "flap") for s in scores(row, LOCAL, 1, empty=2))]
    text = as_markdown(compare_rows(given))
    assert "Seeds: 0, 1.\n" in text
    assert lines(text, "local")[2].endswith(" | +0.062 +0.000 |")
    dice, sites, against, marked = lines(text, "flap †")
    assert against == "| flap † | +0.000 [+0.000, +0.000] | – | not tested | – | 5 | seed 1 |"
    assert dice.startswith("| flap † | 0.375")
    assert marked == "| flap † | 10 | 0.000 |"
    assert sites == "| flap † | 0.500 (+0.000) | 0.250 (+0.000) |"
    assert "- Incomplete: flap lacks seed 0." in text
    assert "†: not scored on all patients" in text


def test_classes_and_distances_have_their_tables() -> None:
    more = {"hd95": 7.5, "nsd": 0.5, "unit": "pixel"}
    given = scores("pfedsam", BETTER, **more) + scores("pfedsam", LOCAL, name="a|b", **more)
    text = as_markdown(compare_rows(given))
    assert "| Row | lesion | a\\|b |" in text
    assert "HD95 (pixel)" in text
    classes, marked = lines(text, "**pfedsam**")[2:]
    assert classes == "| **pfedsam** | 0.438 [0.438, 0.438] | 0.375 [0.375, 0.375] |"
    assert marked == "| **pfedsam** | 0 | – | 7.50 | 0.500 | 0 of 10 |"


def test_the_whole_report_is_written_and_can_be_read(tmp_path) -> None:
    curves = [CurvePoint(row, "a", 0, 0, n, model, n / 4)
              for row, model in (("local", "alone"), ("pfedsam", "personal"), ("pfedsam", "deployed"))
              for n in range(3)]  # fmt: skip
    gates = [Gate("pfedsam", f"site{site}", 0, 0, n, 1 / n) for site in range(9) for n in (1, 2)]
    comparison = compare_rows(SCORES, FACTS, curves, gates=gates)
    paths = write_comparison(comparison, tmp_path)
    pictures = ["sites.png", "gains.png", "bytes.png", "curves.png", "gates.png"]
    assert [path.name for path in paths] == ["comparison.md", "comparison.json", *pictures]
    assert sorted(tmp_path.iterdir()) == sorted(paths), "nothing else is left"
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths[2:])
    text = paths[0].read_text(encoding="utf-8")
    assert all(f"]({name})" in text for name in pictures)
    data = json.loads(paths[1].read_text(encoding="utf-8"))
    assert data["rows"][1]["dice"]["gains"] == {"a": 0.25, "b": -0.125}
    assert data["against"][0]["rival"] == "local"
    assert data["by_seed"] == {"local": {"0": 0.0625}}
    assert data["curves"][0]["values"] == [0, 0.25, 0.5]


def test_experts_of_one_round_are_shown_too(tmp_path) -> None:
    gates = [Gate("pfedsam", site, 0, 0, 9, value) for site, value in (("a", 0.9), ("b", 0.2))]
    written = [compare_rows(SCORES, FACTS, gates=part) for part in (gates, gates[:1])]
    for name in "12":
        (tmp_path / name).mkdir()
    paths = [write_comparison(one, tmp_path / name)[-1] for name, one in zip("12", written, strict=True)]
    assert [path.name for path in paths] == ["gates.png", "gates.png"]
    assert paths[0].read_bytes() != paths[1].read_bytes()


def test_there_are_only_pictures_of_what_was_measured_and_old_ones_go(tmp_path) -> None:
    (tmp_path / "gates.png").write_bytes(b"of an earlier report")
    (tmp_path / "mine.png").write_bytes(b"somebody's")
    paths = write_comparison(compare_rows(scores("flap", {"a": [0.5]})), tmp_path)
    assert [path.name for path in paths] == ["comparison.md", "comparison.json", "sites.png"]
    assert not (tmp_path / "gates.png").exists()
    assert (tmp_path / "mine.png").exists()


def test_a_folder_that_is_not_there_is_said(tmp_path) -> None:
    with pytest.raises(StoreError, match="PFS-604"):
        write_comparison(compare_rows(SCORES), tmp_path / "gone")


def test_labels_are_moved_apart_in_their_order() -> None:
    assert _apart([1.0, 0.5, 0.5, 0.5], 0.1, 0.0) == pytest.approx([1.0, 0.5, 0.4, 0.3])
    assert _apart([0.1, 0.1, 0.1], 0.1, 0.05) == pytest.approx([0.25, 0.15, 0.05])
    assert _apart([], 0.1, 0.0) == []
