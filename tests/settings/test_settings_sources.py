"""Flat keys ⇄ settings: nothing is lost on the way, every fault comes at once."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pfedsam_flower.errors import SettingsError
from pfedsam_flower.settings.run import CoordinatorSettings, RunSettings
from pfedsam_flower.settings.site import SiteSettings
from pfedsam_flower.settings.sources import (
    default_flat,
    findings,
    known_keys,
    refuse,
    site_from_flat,
    sites_from_file,
    split_coordinator,
    suggest,
    to_flat,
)

SITE = {"site": "north", "data": "images-of-north", "state": "state"}
NAMES = st.text("aZ09", min_size=1, max_size=5).map(lambda name: name + "._-")

changes = st.fixed_dictionaries(
    {},
    optional={
        "seed": st.integers(0, 2**32 - 1),
        "rounds": st.integers(1, 10_000),
        "classes": st.lists(NAMES, min_size=1, max_size=4).map(",".join),
        "federation.name": NAMES,
        "federation.sites": st.lists(NAMES, max_size=3).map(",".join),
        "lora.alpha": st.floats(1e-6, 1e6),
        "lmoe.gate": st.sampled_from(["token", "image"]),
        "training.learning-rate-shared": st.floats(1e-9, 0.99),
        "training.augment": st.booleans(),
        "evaluation.alone": st.booleans(),
    },
)


@given(changes)
def test_flat_to_settings_and_back_is_identity(change: dict[str, object]) -> None:
    flat = to_flat(RunSettings()) | change
    settings, problems = findings(RunSettings, flat)
    assert problems == []
    assert to_flat(settings) == flat
    assert findings(RunSettings, to_flat(settings)) == (settings, [])


def test_defaults_are_flat_scalars_and_complete() -> None:
    flat = default_flat()
    assert all(type(value) in (str, int, float, bool) for value in flat.values())
    run, coordinator = split_coordinator(flat)
    assert list(run) == known_keys(RunSettings)
    assert list(coordinator) == known_keys(CoordinatorSettings)
    assert findings(RunSettings, run) == (RunSettings(), [])
    assert findings(CoordinatorSettings, coordinator) == (CoordinatorSettings(), [])


def test_keys_have_hyphens() -> None:
    assert not [key for key in known_keys(RunSettings) if "_" in key]


def test_every_setting_has_a_sentence() -> None:
    for model in (RunSettings, CoordinatorSettings, SiteSettings):
        sections = [model] + [type(value) for value in vars(model.model_construct()).values()]
        for section in sections:
            for name, field in getattr(section, "model_fields", {}).items():
                nested = hasattr(field.annotation, "model_fields")
                assert nested or str(field.description).endswith("."), name


def test_all_faults_come_at_once() -> None:
    flat = {"rounds": -1, "lora.rnk": 4, "lora.alpha": "16", "lmoe.gate": "pixel", "image.size.x": 1}
    settings, problems = findings(RunSettings, flat)
    assert settings is None
    assert len(problems) == 5
    for key in flat:
        assert [p for p in problems if p.startswith(key.removesuffix(".x"))], (key, problems)


@pytest.mark.parametrize("flat", [{"lora": 3, "lora.rank": 4}, {"lora.rank": 4, "lora": 3}])
def test_a_section_given_as_a_value_is_a_finding(flat: dict[str, int]) -> None:
    settings, problems = findings(RunSettings, flat)
    assert settings is None
    assert problems


def test_misspelt_names_get_a_suggestion() -> None:
    _, problems = findings(RunSettings, {"lora.rnk": 4})
    assert problems == ["lora.rnk: no such setting; did you mean lora.rank?"]
    _, problems = findings(RunSettings, {"zzzzzz": 4})
    assert problems == ["zzzzzz: no such setting"]
    assert suggest("pfedsm", ["pfedsam", "fedavg"]) == "did you mean pfedsam?"
    assert suggest("zzzzzz", ["pfedsam", "fedavg"]) == "known: pfedsam, fedavg"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rounds", "4"),
        ("rounds", 4.0),
        ("rounds", True),
        ("training.augment", 1),
        ("training.augment", "true"),
        ("method", 3),
        ("lora.alpha", "16"),
        ("lora.alpha", math.nan),
        ("lora.alpha", math.inf),
        ("federation.round-deadline-s", math.inf),
        ("classes", ""),
        ("classes", 3),
        ("federation.name", "a/b"),
        ("federation.name", "../up"),
        ("federation.name", "name\n"),
    ],
)
def test_types_and_ranges_are_strict(key: str, value: object) -> None:
    settings, problems = findings(RunSettings, {key: value})
    assert settings is None
    assert len(problems) == 1
    assert problems[0].startswith(key)


def test_lists_lose_spaces_and_empty_parts() -> None:
    settings, _ = findings(RunSettings, {"classes": " organ , lesion,, "})
    assert settings == RunSettings(classes=("organ", "lesion"))


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        RunSettings().rounds = 5


def test_refuse_lists_every_problem_and_counts_them() -> None:
    refuse([])
    with pytest.raises(SettingsError) as caught:
        refuse(["first", "second"], where="here")
    assert caught.value.code == "PFS-101"
    assert "  - first\n  - second" in caught.value.local()
    assert caught.value.public() == "PFS-101 the settings are not valid (faults 2)"


def test_a_sites_settings_name_every_fault() -> None:
    assert site_from_flat(SITE) == SiteSettings(**SITE)
    with pytest.raises(SettingsError) as caught:
        site_from_flat({"site": "a b", "data": "", "threads": 0, "imgs": "x"})
    assert caught.value.code == "PFS-102"
    for key in (
        "site",
        "data",
        "state: is required",
        "threads",
        "imgs: no such setting; did you mean images?",
    ):
        assert key in caught.value.local()


def write(folder: Path, text: str) -> Path:
    path = folder / "sites.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_sites_file_folders_are_relative_to_the_file(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '[[site]]\nsite = "north"\ndata = "north"\nstate = "state"\n\n'
        '[[site]]\nsite = "south"\ndata = "/srv/south"\nstate = "state"\ncheckpoint = "sam.pth"\n',
    )
    north, south = sites_from_file(path)
    here = tmp_path.resolve()
    assert (north.data, north.state, north.checkpoint) == (str(here / "north"), str(here / "state"), "")
    assert (south.data, south.checkpoint) == ("/srv/south", str(here / "sam.pth"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no [[site]] table"),
        ("[[site]\n", "cannot be read"),
        ('site = "north"\n', "[[site]]"),
        ('[site]\nsite = "north"\ndata = "d"\nstate = "s"\n', "[[site]]"),
        ("site = [1, 2]\n", "[[site]]"),
        ('[[site]]\nsite = "n"\ndata = "d"\n', "state: is required"),
        ('[[site]]\nsite = "n"\ndata = "d"\nstate = "s"\n' * 2, "n is named more than once"),
    ],
)
def test_an_unusable_sites_file_is_refused_in_words(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        sites_from_file(write(tmp_path, text))
    assert caught.value.code == "PFS-102"
    assert said in caught.value.local()
    assert str(tmp_path) in caught.value.local()
    assert str(tmp_path) not in caught.value.public()


def test_a_missing_sites_file_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        sites_from_file(tmp_path / "none.toml")
    (tmp_path / "sites.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="cannot be read"):
        sites_from_file(tmp_path / "sites.toml")
