"""What the sites said of their data before round 1, as a table: one row per site."""

from collections.abc import Mapping, Sequence
from typing import Any

Facts = Mapping[str, Any]
"""The fields of a ``PreflightReply`` as they stand in the history; what was left out is absent."""

HEADINGS = (
    "Site", "Patients", "Cases", "Slices", "Size", "Spacing mm", "Axes", "Channels", "Intensity",
    "Cases with (voxels)", "Empty", "Twice", "Findings",
)  # fmt: skip
AXES_SHOWN = 3


def rows(answers: Mapping[str, Facts], classes: Sequence[str]) -> list[tuple[str, ...]]:
    """The cells of each site in the order of ``HEADINGS``, sites in order of name."""
    return [_cells(site, facts, classes) for site, facts in sorted(answers.items())]


def as_text(answers: Mapping[str, Facts], classes: Sequence[str]) -> str:
    """The table in plain letters, columns aligned."""
    table = [HEADINGS, *rows(answers, classes)]
    widths = [max(len(row[i]) for row in table) for i in range(len(HEADINGS))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table)
    return "\n".join(line.rstrip() for line in lines)


def _cells(site: str, facts: Facts, classes: Sequence[str]) -> tuple[str, ...]:
    size = [_range(facts.get(name)) for name in ("height", "width")]
    spacing = [_range(facts.get(f"spacing_{name}")) for name in ("between", "row", "column")]
    ends = [facts.get(f"intensity_{end}") for end in ("low", "high")]
    axes = facts.get("orientations") or {}
    shown = " ".join(list(axes)[:AXES_SHOWN]) + (" …" if len(axes) > AXES_SHOWN else "")
    return (
        site,
        str(facts.get("patients", "–")),
        str(facts.get("cases", "–")),
        _range(facts.get("slices")),
        _joined(size),
        _joined(spacing),
        shown or "–",
        " ".join(facts.get("channels") or {}) or "–",
        f"{ends[0]['low']:g} to {ends[1]['high']:g}" if ends[0] and ends[1] else "–",
        ", ".join(_class(*pair) for pair in zip(classes, facts.get("classes") or (), strict=False)) or "–",
        str(facts.get("empty_masks", "–")),
        str(facts.get("duplicates", "–")),
        findings_text(facts),
    )


def findings_text(facts: Facts) -> str:
    """Codes and numbers of a site's findings; ``none`` when there are none."""
    parts = [
        f"{kind}: " + ", ".join(f"{code} {n}" for code, n in facts[kind].items())
        for kind in ("errors", "warnings")
        if facts.get(kind)
    ]
    return "; ".join([*(["refused"] if facts.get("refused") else []), *parts]) or "none"


def sentence(facts: Facts, classes: Sequence[str]) -> str:
    """The same in one line for a log."""
    _, patients, cases, slices, size, spacing, *_, classes_said, _, _, findings = _cells("", facts, classes)
    return (
        f"{patients} patients, {cases} cases, slices {slices}, size {size}, spacing {spacing} mm, "
        f"cases with {classes_said}; findings: {findings}"
    )


def _class(name: str, facts: Facts) -> str:
    if not facts.get("annotated"):
        return f"{name} not annotated"
    share = facts.get("share")
    return f"{name} {facts.get('cases')}" + (f" ({100 * share:.2g} %)" if share is not None else "")


def _range(ends: Mapping[str, float] | None) -> str:
    if not ends:
        return "–"
    low, high = f"{ends['low']:g}", f"{ends['high']:g}"
    return low if low == high else f"{low}–{high}"


def _joined(parts: list[str]) -> str:
    return "–" if all(part == "–" for part in parts) else " x ".join(parts)
