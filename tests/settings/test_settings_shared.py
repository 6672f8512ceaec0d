"""Two sites of one file with the same data."""

from pathlib import Path

import pytest

from pfedsam_flower.errors import SettingsError
from pfedsam_flower.settings.sources import sites_from_file, sites_in


def listing(folder: Path, *data: str) -> Path:
    file = folder / "sites.toml"
    tables = (f'[[site]]\nsite = "s{number}"\n{one}\nstate = "state"\n' for number, one in enumerate(data))
    file.write_text("\n".join(tables))
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("north/images/p1", "south/images"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "link").symlink_to("north")
    (tmp_path / "south" / "linked").symlink_to("../north/images")
    return tmp_path


@pytest.mark.parametrize(
    "other",
    [
        'data = "north"',
        'data = "./south/../north"',
        'data = "link"',
        'data = "north/images"',
        'data = "north/images/p1"',
        'data = "."\nimages = "north/images"',
        'data = "south"\nimages = "linked"',
        'data = "."',
    ],
)
def test_the_same_data_under_any_name_is_refused(folder: Path, other: str) -> None:
    file = listing(folder, 'data = "north"', other)
    with pytest.raises(SettingsError, match="s0 and s1 have the same data") as caught:
        sites_from_file(file)
    assert caught.value.code == "PFS-102"
    assert len(sites_in(file)) == 2, "one of them may be chosen"


@pytest.mark.parametrize(
    "other", ['data = "south"', 'data = "missing"', 'data = "north"\nimages = "../south/images"']
)
def test_data_of_its_own_is_not_refused(folder: Path, other: str) -> None:
    assert len(sites_from_file(listing(folder, 'data = "north"', other))) == 2


def test_what_is_missing_is_nobody_s(tmp_path: Path) -> None:
    assert len(sites_from_file(listing(tmp_path, 'data = "north"', 'data = "north"'))) == 2
