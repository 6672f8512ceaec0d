"""What is in a bundle (Flower's FAB), told to a person who is to allow it. Nothing of it runs."""

import ast
import hashlib
import io
import lzma
import tokenize
import tomllib
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PACKAGE = "pfedsam_flower"
PLAIN = ("utf-8", "utf8", "utf-8-sig")
LARGEST = 20 * 1024 * 1024
"""Bytes of all files together, unpacked."""
UNREADABLE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, ValueError, RuntimeError, OSError, EOFError,
              IndexError, MemoryError)  # fmt: skip
NOT_CODE = ("pyproject.toml", "LICENSE", ".info/CONTENT")
BACKEND, BUILDERS = "setuptools.build_meta", ("setuptools",)
CLIENT, SERVER = "client_app", "server_app"
"""Folders of the two entry points; nothing in the second one runs at a site."""
TOO_DEEP = (RecursionError, MemoryError)
"""What Python's own readers raise for text that is nested without end."""


@dataclass(frozen=True)
class BundledFile:
    """A file of a bundle; ``text`` is "" where it is not text in UTF-8."""

    name: str
    n_bytes: int
    sha256: str
    text: str


@dataclass(frozen=True)
class Bundle:
    """A bundle that was read, or what kept it from being read.

    Attributes:
        app: what Flower loads at a site, as ``module:name``; "" where the bundle does not say.
        remarks: one sentence each about what is not as in a thin bundle; empty: it only calls the package.
    """

    sha256: str
    files: tuple[BundledFile, ...]
    app: str
    remarks: tuple[str, ...]


def digest_of(content: bytes) -> str:
    """The bundle's hash, as Flower names it."""
    return hashlib.sha256(content).hexdigest()


def read_bundle(content: bytes) -> Bundle:
    """The bundle's files and what there is to say about them; never raises for what it holds."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = [info for info in archive.infolist() if not info.is_dir()]
            if sum(info.file_size for info in entries) > LARGEST:
                raise ValueError("its files are too large")
            bodies = [archive.read(info) for info in entries]
    except UNREADABLE as error:
        return Bundle(digest_of(content), (), "", (f"the bundle cannot be read: {error}",))
    files = tuple(_file(info.filename, body) for info, body in zip(entries, bodies, strict=True))
    app = _app(files)
    return Bundle(digest_of(content), files, app, tuple(_remarks(files, bodies, app)))


def _file(name: str, body: bytes) -> BundledFile:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = ""
    return BundledFile(name, len(body), hashlib.sha256(body).hexdigest(), text)


def _app(files: tuple[BundledFile, ...]) -> str:
    for file in files:
        if file.name == "pyproject.toml":
            try:
                table: Any = tomllib.loads(file.text)
                return str(table["tool"]["flwr"]["app"]["components"]["clientapp"])
            except (tomllib.TOMLDecodeError, KeyError, TypeError, *TOO_DEEP):
                return ""
    return ""


def _remarks(files: tuple[BundledFile, ...], bodies: list[bytes], app: str) -> list[str]:
    found = []
    if not app:
        found.append("pyproject.toml does not say what a site is to load")
    if any(file.name.split("/")[0] == PACKAGE for file in files):
        found.append(f"it carries a {PACKAGE} of its own, in place of the one that is installed here")
    found += [one for file in files if file.name == "pyproject.toml" for one in _asks_for(file.text)]
    entry = app.partition(":")[0].replace(".", "/") + ".py"
    names = Counter(file.name for file in files)
    if app and entry not in names:
        found.append(f"{entry}, which a site loads, is not in it")
    found += [f"{name} stands in it more than once" for name, n in sorted(names.items()) if n > 1]
    for file, body in zip(files, bodies, strict=True):
        if file.name.endswith(".py") and file.name.startswith((f"{CLIENT}/", f"{SERVER}/")):
            found += [f"{file.name} {what}" for what in _own_code(body)]
        elif file.name not in NOT_CODE:
            found.append(f"{file.name} is neither an entry point nor the licence")
    return found


def _asks_for(text: str) -> list[str]:
    """What a bundle's ``pyproject.toml`` would have installed or built beside what is installed here."""
    try:
        table: Any = tomllib.loads(text)
        project, build, uv = (table.get(key, {}) for key in ("project", "build-system", "tool"))
        extras = [one for many in project.get("optional-dependencies", {}).values() for one in many]
        wanted = [*project.get("dependencies", ()), *extras]
        known = {_requirement(one) for one in _requires()}
        found = [
            f"pyproject.toml asks for {one}, which the package that is installed here does not"
            for one in map(str, wanted)
            if _requirement(one) not in known
        ]
        tools = [one for one in build.get("requires", ()) if _requirement(one)[0] not in BUILDERS]
        backend = str(build.get("build-backend", BACKEND))
        if tools or backend != BACKEND or "backend-path" in build:
            found.append(f"pyproject.toml is built by {', '.join([backend, *map(str, tools)])}")
        if "uv" in uv:
            found.append("pyproject.toml tells uv where packages come from ([tool.uv])")
        return found
    except (tomllib.TOMLDecodeError, AttributeError, TypeError, ValueError, *TOO_DEEP):
        return ["pyproject.toml cannot be read: what it asks for is not known"]


def _requires() -> list[str]:
    try:
        return requires("pfedsam-flower") or []
    except PackageNotFoundError:  # then every one is new
        return []


def _requirement(text: str) -> tuple[str, str, str]:
    one = Requirement(text)
    return canonicalize_name(one.name), str(one.specifier), one.url or ""


def _own_code(content: bytes) -> list[str]:
    """What a Python file does beside importing from the package and calling functions of it.

    Read from its bytes, as Python does: what a line says in another encoding is not what a reviewer sees.
    """
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        if encoding not in PLAIN:
            return [f"is written in {encoding}, so it may not say what is shown here: do not allow it"]
        content.decode()
        body = ast.parse(content).body
    except (SyntaxError, ValueError, *TOO_DEEP):
        return ["is not Python that can be read"]
    names: set[str] = set()
    for statement in body:
        if isinstance(statement, ast.ImportFrom) and _of_the_package(statement):
            names |= {alias.asname or alias.name for alias in statement.names}
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue  # its docstring
        elif not _hands_over(statement, names):
            return [f"has code of its own (line {statement.lineno}): read it before you allow it"]
    return []


def _of_the_package(statement: ast.ImportFrom) -> bool:
    return statement.level == 0 and (statement.module or "").split(".")[0] == PACKAGE


def _hands_over(statement: ast.stmt, names: set[str]) -> bool:
    if not (isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call)):
        return False
    if not all(isinstance(target, ast.Name) for target in statement.targets):
        return False  # an attribute or an item would be changed somewhere else
    call = statement.value
    return isinstance(call.func, ast.Name) and call.func.id in names and not call.args and not call.keywords
