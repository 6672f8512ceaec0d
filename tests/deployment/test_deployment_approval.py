"""What may run at a site: bundle and settings together, asked for, shown, allowed, for a time."""

import io
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pfedsam_flower.deployment import approval
from pfedsam_flower.deployment.bundles import digest_of, read_bundle
from pfedsam_flower.deployment.review import describe, overview, review
from pfedsam_flower.errors import ConsentError, StoreError
from pfedsam_flower.settings.run import RunSettings
from pfedsam_flower.settings.site import SiteSettings
from pfedsam_flower.settings.sources import to_flat
from pfedsam_flower.site.consent import control_folder

ROOT = Path(__file__).resolve().parents[2]
APP = (ROOT / "client_app" / "app.py").read_text(encoding="utf-8")
PROJECT = '[tool.flwr.app.components]\nclientapp = "client_app.app:app"\n'
THIN = {"pyproject.toml": PROJECT, "client_app/app.py": APP, "LICENSE": "", ".info/CONTENT": ""}
SETTINGS = dict(to_flat(RunSettings()))


@pytest.fixture
def site(tmp_path: Path) -> SiteSettings:
    return SiteSettings(site="north", data="data", state=str(tmp_path / "state"))


def bundle(files: Mapping[str, str | bytes] = THIN) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return whole.getvalue()


def asked(site: SiteSettings, content: bytes, settings: dict = SETTINGS) -> str:
    """The code of the refusal; "" when it may run."""
    try:
        approval.check_approved(site, content, settings, "1")
    except ConsentError as error:
        return error.code
    return ""


def remarks(project: str) -> tuple[str, ...]:
    return read_bundle(bundle(THIN | {"pyproject.toml": project})).remarks


def test_this_projects_own_pyproject_asks_for_nothing_new() -> None:
    assert remarks((ROOT / "pyproject.toml").read_text(encoding="utf-8")) == ()
    assert remarks(PROJECT) == ()


@pytest.mark.parametrize(
    ("before", "added", "said"),
    [
        ("dependencies = [", 'dependencies = ["left-pad==1",', "asks for left-pad==1"),
        (
            "dependencies = [",
            'dependencies = ["numpy @ git+ssh://fl.example.org/numpy",',
            "asks for numpy @ git",
        ),
        ("dependencies = [", 'dependencies = ["Torch>=99",', "asks for Torch>=99"),
        ("dependencies = [", 'dependencies = ["no! name",', "what it asks for is not known"),
        ("[project]", '[project]\noptional-dependencies.x = ["left-pad"]', "asks for left-pad"),
        (
            "[build-system]",
            '[tool.uv.sources]\nnumpy = {path = "x"}\n[build-system]',
            "where packages come from",
        ),
        (
            'requires = ["setuptools',
            'requires = ["left-pad", "setuptools',
            "is built by setuptools.build_meta, left-pad",
        ),
        ('"setuptools.build_meta"', '"client_app.build"', "is built by client_app.build"),
    ],
)
def test_a_further_dependency_is_named(before: str, added: str, said: str) -> None:
    base = (
        '[build-system]\nrequires = ["setuptools>=77"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "x"\nversion = "1"\ndependencies = ["flwr>=1.41,<1.43"]\n' + PROJECT
    )
    assert [one for one in remarks(base) if "flwr" not in one] == []
    assert base.count(before) == 1
    assert any(said in one for one in remarks(base.replace(before, added)))


def test_the_preflight_alone_is_told_as_one() -> None:
    plan, leaves = describe(SETTINGS | {"rounds": 0})
    text = " ".join((*plan, *leaves))
    assert "the preflight alone" in text
    assert "and a closing round" not in text
    assert "MB" not in text
    assert "and a closing round" in " ".join(describe(SETTINGS | {"rounds": 3})[0])


def test_only_the_very_bundle_with_the_very_settings_is_approved(site: SiteSettings) -> None:
    content = bundle()
    assert asked(site, content) == "PFS-701"
    (request,) = approval.requests(site)
    assert request.bundle == digest_of(content)
    with pytest.raises(ConsentError, match="PFS-707.*not the whole hash"):
        approval.approve(site, request.hash[:16], None)
    assert approval.find(site, request.hash[:16]) == request
    approval.approve(site, request.hash, None)
    assert asked(site, content) == ""
    changed = bytearray(content)
    changed[40] ^= 1
    assert asked(site, bytes(changed)) == "PFS-701"
    assert asked(site, content, SETTINGS | {"rounds": 400}) == "PFS-701"
    assert asked(site, content, dict(reversed(SETTINGS.items()))) == ""
    assert sorted(row.state for row in overview(site)) == ["approved", "waiting", "waiting"]


def test_an_approval_expires_and_can_be_withdrawn(
    site: SiteSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bundle()
    asked(site, content)
    (request,) = approval.requests(site)
    one = approval.approve(site, request.hash, 2)
    assert one.holds(datetime.now(UTC) + timedelta(days=1.99))
    assert not one.holds(datetime.now(UTC) + timedelta(days=2.01))
    assert asked(site, content) == ""
    approval.approve(site, request.hash, 0)
    assert asked(site, content) == "PFS-701"
    assert overview(site)[0].state == "expired"
    approval.approve(site, request.hash, None)
    assert approval.withdraw_all(site) == 1
    assert asked(site, content) == "PFS-701"


def test_what_cannot_be_read_allows_nothing(site: SiteSettings) -> None:
    asked(site, bundle())
    (request,) = approval.requests(site)
    approval.approve(site, request.hash, None)
    (control_folder(site) / "approvals.json").write_text("[{")
    with pytest.raises(StoreError) as caught:
        approval.check_approved(site, bundle(), SETTINGS, "1")
    assert caught.value.code == "PFS-603"


def test_an_exchanged_bundle_is_not_shown_as_the_one_that_came(site: SiteSettings) -> None:
    asked(site, bundle())
    (request,) = approval.requests(site)
    path = control_folder(site) / "requests" / request.hash / "bundle.fab"
    path.write_bytes(bundle(THIN | {"LICENSE": "other"}))
    with pytest.raises(StoreError) as caught:
        review(site, request)
    assert caught.value.code == "PFS-603"


@pytest.mark.parametrize("digits", ["", "0123", "zzzzzzzz", "../../.."])
def test_digits_that_name_no_request_are_refused(site: SiteSettings, digits: str) -> None:
    asked(site, bundle())
    with pytest.raises(ConsentError) as caught:
        approval.approve(site, digits, None)
    assert caught.value.code == "PFS-707"


def test_requests_cannot_fill_the_disk_and_approved_ones_stay(
    site: SiteSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(approval, "KEPT", 3)
    asked(site, bundle())
    (request,) = approval.requests(site)
    approval.approve(site, request.hash, None)
    for seed in range(1, 7):
        asked(site, bundle(), SETTINGS | {"seed": seed})
    kept = approval.requests(site)
    assert len(kept) == 4
    assert request in kept


def test_the_projects_own_bundle_has_no_code_of_its_own() -> None:
    server = (ROOT / "server_app" / "app.py").read_text(encoding="utf-8")
    found = read_bundle(bundle(THIN | {"server_app/app.py": server}))
    assert found.remarks == ()
    assert found.app == "client_app.app:app"


@pytest.mark.parametrize(
    ("name", "text", "remark"),
    [
        ("client_app/app.py", APP + "\nimport os\n", "client_app/app.py has code of its own (line "),
        ("client_app/app.py", APP + "\nprint(app)\n", "client_app/app.py has code of its own (line "),
        ("client_app/app.py", APP.replace("_app()", "_app(open)"), "client_app/app.py has code of its own"),
        ("client_app/app.py", "def (", "client_app/app.py is not Python that can be read"),
        ("client_app/app.py", "from pfedsam_flower.x import y\napp = eval('1')\n", "has code of its own"),
        ("pfedsam_flower/model/lora.py", "", "it carries a pfedsam_flower of its own"),
        ("torch/__init__.py", "", "torch/__init__.py is neither an entry point nor the licence"),
        ("client_app.py", "", "client_app.py is neither an entry point nor the licence"),
        ("LICENSE.py", "", "LICENSE.py is neither an entry point nor the licence"),
        ("LICENSE_x/app.pyc", "", "LICENSE_x/app.pyc is neither an entry point nor the licence"),
        ("client_app/app.py", APP + "{}[open('x')] = build_client_app()\n", "has code of its own (line "),
        ("client_app/app.py", APP + "app.mods = build_client_app()\n", "has code of its own (line "),
        ("client_app/app.py", "# coding: utf-7\n# +AAo-open('x')\n" + APP, "is written in utf-7"),
        (
            "client_app/app.py",
            f"# coding: latin-1\n{APP}# \xe9".encode("latin-1"),
            "is written in iso-8859-1",
        ),
        ("client_app/app.py", APP.encode() + b"# \xe9", "is not Python that can be read"),
        ("client_app/app.py", "a" + ".a" * 30_000, "is not Python that can be read"),
        ("client_app/app.py", "-" * 30_000 + "1", "is not Python that can be read"),
        ("pyproject.toml", "[" * 5_000, "pyproject.toml does not say what a site is to load"),
        ("torch/app.py", APP, "torch/app.py is neither an entry point nor the licence"),
        ("notes.md", "", "notes.md is neither an entry point nor the licence"),
        ("pyproject.toml", "[", "pyproject.toml does not say what a site is to load"),
        (
            "pyproject.toml",
            PROJECT.replace("client_app", "other"),
            "other/app.py, which a site loads",
        ),
    ],
)
def test_a_bundle_that_does_more_is_told(name: str, text: str | bytes, remark: str) -> None:
    found = read_bundle(bundle(THIN | {name: text}))
    assert any(remark in one for one in found.remarks), found.remarks


def test_a_file_that_stands_twice_is_told() -> None:
    whole = io.BytesIO(bundle())
    with zipfile.ZipFile(whole, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("client_app/app.py", APP)
    assert "client_app/app.py stands in it more than once" in read_bundle(whole.getvalue()).remarks


def test_a_bundle_with_a_damaged_entry_is_told() -> None:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("client_app/app.py", APP * 9)
    content = bytearray(whole.getvalue())
    content[60:70] = bytes(10)
    (remark,) = read_bundle(bytes(content)).remarks
    assert "cannot be read" in remark


def test_a_bundle_with_a_file_without_a_name_is_told() -> None:
    content = bundle(THIN | {"Q": ""}).replace(b"Q", b"\0")
    (remark,) = read_bundle(content).remarks
    assert "cannot be read" in remark


@pytest.mark.parametrize("start", ["\ufeff", "# coding: utf8\n"])
def test_other_ways_to_say_utf_8_are_no_reason_to_warn(start: str) -> None:
    assert read_bundle(bundle(THIN | {"client_app/app.py": start + APP})).remarks == ()


def test_a_bundle_that_is_none_is_told() -> None:
    (remark,) = read_bundle(b"PK no zip").remarks
    assert "cannot be read" in remark


def test_a_review_says_plan_size_and_what_changed(site: SiteSettings) -> None:
    content = bundle()
    asked(site, content)
    (first,) = approval.requests(site)
    assert review(site, first).changed is None
    approval.approve(site, first.hash, None)
    asked(site, content, SETTINGS | {"rounds": 40, "new": 1})
    second = next(one for one in approval.requests(site) if one != first)
    assert review(site, second).changed == (("new", None, 1), ("rounds", 8, 40))
    found = review(site, first)
    assert "8 rounds and a closing round" in " ".join(found.plan)
    assert "the closing round trains 40 steps on what stays" in " ".join(found.plan)
    assert "MB of changes to shared parameters leave, 8 times" in " ".join(found.leaves)
    assert "would refuse them: rounds" in describe(SETTINGS | {"rounds": "x"})[0][0]


def test_what_is_too_large_to_review_is_not_kept(site: SiteSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(site, bytes(approval.LARGEST_BUNDLE + 1)) == "PFS-701"
    assert asked(site, bundle(), {"x": "y" * approval.LARGEST_SETTINGS}) == "PFS-701"
    assert approval.requests(site) == []
    monkeypatch.setattr("pfedsam_flower.deployment.bundles.LARGEST", 1000)
    (remark,) = read_bundle(bundle({"a.txt": "0" * 1001})).remarks
    assert "its files are too large" in remark
