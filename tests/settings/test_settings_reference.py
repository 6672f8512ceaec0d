"""The defaults table and the page are what the declarations say."""

import tomllib

import pytest

from pfedsam_flower.settings.reference import BEGIN, END, defaults_table, page, with_defaults
from pfedsam_flower.settings.run import CoordinatorSettings, RunSettings
from pfedsam_flower.settings.site import SiteSettings
from pfedsam_flower.settings.sources import default_flat, known_keys


def flatten(table: dict, prefix: str = "") -> dict:
    flat: dict = {}
    for key, value in table.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def test_the_table_holds_every_default_with_its_type() -> None:
    flat = flatten(tomllib.loads(defaults_table())["tool"]["flwr"]["app"]["config"])
    assert flat == default_flat()
    assert [type(value) for value in flat.values()] == [type(value) for value in default_flat().values()]


def test_the_page_has_a_row_for_every_setting() -> None:
    rows = [line for line in page().splitlines() if line.startswith("| `")]
    keys = known_keys(RunSettings) + [f"coordinator.{key}" for key in known_keys(CoordinatorSettings)]
    assert [row.split("`")[1] for row in rows] == keys + known_keys(SiteSettings)
    assert "| `lora.rank` | `8` | whole number, ≥ 1, ≤ 256 | Rank of each LoRA pair. |" in rows
    assert all(row.replace("\\|", "").count("|") == 5 for row in rows)


def test_only_the_text_between_the_markers_changes() -> None:
    text = f"before\n{BEGIN}old\n{END}after\n"
    renewed = with_defaults(text)
    assert renewed == f"before\n{BEGIN}{defaults_table()}{END}after\n"
    assert with_defaults(renewed) == renewed


@pytest.mark.parametrize("text", ["", BEGIN, END + BEGIN, f"{BEGIN}{END}{BEGIN}{END}"])
def test_lost_markers_are_said(text: str) -> None:
    with pytest.raises(ValueError, match="marker"):
        with_defaults(text)
