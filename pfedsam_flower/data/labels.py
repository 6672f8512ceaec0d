"""The setting ``labels``: which mask values stand for which class."""

import logging
import re
from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from ..settings.site import SiteSettings
from ..settings.sources import refuse, suggest
from .layouts import value_names
from .readers import LARGEST_LABEL
from .values import Values

log = logging.getLogger(__name__)
BACKGROUND = "background"
RANGE = re.compile(r"([0-9]{1,9})(?:\s*-\s*([0-9]{1,9}))?")


@dataclass(frozen=True)
class LabelMap:
    """Which values of a mask mean what.

    Attributes:
        classes: values of each class, in the federation's order; empty: not annotated at this site.
        background: values beside 0 that are none of the classes.
    """

    classes: tuple[Values, ...]
    background: Values = field(default_factory=Values)

    @property
    def annotated(self) -> tuple[bool, ...]:
        """Whether the site marks each class."""
        return tuple(bool(values) for values in self.classes)

    @property
    def known(self) -> Values:
        """Every value that a mask may hold."""
        return Values.union({0}, self.background, *self.classes)


def label_map(labels: str, classes: tuple[str, ...], names: Mapping[str, Set[int]] | None = None) -> LabelMap:
    """Mask values of each class, in order of ``classes``.

    An empty text gives each class the values of that name, where the data set itself names values;
    where it does not, the first class value 1, the second 2, and so on. A class that a text leaves
    out is not annotated at this site (empty set): it is kept out of loss and metrics, which is not
    the same as background. ``background=3+4`` says that these values are none of the classes. ``1-65535``
    are all values from 1 to 65535.

    Args:
        labels: for example ``organ=128+255,lesion=255``, ``prostate=PZ+TZ`` or ``nucleus=1-65535``; classes
            may overlap.
        names: mask values by the name that the data set gives them (``layouts.value_names``).

    Raises:
        SettingsError: PFS-102 with every fault.
    """
    values, problems = parse_labels(labels, classes, names)
    refuse(problems, "PFS-102", "the setting labels")
    return values


def labels_of(site: SiteSettings, classes: tuple[str, ...]) -> LabelMap:
    """``label_map`` of a site: its setting, and the names that its data set gives to values.

    Raises:
        SettingsError: PFS-102 with every fault.
    """
    values, problems = site_labels(site, classes)
    refuse(problems, "PFS-102", "the setting labels")
    return values


def site_labels(site: SiteSettings, classes: tuple[str, ...]) -> tuple[LabelMap, list[str]]:
    """``parse_labels`` of a site; what names of the data set have become stands in the log."""
    names = value_names(site)
    values, problems = parse_labels(site.labels, classes, names)
    if names and not problems:
        taken = zip(classes, values.classes, strict=True)
        told = ", ".join(f"{name}={v or 'not annotated'}" for name, v in taken)
        log.info("%s: mask values, the data set's own names considered: %s", site.site, told)
    return values, problems


def parse_labels(
    labels: str, classes: tuple[str, ...], names: Mapping[str, Set[int]] | None = None
) -> tuple[LabelMap, list[str]]:
    """The mapping and one sentence per fault; with faults the mapping is not to be used."""
    names = names or {}
    if not labels.strip():
        return _unsaid(classes, names)
    found: dict[str, Values] = {}
    problems = []
    for entry in labels.split(","):
        name, equals, text = (part.strip() for part in entry.partition("="))
        if not equals or not name:
            problems.append(f"labels: {entry.strip()!r} is not of the form class=value or class=value+value")
        elif name not in (*classes, BACKGROUND):
            problems.append(
                f"labels: {name!r} is not a class of the federation; {suggest(name, [*classes, BACKGROUND])}"
            )
        elif name in found:
            problems.append(f"labels: {name!r} is given twice; join its values with +")
        else:
            found[name], wrong = _values([part.strip() for part in text.split("+")], names)
            problems += [f"labels: {name}: {sentence}" for sentence in wrong]
    mapped = LabelMap(
        tuple(found.get(name, Values()) for name in classes),
        Values() if BACKGROUND in classes else found.get(BACKGROUND, Values()),
    )
    both = mapped.background.common(Values.union(*mapped.classes))
    problems += [f"labels: {Values([one])} is given as background and as a class" for one in both.ranges]
    return mapped, problems


def _unsaid(classes: tuple[str, ...], names: Mapping[str, Set[int]]) -> tuple[LabelMap, list[str]]:
    """Without a text: names of the data set that are the classes, or one value per class in order."""
    if not names:
        return LabelMap(tuple(Values.of({i + 1}) for i in range(len(classes)))), []
    if set(names) == set(classes):
        return LabelMap(tuple(Values.of(names[name]) for name in classes)), []
    example = f"{classes[0]}={'+'.join(names)}" if classes else ""
    return LabelMap(tuple(Values() for _ in classes)), [
        f"labels: the data set names its values {', '.join(names)}, the federation's classes are "
        f"{', '.join(classes)}; say which is which, for example {example}"
    ]


def _values(parts: list[str], names: Mapping[str, Set[int]]) -> tuple[Values, list[str]]:
    """Mask values of numbers, ranges and names, and one sentence per part that is none of these."""
    values: list[Values] = []
    wrong = []
    for part in parts:
        number = RANGE.fullmatch(part)
        first, last = (int(number[1]), int(number[2] or number[1])) if number else (0, 0)
        if 0 < first <= last <= LARGEST_LABEL and not (number and number[2] and part in names):
            values.append(Values([(first, last)]))
        elif part in names:
            values.append(Values.of(names[part]))
        elif names and not part[:1].isdigit():
            wrong.append(f"{part!r} is no name of the data set; {suggest(part, list(names))}")
        elif number and number[2] and first > last:
            wrong.append(f"{part!r} runs backwards; write {last}-{first}")
        else:
            wrong.append(
                f"{part!r} is not a whole number from 1 to {LARGEST_LABEL}, nor a range such as 1-65535"
            )
    return (Values() if wrong else Values.union(*values)), wrong
