"""Prepared arrays on disk: the same bits, made again only when they must be, whole or not there."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pfedsam_flower.data import cache as room
from pfedsam_flower.data import samples
from pfedsam_flower.data.cases import Sample
from pfedsam_flower.data.samples import SiteData, load_site
from pfedsam_flower.errors import DataError, StoreError
from pfedsam_flower.settings.run import ImageSettings, RunSettings
from pfedsam_flower.settings.site import SiteSettings

RUN = RunSettings(image=ImageSettings(size=28))
Made = list[str]


@pytest.fixture
def site(make_site: Callable[..., SiteSettings]) -> SiteSettings:
    """Five patients, two slices each; the files are older than the cache's doubt about fresh ones."""
    made = make_site()
    for path in Path(made.data).rglob("*.png"):
        grow_old(path)
    return made


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    """Ids of the cases that were read and prepared."""
    ids: Made = []
    real = samples.load_case

    def load_case(case, *args):
        ids.append(case.id)
        return real(case, *args)

    monkeypatch.setattr(samples, "load_case", load_case)
    return ids


def grow_old(path: Path, seconds: float = 10.0) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


def load(site: SiteSettings, run: RunSettings = RUN, **words: object) -> SiteData:
    folder = Path(site.state)
    return load_site(site, run, folder / "split.json", **({"cache": folder / "prepared"} | words))


def arrays(data: SiteData) -> list[np.ndarray]:
    found = [x for s in data.train for x in (s.image, s.target, s.annotated, np.array(s.valid))]
    for case in (*data.validation, *data.test):
        found += [case.image, case.target, case.annotated]
    return found


def entries(site: SiteSettings) -> list[Path]:
    return sorted(path for path in (Path(site.state) / "prepared").iterdir() if path.is_dir())


@pytest.mark.parametrize("neighbours", [0, 1])
def test_the_same_bits_with_and_without(site: SiteSettings, made: Made, neighbours: int) -> None:
    run = RunSettings(image=ImageSettings(size=28, neighbours=neighbours))
    memory, first, second = load(site, run, cache=None), load(site, run), load(site, run)
    assert len(made) == 20  # ten cases in memory, ten for the disk, none the second time
    for other in (first, second):
        assert [s.patient for s in other.train] == [s.patient for s in memory.train]
        for one, two in zip(arrays(memory), arrays(other), strict=True):
            assert one.dtype == two.dtype
            assert np.array_equal(one, two)
        for one, two in zip(memory.test, other.test, strict=True):
            assert (one.case, one.spacing_mm, one.grid, one.slicing) == (
                two.case,
                two.spacing_mm,
                two.grid,
                two.slicing,
            )
    assert memory.train[0].image.shape == (1 + 2 * neighbours, 28, 28)


def test_what_is_on_disk_is_mapped_and_private(site: SiteSettings) -> None:
    data = load(site)
    assert isinstance(data.test[0].image, np.memmap)
    sample = data.train[0]
    assert isinstance(sample, Sample)
    assert isinstance(sample.target, np.memmap)
    folder = Path(site.state) / "prepared"
    assert folder.stat().st_mode & 0o777 == 0o700
    for path in folder.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_a_changed_file_is_prepared_again_and_the_old_entry_goes(site: SiteSettings, made: Made) -> None:
    load(site)
    before = entries(site)
    path = Path(site.data) / "images" / "p0-s0.png"
    other = Path(site.data) / "images" / "p1-s0.png"
    path.write_bytes(other.read_bytes())
    grow_old(path, 5)
    made.clear()
    load(site)
    assert made == ["p0-s0"]
    after = entries(site)
    assert len(after) == len(before) == 10
    assert len(set(after) - set(before)) == 1


def test_a_file_that_kept_size_and_time_is_not_read_again_and_a_touched_one_is_the_same(
    site: SiteSettings, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(site)
    made.clear()
    read: list[str] = []
    real = Path.open

    def opened(self: Path, *args, **words):
        if self.suffix == ".png":
            read.append(self.name)
        return real(self, *args, **words)

    monkeypatch.setattr(Path, "open", opened)
    load(site)
    assert read == []
    grow_old(Path(site.data) / "masks" / "p0-s0.png", 3)
    load(site)
    assert read == ["p0-s0.png"]
    assert made == []


def test_a_file_changed_a_moment_ago_is_not_taken_by_its_time(site: SiteSettings, made: Made) -> None:
    """Two writes of one size within a tick of the clock."""
    path = Path(site.data) / "images" / "p0-s0.png"
    now = path.stat()
    os.utime(path)
    stamp = path.stat().st_mtime_ns
    load(site)
    content = bytearray((Path(site.data) / "images" / "p1-s0.png").read_bytes())
    if len(content) < now.st_size:
        content += bytes(now.st_size - len(content))
    path.write_bytes(bytes(content))
    os.utime(path, ns=(stamp, stamp))
    made.clear()
    load(site)
    assert "p0-s0" in made


@pytest.mark.parametrize(
    ("run", "labels"),
    [
        (RunSettings(image=ImageSettings(size=28, clip_high=90)), "lesion=255"),
        (RunSettings(image=ImageSettings(size=56)), "lesion=255"),
        (RUN, "organ=255"),
    ],
)
def test_other_settings_are_another_entry(site: SiteSettings, made: Made, run, labels) -> None:
    load(site)
    made.clear()
    data = load(site.model_copy(update={"labels": labels}), run)
    assert len(made) == 10
    assert len(entries(site)) == 10  # those of the settings before are gone
    assert data.train[0].image.shape[-1] == run.image.size


def test_another_version_of_the_code_is_another_entry(site, made, monkeypatch):
    load(site)
    made.clear()
    monkeypatch.setattr(samples, "software", lambda: "0.0.0+other")
    load(site)
    assert len(made) == 10


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("image.npy", cut),
        ("target.npy", flip),
        ("image.npy", Path.unlink),
        ("facts.json", flip),
        ("facts.json", cut),
        ("facts.json", Path.unlink),
    ],
)
def test_a_damaged_entry_is_made_again_with_a_word(site, made, caplog, name, damage):
    whole = arrays(load(site, cache=None))
    load(site)
    victim = entries(site)[3]
    damage(victim / name)
    made.clear()
    data = load(site)
    assert len(made) == 1
    assert f"the prepared arrays of {made[0]} are damaged" in caplog.text
    assert all(np.array_equal(one, two) for one, two in zip(whole, arrays(data), strict=True))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"a": 1}', b"\xff"])
def test_a_damaged_memory_of_digests_costs_time_only(site, made, caplog, content):
    load(site)
    (Path(site.state) / "prepared" / room.DIGESTS).write_bytes(content)
    made.clear()
    load(site)
    assert made == []
    assert "read again" in caplog.text


def test_parts_that_are_not_asked_for_keep_their_entries_and_lost_cases_do_not(site, made):
    load(site)
    made.clear()
    load(site, parts=("train",))
    load(site)
    assert made == []
    (Path(site.data) / "images" / "p0-s0.png").unlink()
    (Path(site.data) / "masks" / "p0-s0.png").unlink()
    load(site)
    assert len(entries(site)) == 9


def test_a_write_that_fails_leaves_nothing_and_says_so(site, monkeypatch):
    real, written = np.save, []

    def save(file, array, **words):
        written.append(1)
        if len(written) == 6:
            raise OSError(28, "No space left on device")
        real(file, array, **words)

    monkeypatch.setattr(np, "save", save)
    with pytest.raises(StoreError, match="(?s)PFS-604 prepared images cannot be kept: No space left"):
        load(site)
    folder = Path(site.state) / "prepared"
    assert len(entries(site)) == 2  # two whole ones
    assert not list(folder.glob(".*"))
    monkeypatch.setattr(np, "save", real)
    assert len(load(site).train) > 0


def test_a_folder_that_cannot_be_made_is_one_sentence(site, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="PFS-604 prepared images cannot be kept"):
        load(site, cache=tmp_path / "file" / "prepared")


def test_half_an_entry_of_a_process_that_died_goes_after_a_day(site):
    load(site)
    folder = Path(site.state) / "prepared"
    old, new = folder / ".a.1.part", folder / ".b.2.part"
    for part in (old, new):
        part.mkdir()
        (part / "image.npy").write_bytes(b"x")
    grow_old(old, 2 * 86400)
    load(site)
    assert not old.exists()
    assert new.exists()


def test_an_entry_that_vanishes_while_it_is_in_use_is_said(site):
    data = load(site)
    for path in (Path(site.state) / "prepared").rglob("*.npy"):
        path.unlink()
    with pytest.raises(StoreError, match="PFS-603"):
        data.test[0]


def test_a_file_that_went_away_is_named(tmp_path):
    with pytest.raises(DataError, match="(?s)PFS-204.*No such file.*gone.png"):
        room.Cache(tmp_path)._content(tmp_path / "gone.png")


def test_a_header_counts_with_the_pixels_beside_it_and_a_series_with_all_its_files(tmp_path):
    header, pixels = tmp_path / "ct.mhd", tmp_path / "other name.raw"
    header.write_text("NDims = 3\nElementDataFile = other name.raw\n")
    pixels.write_bytes(b"123")
    assert room._files(header) == [header, pixels]
    header = tmp_path / "mr.nhdr"
    header.write_text("NRRD0004\ndata file: mr.raw.gz\n")
    (tmp_path / "mr.raw.gz").write_bytes(b"1")
    assert room._files(header) == [header, tmp_path / "mr.raw.gz"]
    series = tmp_path / "series"
    series.mkdir()
    for name in "ba":
        (series / name).write_bytes(b"x")
    assert room._files(series) == [series / "a", series / "b"]
    shelf = room.Cache(tmp_path / "prepared")
    one, two = (shelf._content(Path(f"{series}#{uid}")) for uid in ("1.2", "1.3"))
    assert one != two
    (series / "a").write_bytes(b"y")
    assert shelf._content(Path(f"{series}#1.2")) != one
