"""The setting ``labels``: which mask values stand for which class."""

from ..settings.sources import refuse, suggest
from .readers import LARGEST_LABEL


def label_map(labels: str, classes: tuple[str, ...]) -> tuple[frozenset[int], ...]:
    """Mask values of each class, in order of ``classes``.

    An empty text gives the first class value 1, the second 2, and so on. A class that a text leaves
    out is not annotated at this site (empty set): it is kept out of loss and metrics, which is not
    the same as background.

    Args:
        labels: for example ``organ=128+255,lesion=255``; classes may overlap.

    Raises:
        SettingsError: PFS-102 with every fault.
    """
    values, problems = parse_labels(labels, classes)
    refuse(problems, "PFS-102", "the setting labels")
    return values


def parse_labels(labels: str, classes: tuple[str, ...]) -> tuple[tuple[frozenset[int], ...], list[str]]:
    """The mapping and one sentence per fault; with faults the mapping is not to be used."""
    if not labels.strip():
        return tuple(frozenset({i + 1}) for i in range(len(classes))), []
    found: dict[str, frozenset[int]] = {}
    problems = []
    for entry in labels.split(","):
        name, equals, text = (part.strip() for part in entry.partition("="))
        if not equals or not name:
            problems.append(f"labels: {entry.strip()!r} is not of the form class=value or class=value+value")
        elif name not in classes:
            problems.append(
                f"labels: {name!r} is not a class of the federation; {suggest(name, list(classes))}"
            )
        elif name in found:
            problems.append(f"labels: {name!r} is given twice; join its values with +")
        else:
            parts = [part.strip() for part in text.split("+")]
            wrong = [
                p
                for p in parts
                if not (p.isascii() and p.isdigit() and 0 < len(p) < 10 and 0 < int(p) <= LARGEST_LABEL)
            ]
            problems += [
                f"labels: {name}: {p!r} is not a whole number from 1 to {LARGEST_LABEL}" for p in wrong
            ]
            found[name] = frozenset() if wrong else frozenset(map(int, parts))
    return tuple(found.get(name, frozenset()) for name in classes), problems
