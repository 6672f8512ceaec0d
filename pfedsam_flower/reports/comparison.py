"""The report on a comparison: tables for people, everything for programs, pictures."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..evaluation.comparison import Comparison
from .comparison_plots import PICTURES
from .comparison_tables import as_markdown
from .files import write_text


def write_comparison(comparison: Comparison, folder: Path) -> list[Path]:
    """Writes ``comparison.md``, ``comparison.json`` and the pictures there is data for; returns their paths.

    A picture that an earlier report left in ``folder`` and that there is no data for now is removed.

    Raises:
        StoreError: PFS-604 when a file cannot be written.
    """
    pictures = []
    for name, (_, write) in PICTURES.items():
        path = write(comparison, folder / name)
        if path is None:
            (folder / name).unlink(missing_ok=True)
        else:
            pictures.append(path)
    markdown, data = folder / "comparison.md", folder / "comparison.json"
    captions = {path.name: PICTURES[path.name][0] for path in pictures}
    write_text(markdown, as_markdown(comparison, captions))
    write_text(data, json.dumps(as_json(comparison), indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return [markdown, data, *pictures]


def as_json(comparison: Comparison) -> dict[str, Any]:
    """All of the comparison as plain data, with full precision; null where something is not defined."""
    return asdict(comparison)
