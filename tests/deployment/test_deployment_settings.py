"""What was set is what a run gets: from ``--set`` through Flower's file, its command and its messages."""

import re
import tomllib
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from flwr.common.config import flatten_dict, fuse_dicts, parse_config_args
from flwr.common.serde import user_config_from_proto, user_config_to_proto
from hypothesis import given
from hypothesis import strategies as st

from pfedsam_flower.cli.options import parse_set
from pfedsam_flower.deployment import flower
from pfedsam_flower.errors import SettingsError
from pfedsam_flower.settings.site import SiteSettings
from pfedsam_flower.settings.sources import default_flat, differing, differing_text, site_from_flat, to_flat

DEFAULTS = default_flat()
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    ["a = b", "a,b", "'", '"', "a\nrounds = 0", "[x]", "# c", "\\", "true", "3", "x.toml", "", " a ", "\x7f"]
)
plain_texts = texts.filter(lambda text: not any(unicodedata.category(sign) == "Cc" for sign in text))
"""What a site's own settings may hold: a control sign there is a back-slash gone wrong, and refused."""
VALUES: dict[type, Any] = {
    str: texts,
    bool: st.booleans(),
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False, allow_infinity=False),
}
flats = st.fixed_dictionaries({}, optional={key: VALUES[type(value)] for key, value in DEFAULTS.items()})


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return [(k, type(v), v) for k, v in one.items()] == [(k, type(v), v) for k, v in other.items()]


@given(flats)
def test_a_runs_file_arrives_whole(tmp_path_factory: pytest.TempPathFactory, flat: dict[str, Any]) -> None:
    file = tmp_path_factory.mktemp("run") / "run.toml"
    file.write_text(flower.toml(flat), encoding="utf-8")
    read = parse_config_args([str(file)])
    arrived = user_config_from_proto(user_config_to_proto(read))
    assert same(fuse_dicts(flatten_dict(DEFAULTS), arrived), DEFAULTS | flat)


@given(flats)
def test_what_is_set_on_a_command_line_arrives_whole(flat: dict[str, Any]) -> None:
    words = [f"{key} = {flower.toml({'x': value}).split(' = ', 1)[1]}" for key, value in flat.items()]
    assert same(parse_set(words), flat)


@given(st.sampled_from([key for key, value in DEFAULTS.items() if isinstance(value, str)]), texts)
def test_a_text_needs_no_quotes(key: str, text: str) -> None:
    quoted = text.strip()[:1] in ("'", '"')
    assert quoted or parse_set([f"{key}={text}"]) == {key: text.strip()}


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("seed=3 # rest", "3 # rest"),
        ('federation.name="a" # b', '"a" # b'),
        ("seed=3,", "3,"),
        ("seed=1,2", "1,2"),
    ],
)
def test_nothing_behind_a_value_is_forgotten(word: str, value: str) -> None:
    assert list(parse_set([word]).values()) == [value]


def test_a_setting_with_two_values_is_refused() -> None:
    assert parse_set(["rounds=2", "rounds = 2"]) == {"rounds": 2}
    with pytest.raises(SettingsError, match="--set rounds: is given twice, as 2 and as 3"):
        parse_set(["rounds=2", "image.size=56", "rounds=3"])


@given(plain_texts, plain_texts, st.floats(0.01, 0.49), st.integers(1, 256))
def test_a_sites_own_settings_arrive_whole(data: str, labels: str, share: float, threads: int) -> None:
    site = SiteSettings(
        site="north", data=data or "d", state="s", labels=labels, test_share=share, threads=threads
    )
    assert site_from_flat(flatten_dict(tomllib.loads(flower.toml(to_flat(site))))) == site


def test_what_differs_is_said_before_a_run() -> None:
    assert differing_text(differing(DEFAULTS)) == "all settings are the defaults"
    changed = DEFAULTS | {"rounds": 0, "federation.name": 'a "b"', "training.augment": False}
    assert differing_text(differing(changed)) == (
        "settings that are not the defaults: "
        'rounds = 0, federation.name = "a \\"b\\"", training.augment = false'
    )


def test_pages_hand_flower_a_file() -> None:
    """Texts are passed over in silence where Flower does not understand them."""
    root = Path(__file__).parents[2]
    pages = [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
    lines = [line for page in pages for line in page.read_text(encoding="utf-8").splitlines()]
    handed = [
        line.split("--run-config", 1)[1].split()
        for line in lines
        if re.match(r" *flwr run.*--run-config", line)
    ]
    assert handed
    assert all(words[0].endswith(".toml") for words in handed)
