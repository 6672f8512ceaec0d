"""A site's own data in numbers, for its own eyes: exact, per site."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ..data.checks import Examination, repeated


def fact_rows(found: Examination) -> list[tuple[str, ...]]:
    """Name, least, median and largest value over the cases that can be used; at least one."""
    facts = found.facts
    spacings = [one.spacing_mm for one in facts if one.spacing_mm]
    rows = []
    for axis, name in enumerate(("slices", "rows", "columns")):
        rows.append(_row(name, [one.shape[axis] for one in facts]))
    for axis, name in enumerate(("mm between slices", "mm per row", "mm per column")):
        if spacings:
            rows.append(_row(name, [spacing[axis] for spacing in spacings]))
    for place, percent in ((1, 1), (2, 50), (3, 99)):
        rows.append(_row(f"intensity, {percent} %", [one.intensity[place] for one in facts]))
    for k, name in enumerate(found.classes):
        if found.annotated[k]:
            rows.append(_row(f"voxels of {name}", [one.voxels[k] for one in facts]))
    return rows


def fact_lines(found: Examination) -> list[str]:
    """What is counted, in sentences."""
    facts = found.facts
    parts = ", ".join(f"{n} {part}" for part, n in found.patients.items())
    n_patients = len({one.patient for one in facts})
    lines = [f"{len(facts)} of {found.n_cases} cases can be used, of {n_patients} patients"
             + (f"; patients in the split: {parts}" if parts else "")]  # fmt: skip
    if not facts:
        return lines
    axes = Counter(one.axes or "not known" for one in facts)
    channels = Counter(one.channels for one in facts)
    lines.append(f"stored axes: {_counted(axes)}; channels: {_counted(channels)}")
    present = [
        f"{name} in {sum(one.voxels[k] > 0 for one in facts)}"
        if found.annotated[k]
        else f"{name} not annotated"
        for k, name in enumerate(found.classes)
    ]
    empty = sum(not any(one.voxels) for one in facts)
    twice = sum(len(group) - 1 for group in repeated(facts))
    lines.append(f"cases with: {', '.join(present)}; empty masks: {empty}; images seen before: {twice}")
    unspaced = sum(one.spacing_mm is None for one in facts)
    if unspaced:
        lines.append(f"without spacing: {unspaced}")
    return lines


def _row(name: str, values: Sequence[float]) -> tuple[str, ...]:
    return name, *(f"{float(value):.6g}" for value in (min(values), np.median(values), max(values)))


def _counted(counts: Counter[str] | Counter[int]) -> str:
    return ", ".join(f"{name} ({n})" for name, n in counts.most_common())
