"""The repository itself: defaults are current, the lock is hashed, no machine of an author shows."""

import ast
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from pfedsam_flower import __version__
from pfedsam_flower.settings.reference import page, with_defaults

ROOT = Path(__file__).parents[2]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


PROJECT = tomllib.loads(read("pyproject.toml"))


def project_files() -> list[str]:
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):  # an unpacked archive
        names = [path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file()]
        return [str(name) for name in names if not any(part[0] == "." for part in name.parts[:-1])]
    return [name for name in done.stdout.decode().split("\0") if name]


def project_texts() -> dict[str, str]:
    texts = {}
    for name in project_files():
        try:
            texts[name] = read(name)
        except (UnicodeDecodeError, FileNotFoundError):
            continue  # a picture, or deleted and not yet committed
    return texts


def test_generated_parts_are_current() -> None:
    assert with_defaults(read("pyproject.toml")) == read("pyproject.toml"), "run `make settings`"
    assert page() == read("docs/reference/settings.md"), "run `make settings`"


def test_one_version() -> None:
    assert PROJECT["project"]["version"] == __version__


def test_the_lock_has_hashes_and_no_address() -> None:
    lock = read("requirements.lock")
    assert "://" not in lock
    assert "index" not in "".join(line for line in lock.splitlines(True) if line.startswith("-"))
    blocks = re.split(r"^(?=\S)", lock, flags=re.MULTILINE)
    packages = [block for block in blocks if block and not block.startswith("#")]
    assert len(packages) > 50
    for block in packages:
        assert re.match(r"[a-z0-9.-]+(\[[a-z,-]+\])?==", block), block[:60]
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block[:60]


def test_the_lock_holds_every_direct_dependency() -> None:
    wanted = PROJECT["project"]["dependencies"] + PROJECT["dependency-groups"]["dev"]
    locked = set(re.findall(r"^([a-z0-9.-]+)==", read("requirements.lock"), flags=re.MULTILINE))
    names = {re.split(r"[\[<>=]", requirement)[0].lower() for requirement in wanted}
    assert names <= locked
    assert "uv" in locked, "the Makefile takes uv's version from the lock"


# In pieces, so that this file does not hold what it looks for.
MACHINE = re.compile(
    r"(?<![\w.])/(?:wo"
    + r"rk|fa"
    + r"rm|ro"
    + r"ot)/[\w.]|/home/(?!user\b)\w+/|/Us"
    + r"ers/\w+/|/bash"
    + r"_jobs"
)
REGISTRY = re.compile(
    r"py"
    + r"pi\.org|python"
    + r"hosted\.org|registry\.npm"
    + r"js\.org|deb\.deb"
    + r"ian\.org|file:"
    + r"///",
)


@pytest.mark.parametrize("pattern", [MACHINE, REGISTRY], ids=["machine", "registry"])
def test_no_file_holds_a_path_of_a_machine_or_a_registrys_address(pattern: re.Pattern[str]) -> None:
    found = [
        f"{name}:{number}: {line.strip()[:80]}"
        for name, text in project_texts().items()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == []


def test_the_patterns_find_what_they_are_for() -> None:
    for bad in ("see /wo" + "rk/main", '"/ro' + 'ot/x"', "/home/" + "ann/x"):
        assert MACHINE.search(bad), bad
    assert REGISTRY.search("https://py" + "pi.org/simple")
    assert not MACHINE.search("the frame" + "work/main and ./wo" + "rk/x")


def test_the_licence_is_apache() -> None:
    text = read("LICENSE")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert PROJECT["project"]["license"] == {"file": "LICENSE"}, "what Flower's bundle wants"


def test_flowers_bundle_holds_entry_points_only() -> None:
    app = PROJECT["tool"]["flwr"]["app"]
    assert app["fab-include"] == ["server_app/**/*.py", "client_app/**/*.py", "/LICENSE"]
    assert app["components"] == {"serverapp": "server_app.app:app", "clientapp": "client_app.app:app"}


@pytest.mark.parametrize("side", ["server", "client"])
def test_an_entry_point_imports_the_federation_and_nothing_else(side: str) -> None:
    files = list((ROOT / f"{side}_app").rglob("*.py"))
    assert [path.name for path in files] == ["app.py"]
    body = ast.parse(files[0].read_text(encoding="utf-8")).body
    assert [type(statement) for statement in body] == [ast.Expr, ast.ImportFrom, ast.Assign]
    assert body[1].module == f"pfedsam_flower.federation.{side}"
    assert ast.unparse(body[2]) == f"app = build_{side}_app()"


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not here")
def test_a_copied_checkout_needs_an_environment_of_its_own(tmp_path: Path) -> None:
    stamps = set()
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        for file in ("Makefile", "requirements.lock", "pyproject.toml"):
            (tmp_path / name / file).write_text(read(file))
        for _ in range(2):
            done = subprocess.run(
                ["make", "-pn", "env"], cwd=tmp_path / name, capture_output=True, text=True
            ).stdout
            stamps.add(re.search(r"^STAMP := (\S+)", done, flags=re.MULTILINE).group(1))  # type: ignore[union-attr]
    assert len(stamps) == 2
    assert "rm -rf .venv" in done


def test_every_command_of_the_guides_is_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z]+):", read("Makefile"), flags=re.MULTILINE))
    assert {"env", "demo", "test", "check", "settings", "lock", "clean"} <= targets
    pages = [path for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md") if path.exists()]
    for path in pages:
        text = path.read_text(encoding="utf-8")
        named = set(re.findall(r"(?:^|`)make ([a-z]+)", text, flags=re.MULTILINE))
        assert named <= targets, f"{path.name}: {sorted(named - targets)}"


def test_no_file_is_too_long_to_read() -> None:
    long = {
        name: text.count("\n")
        for name, text in project_texts().items()
        if name.endswith(".py") and text.count("\n") > 350
    }
    assert long == {}


def test_linked_pages_exist() -> None:
    link = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
    for name, text in project_texts().items():
        if name.endswith(".md"):
            for target in link.findall(text):
                assert ((ROOT / name).parent / target).exists(), f"{name} links to {target}"


def test_every_method_is_on_its_page() -> None:
    from pfedsam_flower.contract.methods import METHODS

    page = (ROOT / "docs" / "reference" / "methods.md").read_text(encoding="utf-8")
    listed = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]
    assert listed == list(METHODS)
