"""Flat keys ⇄ settings objects, with every finding at once and a suggestion for misspelt names."""

import difflib
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from ..errors import SettingsError
from .run import CoordinatorSettings, RunSettings, Section
from .shared import shared_data
from .site import PATHS, SiteSettings
from .text import read_toml

Flat = dict[str, str | int | float | bool]
SectionT = TypeVar("SectionT", bound=Section)


def to_flat(settings: Section, prefix: str = "") -> Flat:
    """Settings as Flower's flat run config: dotted keys with hyphens, tuples as comma strings."""
    flat: Flat = {}
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        key = prefix + (field.alias or name)
        if isinstance(value, Section):
            flat |= to_flat(value, key + ".")
        else:
            flat[key] = ",".join(value) if isinstance(value, tuple) else value
    return flat


def settings_digest(flat: Mapping[str, Any]) -> str:
    """Of all settings that a round's result depends on: not of who takes part, nor of how long one waits."""
    counts = {key: value for key, value in flat.items() if not key.startswith("federation.")}
    return hashlib.sha256(json.dumps(counts, sort_keys=True).encode()).hexdigest()


def findings(model: type[Section], flat: Mapping[str, Any]) -> tuple[Section | None, list[str]]:
    """The settings object (None when anything is wrong) and one sentence per fault."""
    nested: dict[str, Any] = {}
    problems = []
    for key, value in flat.items():
        *sections, name = key.split(".")
        table = nested
        for section in sections:
            table = table.setdefault(section, {})
            if not isinstance(table, dict):
                break
        else:
            table[name] = value
            continue
        problems.append(f"{key}: {sections[-1]} is a single value, not a table")
    try:
        settings = model.model_validate(nested)
    except ValidationError as error:
        known = known_keys(model)
        return None, problems + [_sentence(dict(fault), known) for fault in error.errors()]
    return (None, problems) if problems else (settings, [])


def class_problems(classes: Sequence[str]) -> list[str]:
    """Names that no class can have; one sentence each."""
    found = [
        f"classes: {name!r} is no name for a class: letters, digits and ._- only, a letter or digit first"
        for name in classes
        if not re.fullmatch(r"[^\W_][\w.-]*", name)
    ]
    return found + ["classes: a name is given twice"] * (len(set(classes)) != len(classes))


def known_keys(model: type[Section], prefix: str = "") -> list[str]:
    """Every flat key that ``model`` declares."""
    keys = []
    for name, field in model.model_fields.items():
        key = prefix + (field.alias or name)
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Section):
            keys += known_keys(inner, key + ".")
        else:
            keys.append(key)
    return keys


def _sentence(fault: dict[str, Any], known: list[str]) -> str:
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        return f"{key}: no such setting" + (f"; did you mean {close[0]}?" if close else "")
    if fault["type"] == "missing":
        return f"{key}: is required"
    reason = fault["msg"][0].lower() + fault["msg"][1:]
    return f"{key} = {fault['input']!r}: {reason}"


def suggest(value: str, known: list[str]) -> str:
    """'; did you mean x?' or the list of what is known."""
    close = difflib.get_close_matches(value, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else "known: " + ", ".join(known)


def refuse(problems: list[str], code: str = "PFS-101", where: str = "") -> None:
    """Raise one SettingsError that lists every problem; nothing to do for an empty list."""
    if problems:
        text = f"{len(problems)} setting(s) cannot be used:\n" + "\n".join(f"  - {p}" for p in problems)
        raise SettingsError(code, text, where=where, counts={"faults": len(problems)})


def split_coordinator(flat: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(run settings, coordinator settings) of one flat run config."""
    own = {k.removeprefix("coordinator."): v for k, v in flat.items() if k.startswith("coordinator.")}
    return {k: v for k, v in flat.items() if not k.startswith("coordinator.")}, own


def default_flat() -> Flat:
    """The whole ``[tool.flwr.app.config]`` table."""
    return to_flat(RunSettings()) | {f"coordinator.{k}": v for k, v in to_flat(CoordinatorSettings()).items()}


def differing(flat: Mapping[str, Any]) -> Flat:
    """Those of the run's and the coordinator's settings that are not their defaults."""
    defaults = default_flat()
    return {key: value for key, value in flat.items() if value != defaults.get(key)}


def differing_text(flat: Mapping[str, Any]) -> str:
    """One sentence for ``differing``'s answer, as it is printed before a run."""
    if not flat:
        return "all settings are the defaults"
    listed = ", ".join(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in flat.items())
    return f"settings that are not the defaults: {listed}"


def site_from_flat(flat: Mapping[str, Any], where: str = "--node-config") -> SiteSettings:
    """A site's own settings from its node config.

    Raises:
        SettingsError: PFS-102 with every fault.
    """
    site, problems = findings(SiteSettings, flat)
    refuse(problems + _escaped(flat), "PFS-102", where)
    assert isinstance(site, SiteSettings)
    return site


def _escaped(flat: Mapping[str, Any]) -> list[str]:
    """Texts with a sign that nobody types: TOML makes a tab of the back-slash and t of "C:\\temp"."""
    return [
        f"{key} = {value!r}: within double quotes a back-slash and the letter after it became one sign; "
        "write single quotes around the text, or / between folders"
        for key, value in flat.items()
        if isinstance(value, str) and any(ord(sign) < 32 for sign in value)
    ]


def sites_from_file(path: Path) -> list[SiteSettings]:
    """The ``[[site]]`` tables of a ``sites.toml``, to be used together; relative folders count from the file.

    Raises:
        SettingsError: PFS-102 when the file cannot be read, a table is not valid, or two sites have the
            same data.
    """
    sites = _sites_of(path)
    refuse(shared_data(sites), "PFS-102", str(path))
    return sites


def _sites_of(path: Path) -> list[SiteSettings]:
    tables = _read_toml(path).get("site", [])
    whole = isinstance(tables, list) and all(isinstance(table, dict) for table in tables)
    refuse(["site is not a list of [[site]] tables"] if not whole else [], "PFS-102", str(path))
    sites = [
        site_from_flat(table, where=f"{path}, [[site]] number {i + 1}") for i, table in enumerate(tables)
    ]
    refuse(["no [[site]] table in it"] if not sites else [], "PFS-102", str(path))
    names = [site.site for site in sites]
    refuse(
        [f"{n} is named more than once" for n in sorted({n for n in names if names.count(n) > 1})],
        "PFS-102",
        str(path),
    )
    return [_from_there(site, path) for site in sites]


def _from_there(site: SiteSettings, path: Path) -> SiteSettings:
    """The site with paths that count from the folder of its file, wherever a command is given; ~ is the home.

    Raises:
        SettingsError: PFS-102 for folders that are separated as on another system.
    """
    there, given = path.parent.resolve(), {k: getattr(site, k) for k in PATHS if getattr(site, k)}
    foreign = [
        f"{key} = {value!r}: this system has / between folders, not a back-slash"
        for key, value in given.items()
        if os.sep == "/" and "\\" in value
    ]
    refuse(foreign, "PFS-102", str(path))
    return site.model_copy(update={k: str(there / os.path.expanduser(value)) for k, value in given.items()})


def sites_in(path: Path) -> list[SiteSettings]:
    """The sites of a ``sites.toml``, or the one site of a node config, which names it at the top.

    Relative paths count from the file's folder.

    Raises:
        SettingsError: PFS-102 as ``sites_from_file``, but sites may have the same data: one may be chosen.
    """
    table = _read_toml(path)
    if not isinstance(table.get("site"), str):
        return _sites_of(path)
    return [_from_there(site_from_flat(table, str(path)), path)]


def read_site(file: Path, name: str | None) -> SiteSettings:
    """The site of a node config, or the one called ``name`` of a ``sites.toml``.

    Raises:
        SettingsError: PFS-102 with every fault, or when it is not clear which site is meant.
    """
    sites = sites_in(file)
    names = [site.site for site in sites]
    if name is None and len(sites) > 1:
        raise SettingsError(
            "PFS-102",
            f"the file has {len(sites)} sites: {', '.join(names)}",
            where=str(file),
            hint="say which one this machine is, with --site-name",
        )
    chosen = [site for site in sites if name in (None, site.site)]
    if not chosen:
        text = f"there is no site {name!r}; {suggest(str(name), names)}"
        raise SettingsError("PFS-102", text, where=str(file))
    return chosen[0]


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return read_toml(path)
    except (OSError, ValueError) as error:
        raise SettingsError("PFS-102", f"the file cannot be read: {error}", where=str(path)) from error
