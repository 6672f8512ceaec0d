"""The settings as Flower's table of defaults and as a page, both written from the declarations.

``python -m pfedsam_flower.settings.reference`` writes them into a checkout (``make settings``);
``--check`` only compares.
"""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from .run import CoordinatorSettings, RunSettings, Section
from .site import SiteSettings
from .sources import default_flat

BEGIN = "# settings: written by `make settings`, do not edit by hand\n"
END = "# settings: end\n"
TABLE = "tool.flwr.app.config"

PAGE = """# Settings

Written by `make settings` from `pfedsam_flower/settings`; do not edit by hand.

Run settings are what the federation agrees on: they are given once, by whoever starts a run (in a TOML file,
`flwr run … --run-config run.toml`, or `--set lora.rank=4` with `pfedsam`), and travel to every site.
Coordinator settings are given the same way; no site uses them, but Flower hands every SuperNode the whole run
config. Site settings belong to the hospital (a TOML file, `flower-supernode --node-config north.toml`, or one
`[[site]]` table each in a `sites.toml`); no message carries them and no coordinator can set them.

```toml
# run.toml; what is not named has its default
rounds = 10
[lora]
rank = 4
```

Give Flower one file whose name ends in `.toml`. It takes texts, too (`--run-config "rounds=10 lora.rank=4"`),
but passes over what it does not understand: with blanks around `=` nothing is set, and of two texts that set
keys of one table the first is forgotten (seen with Flower 1.42). So the coordinator prints every setting that
is not its default before round 1, or that all are the defaults; `pfedsam status` and `report` show the run's.

A list is written as one text with commas. Unknown names, wrong types and values out of range are refused
before a run starts, all at once.
"""


def defaults_table() -> str:
    """``[tool.flwr.app.config]`` as TOML, one table per section; Flower flattens it to dotted keys."""
    blocks: dict[str, list[str]] = {}
    for key, value in default_flat().items():
        section, _, name = key.rpartition(".")
        # JSON's strings, numbers and booleans are TOML's
        blocks.setdefault(section, []).append(f"{name} = {json.dumps(value, ensure_ascii=False)}")
    names = {section: f"{TABLE}.{section}" if section else TABLE for section in blocks}
    return "\n".join("\n".join([f"[{names[s]}]", *lines]) + "\n" for s, lines in blocks.items())


def page() -> str:
    """The reference page as Markdown: key, default, allowed values and sentence of every setting."""
    parts = [
        PAGE,
        "\n## Run settings\n",
        *_rows(RunSettings),
        "\n## Coordinator settings\n",
        *_rows(CoordinatorSettings, "coordinator."),
        "\n## Site settings\n",
        *_rows(SiteSettings),
    ]
    return "\n".join(parts) + "\n"


def with_defaults(pyproject: str) -> str:
    """The text of a ``pyproject.toml`` with the table between the two marker lines renewed.

    Raises:
        ValueError: the markers are not there, once each and in order.
    """
    before, begin, rest = pyproject.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in after or END in after:
        raise ValueError("pyproject.toml has lost the marker comments around the settings")
    return before + BEGIN + defaults_table() + END + after


def _rows(model: type[Section], prefix: str = "") -> list[str]:
    head = ["| setting | default | allowed | what it is |", "| --- | --- | --- | --- |"]
    return head + [
        f"| `{key}` | {_default(field)} | {_allowed(field)} | {_cell(field.description or '')} |"
        for key, field in _leaves(model, prefix)
    ]


def _leaves(model: type[Section], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        key, inner = prefix + (field.alias or name), field.annotation
        if isinstance(inner, type) and issubclass(inner, Section):
            yield from _leaves(inner, key + ".")
        else:
            yield key, field


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value: Any = ",".join(field.default) if isinstance(field.default, tuple) else field.default
    return _code(json.dumps(value, ensure_ascii=False))


def _allowed(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(_code(f'"{choice}"') for choice in get_args(field.annotation))
    kinds: dict[Any, str] = {bool: "true, false", int: "whole number", float: "number", str: "text"}
    words = [kinds.get(field.annotation, "list")]
    for limit in field.metadata:
        for name, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<")):
            if (bound := getattr(limit, name, None)) is not None:
                words.append(f"{sign} {bound}")
        if getattr(limit, "min_length", None):
            words.append("not empty")
        if getattr(limit, "pattern", None):
            words.append(_code(limit.pattern))
    return ", ".join(words)


def _code(text: str) -> str:
    return f"`{_cell(text)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main(arguments: list[str]) -> int:
    """Writes both files of the checkout that holds this package; with ``--check`` says which are stale."""
    root = Path(__file__).parents[2]
    pyproject, reference = root / "pyproject.toml", root / "docs" / "reference" / "settings.md"
    wanted = {pyproject: with_defaults(pyproject.read_text(encoding="utf-8")), reference: page()}
    stale = [p for p, text in wanted.items() if not p.exists() or p.read_text(encoding="utf-8") != text]
    if "--check" in arguments:
        for path in stale:
            print(f"{path.relative_to(root)} is not current; run `make settings`", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(path.name + ".new")
        beside.write_text(wanted[path], encoding="utf-8")
        os.replace(beside, path)
        print(f"wrote {path.relative_to(root)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
