"""Text files as Windows programs write them: read, or refused with the line and the remedy."""

import codecs
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfedsam_flower.errors import SettingsError
from pfedsam_flower.settings.sources import read_site, sites_from_file
from pfedsam_flower.settings.text import decoded, read_json, read_text, read_toml

TABLE = '[[site]]\nsite = "north"\ndata = "Zürich"\nstate = "state"\n'
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32")


def write(folder: Path, data: bytes | str) -> Path:
    path = folder / "sites.toml"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_same_text_in_every_encoding_is_the_same_site(tmp_path: Path, encoding: str, end: str) -> None:
    path = write(tmp_path, TABLE.replace("\n", end).encode(encoding))
    assert read_text(path) == TABLE
    assert [Path(site.data).name for site in sites_from_file(path)] == ["Zürich"]
    assert read_site(path, "north").site == "north"


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0\ufeff"), min_size=2))
def test_utf_16_and_utf_8_hold_the_same(text: str) -> None:
    assert decoded(codecs.BOM_UTF16_LE + text.encode("utf-16-le")) == text
    assert decoded(text.encode()) == text


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (TABLE.encode("cp1252"), "line 3 is not UTF-8: it holds the byte 0xfc, which is 'ü'"),
        (codecs.BOM_UTF16_LE + b"\0\xd8x", "it begins as UTF-16-LE and is no such text"),
        (codecs.BOM_UTF16_LE, "a byte order mark and nothing else"),
        ('[[site]]\ndata = "C:\\data\\north"\n', "line 2: within double quotes a back-slash"),
        ('[[site]]\ndata = "C:\\Users"\n', "line 2: within double quotes a back-slash"),
        ("[[site]]\nlabels = \u201corgan=1\u201d\n", "line 2 has the typographic quote \u201c"),
        ("[[site]]\nlabels = \u00abx\u00bb\n", "line 2 has the typographic quote \u00ab"),
        ('[[site]]\ndata =\u00a0"north"\n', "line 2 has the invisible sign '\\xa0'"),
        ("[[site]]\ndata = north\n", "line 2: data = north has no quotes around its text"),
        ("[[site]]\ndata 7\n", "line 2: Expected '=' after a key in a key/value pair: data 7"),
        (TABLE.replace("Zürich", "C:\\temp"), "data = 'C:\\temp': within double quotes a back-slash"),
        (TABLE.replace('"Zürich"', "'data\\north'"), "data = 'data\\\\north': this system has /"),
    ],
)
def test_what_cannot_be_read_is_refused_with_line_and_remedy(tmp_path: Path, data: bytes | str, said: str):
    with pytest.raises(SettingsError) as caught:
        sites_from_file(write(tmp_path, data))
    assert caught.value.code == "PFS-102"
    assert said in caught.value.local()


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (site,) = sites_from_file(write(tmp_path, TABLE.replace("Zürich", "~/north")))
    assert site.data == str(tmp_path / "home" / "north")


def test_toml_and_json(tmp_path: Path) -> None:
    assert read_toml(write(tmp_path, 'a = "b"\r\n'.encode("utf-16"))) == {"a": "b"}
    assert read_json(write(tmp_path, '{"a": "ü"}'.encode("utf-16"))) == {"a": "ü"}
    with pytest.raises(ValueError, match="line 2: in JSON a back-slash is written twice"):
        read_json(write(tmp_path, '[\n"C:\\data"]'))
