"""A manifest: a CSV or JSON file that names image, mask and patient of every case.

CSV has a header and one case a line, separated by commas, semicolons or tabs; JSON is a list of
objects. Relative paths start at the manifest's folder.
"""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ...settings.site import SiteSettings
from ...settings.sources import suggest
from ...settings.text import read_json, read_text
from ..findings import Finding
from ..readers import READERS, is_case_path, stem_of
from .alike import there_is
from .case import PARTS, Case, Layout, Survey

SUFFIXES = (".csv", ".json")
REQUIRED = ("image", "mask", "patient")
COLUMNS = (*REQUIRED, "id", "split")
SHOWN = 20

Row = tuple[str, dict[str, str]]  # where it stands ("line 3"), its values


def survey(site: SiteSettings) -> Survey:
    """See ``Layout``; the settings ``images``, ``masks`` and ``patient`` are not used."""
    path = Path(site.data)
    try:
        rows, faults = _read(path)
    except FileNotFoundError:
        return Survey([], [Finding("PFS-201", f"the manifest {path} is missing")])
    except (OSError, ValueError, csv.Error, RecursionError) as error:
        return Survey([], [Finding("PFS-208", f"the manifest {path} cannot be read: {error}", {"faults": 1})])
    cases = []
    for where, row in rows:
        case, wrong = _case(path.parent, row)
        faults += [f"{where}: {fault}" for fault in wrong]
        if case:
            cases.append((where, case))
    faults += _across(cases)
    findings = []
    if not rows and not faults:
        findings.append(Finding("PFS-201", f"the manifest {path} names no case"))
    if faults:
        rest = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        text = f"the manifest {path} has {len(faults)} faults: " + "; ".join(faults[:SHOWN]) + rest
        findings.append(Finding("PFS-208", text, {"faults": len(faults)}))
    return Survey(sorted((case for _, case in cases), key=lambda case: case.id), findings)


def _read(path: Path) -> tuple[list[Row], list[str]]:
    """Rows with the known columns, and faults of the form."""
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError("a file as 'data' is a manifest, and those end in .csv or .json")
    csv_file = path.suffix.lower() == ".csv"
    rows = list(_csv_rows(read_text(path)) if csv_file else _json_rows(read_json(path)))
    columns = list(dict.fromkeys(column for _, row in rows for column in row))
    faults = [f"column {c!r} is not known; {suggest(c, list(COLUMNS))}" for c in columns if c not in COLUMNS]
    if rows:
        faults += [f"column {name!r} is missing" for name in REQUIRED if name not in columns]
    return ([] if faults else rows), faults


def _csv_rows(text: str) -> Iterable[Row]:
    lines = text.split("\n")
    first = int(lines[0].strip('"').lower().startswith("sep="))  # Excel's own line on the separator
    separator = max(",;\t", key=lines[first].count) if len(lines) > first else ","
    reader = csv.reader((line + "\n" for line in lines[first:]), delimiter=separator, strict=True)
    columns = [name.strip() for name in next(reader, [])]
    columns = [name.lower() if name.lower() in COLUMNS else name for name in columns]
    if len(set(columns)) < len(columns):
        raise ValueError("a column stands in it twice")
    for cells in reader:
        if any(cell.strip() for cell in cells):
            if len(cells) != len(columns):
                raise ValueError(
                    f"line {reader.line_num + first} has {len(cells)} cells under {len(columns)} columns"
                )
            yield (
                f"line {reader.line_num + first}",
                {c: cell.strip() for c, cell in zip(columns, cells, strict=True)},
            )


def _json_rows(entries: Any) -> Iterable[Row]:
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("it is not a list of objects, one per case")
    for number, entry in enumerate(entries, 1):
        for name, value in entry.items():
            if isinstance(value, bool) or not isinstance(value, str | int):
                raise ValueError(f"entry {number}: {name} is neither a text nor a whole number")
        yield f"entry {number}", {name: str(value).strip() for name, value in entry.items()}


def _case(folder: Path, row: dict[str, str]) -> tuple[Case | None, list[str]]:
    """The case of one row, or what is wrong with it."""
    faults = [f"{name} is empty" for name in REQUIRED if not row.get(name)]
    if faults:
        return None, faults
    image, mask = _path(folder, row["image"]), _path(folder, row["mask"])
    for name, path in (("image", image), ("mask", mask)):
        if not _on_disk(path).exists():
            faults.append(f"{name} {row[name]} does not exist{there_is(_on_disk(path))}")
        elif not is_case_path(path):
            faults.append(
                f"{name} {row[name]} is of no known format; known: {', '.join(READERS)}, DICOM folders"
            )
    source = _on_disk(image)
    one = row.get("id") or (source.name if source.is_dir() else stem_of(source))
    if one.startswith(".") or any(sign in one for sign in "/\\\0"):
        faults.append(f"id {one!r} cannot be the name of a file")
    part = row.get("split", "")
    if part not in ("", *PARTS):
        faults.append(f"split {part!r} is not known; {suggest(part, list(PARTS))}")
    if faults:
        return None, faults
    return Case(one, row["patient"], image, mask, part), []


def _path(folder: Path, text: str) -> Path:
    """Where a cell leads; back-slashes separate folders, as on Windows, unless a file is called so."""
    asked = folder / text
    return asked if _on_disk(asked).exists() else folder / text.replace("\\", "/")


def _on_disk(path: Path) -> Path:
    """Without the series that a path may name after a #."""
    return path if path.exists() else path.with_name(path.name.rpartition("#")[0] or path.name)


def _across(cases: list[tuple[str, Case]]) -> list[str]:
    """What is wrong between rows: names and images used twice, a patient in two parts, parts left out."""
    faults = []
    ids: dict[str, str] = {}
    images: dict[Path, str] = {}
    parts: dict[str, tuple[str, str]] = {}
    divided = any(case.part for _, case in cases)
    for where, case in cases:
        first = ids.setdefault(case.id, where)
        if first != where:
            faults.append(f"{where}: the id {case.id} is that of {first}; give each its own in a column id")
        first = images.setdefault(case.image, where)
        if first != where:
            faults.append(f"{where}: its image is that of {first}")
        first, part = parts.setdefault(case.patient, (where, case.part))
        if divided and not case.part:
            faults.append(f"{where}: split is empty, while other cases have one")
        elif part != case.part and part:
            faults.append(f"{where}: patient {case.patient} is in {part} ({first}) and in {case.part}")
    return faults


LAYOUT = Layout(
    fits=lambda data: data.is_file() or (data.suffix.lower() in SUFFIXES and not data.is_dir()),
    survey=survey,
    names=lambda data: {},
)
