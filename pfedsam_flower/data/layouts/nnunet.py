"""An nnU-Net data set: dataset.json, imagesTr with the channel as last four digits, labelsTr.

Versions 2 and 1 of the description (nnU-Net's documentation/dataset_format.md), and the Medical
Segmentation Decathlon's, whose images carry no channel number. imagesTs has no labels and is not used.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...settings.site import SiteSettings
from ...settings.sources import suggest
from ...settings.text import read_json
from ..account import Account, account_of
from ..findings import Finding, some
from ..listing import Entry, Listing, files_below
from ..readers import LARGEST_LABEL, READERS
from .case import Case, Layout, Names, Survey, by_name, listed, outside, partners, patients_of, unmatched

UNUSED = ("imagesTs", "labelsTs", "imagesVal", "labelsVal")
DESCRIPTION = "dataset.json"
NUMBERED = re.compile(r"^(.+)_(\d{4})$")


@dataclass(frozen=True)
class Description:
    """What dataset.json says.

    Attributes:
        names: mask values by name, without background. channels: in order. ending: of the files.
        n_cases: how many there should be to train on, None where it does not say.
        listed: their masks by file name, as the Medical Segmentation Decathlon lists them; may be empty.
    """

    names: Names
    channels: tuple[str, ...]
    ending: str
    n_cases: int | None = None
    listed: tuple[str, ...] = ()


def survey(site: SiteSettings) -> Survey:
    """See ``Layout``."""
    data = Path(site.data)
    description, faults = read_description(data)
    if description is None:
        text = f"{data / DESCRIPTION} cannot be used: " + "; ".join(faults)
        return Survey([], [Finding("PFS-208", text, {"faults": len(faults)})])
    findings: list[Finding] = []
    files = listed(data / "imagesTr", "images", findings, description.ending)
    labels = listed(data / "labelsTr", "labels", findings, description.ending)
    masks = by_name(labels.entries, data / "labelsTr", findings)
    channel, problem = _channel(site.channel, description.channels)
    if problem:
        findings.append(Finding("PFS-102", problem))
    images, more = _images(files.entries, masks, channel, description)
    findings += more
    pairs = partners(images, masks)
    if files.entries and masks and not more:
        findings += unmatched(images, masks, pairs)
    patients, more = patients_of(site.patient, sorted(pairs))
    cases = [Case(one, patient, images[one].path, pairs[one].path) for one, patient in patients.items()]
    findings += more + _lacking(description, cases, data)
    used = [path for name in pairs for one in (images[name], pairs[name]) for path in one.files]
    return Survey(cases, findings, _account(site, files, labels, images, used))


def _account(
    site: SiteSettings, files: Listing, labels: Listing, images: dict[str, Entry], used: list[Path]
) -> Account:
    """What another channel shows of a case is passed over by rule."""
    data = Path(site.data)
    passed_over = files.passed_over | labels.passed_over
    chosen = {one.name: one.path for one in images.values()}
    for one in files.entries:
        if chosen.get(_numbered(one)[0].name, one.path) != one.path:
            passed_over |= dict.fromkeys(one.files, "rule")
    both = [path for one in (*files.entries, *labels.entries) for path in one.files]
    for path in files_below(data, without=(data / "imagesTr", data / "labelsTr")):
        passed_over[path] = _outside(path, data, Path(site.state))
    return account_of(data, both, used, passed_over)


def _outside(path: Path, data: Path, state: Path) -> str:
    parts = path.relative_to(data).parts
    if parts == (DESCRIPTION,):
        return "description"
    return "rule" if parts[0] in UNUSED else outside(path, state)


def _lacking(description: Description, cases: list[Case], data: Path) -> list[Finding]:
    """A warning where dataset.json speaks of other cases than are here: part of a download, for example."""
    have = {_suffixless(case.mask.name, description.ending) for case in cases}
    lacking = sorted(name for name in description.listed if _suffixless(name, description.ending) not in have)
    if description.n_cases in (None, len(cases)) and not lacking:
        return []
    promised = description.n_cases or len(description.listed)
    text = f"{DESCRIPTION} promises {promised} cases to train on, {len(cases)} are here"
    text += f"; lacking: {some(lacking)}" if lacking else ""
    if lacking or len(cases) < promised:
        hint = f"copy the data set again, or correct {DESCRIPTION} where cases were left out on purpose"
    else:
        hint = f"all are used; correct numTraining in {DESCRIPTION}, or take out what does not belong there"
    return [Finding("PFS-216", text, where=str(data / DESCRIPTION), hint=hint, severity="warning")]


def _suffixless(name: str, ending: str) -> str:
    return name.lower().removesuffix(ending.lower())


def read_description(data: Path) -> tuple[Description | None, list[str]]:
    """What dataset.json says, or one sentence per fault."""
    try:
        raw = read_json(data / DESCRIPTION)
    except (OSError, ValueError, RecursionError) as error:
        return None, [f"it cannot be read ({error})"]
    if not isinstance(raw, dict):
        return None, ["it is not a JSON object"]
    faults = []
    if "dataset" in raw:
        faults.append("it lists files outside of imagesTr under 'dataset'; write a manifest for them")
    names, more = _names(raw.get("labels"))
    faults += more
    channels, more = _channels(raw.get("channel_names", raw.get("modality")))
    faults += more
    ending = raw.get("file_ending", ".nii.gz")
    if not isinstance(ending, str) or ending.lower() not in READERS:
        faults.append(f"file_ending {ending!r} cannot be read here; known: {', '.join(READERS)}")
    n_cases = raw.get("numTraining")
    described = Description(
        names, channels, str(ending), int(str(n_cases)) if str(n_cases).isdecimal() else None, _listed(raw)
    )
    return (None, faults) if faults else (described, [])


def _listed(raw: dict[str, Any]) -> tuple[str, ...]:
    """File names of the masks in the Decathlon's list ``training``."""
    training = raw.get("training")
    rows = training if isinstance(training, list) else []
    return tuple(
        Path(row["label"]).name for row in rows if isinstance(row, dict) and isinstance(row.get("label"), str)
    )


def _names(labels: Any) -> tuple[Names, list[str]]:
    """Version 2 has values by name, version 1 names by value."""
    if not isinstance(labels, dict) or not labels:
        return {}, ["labels is missing"]
    if all(isinstance(name, str) for name in labels.values()):
        labels = {
            name: int(text) if text.isdecimal() and len(text) < 10 else text for text, name in labels.items()
        }
    if "ignore" in labels:
        return {}, [
            f"its label 'ignore' ({labels['ignore']}) marks pixels that nobody has annotated, and pixels "
            "cannot be left out here; leave out those cases, or complete them and delete the label"
        ]
    names, faults = {}, []
    for name, value in labels.items():
        values = value if isinstance(value, list) else [value]  # a list is a region: several values
        if not all(type(one) is int and 0 <= one <= LARGEST_LABEL for one in values) or not values:
            faults.append(f"label {name!r} has the value {value!r}; whole numbers are expected")
        elif name and set(values) != {0}:
            names[name] = frozenset(values) - {0}
    return names, faults


def _channels(channels: Any) -> tuple[tuple[str, ...], list[str]]:
    if not isinstance(channels, dict) or not channels:
        return (), ["channel_names (in version 1: modality) is missing"]
    numbers = [str(i) for i in range(len(channels))]
    if sorted(channels) != sorted(numbers):
        return (), [f"its channels are numbered {some(channels)}, not from 0 upwards"]
    return tuple(str(channels[number]) for number in numbers), []


def _channel(asked: str, channels: tuple[str, ...]) -> tuple[int | None, str]:
    """Number of the channel to use, None where the setting is empty or wrong; and what is wrong."""
    if not asked:
        return None, ""
    by_name = {str(i): i for i in range(len(channels))} | {name: i for i, name in enumerate(channels)}
    if asked in by_name:
        return by_name[asked], ""
    return None, f"channel = {asked!r} is not in the data set; {suggest(asked, list(by_name))}"


def _images(
    files: Iterable[Entry], masks: Mapping[str, Entry], channel: int | None, description: Description
) -> tuple[dict[str, Entry], list[Finding]]:
    """One image per case: the only file it has, or that of the channel."""
    stems = {one.stem for one in masks.values()}
    of_case: dict[str, dict[int, Entry]] = {}
    for file in files:
        one, number = (file, 0) if file.stem in stems else _numbered(file)
        of_case.setdefault(one.name, {})[number] = one
    if channel is None:
        several = [name for name, found in of_case.items() if len(found) > 1]
        if several:
            text = (
                f"{len(several)} cases have several channels ({', '.join(description.channels)}): "
                f"{some(several)}; say which one is used in the site setting channel"
            )
            return {}, [Finding("PFS-102", text, {"cases_of_several_channels": len(several)})]
        return {name: next(iter(found.values())) for name, found in of_case.items()}, []
    lacking = [name for name, found in of_case.items() if channel not in found]
    images = {name: found[channel] for name, found in of_case.items() if channel in found}
    if lacking:
        name = description.channels[channel]
        text = f"{len(lacking)} cases have no file of channel {name}: {some(lacking)}"
        return images, [Finding("PFS-202", text, {"cases_without_the_channel": len(lacking)})]
    return images, []


def _numbered(file: Entry) -> tuple[Entry, int]:
    """The entry under its case's name, and its channel: the last four digits of the stem, 0 without."""
    match = NUMBERED.match(file.stem)
    if not match:
        return file, 0
    parents = file.name.removesuffix(file.stem).removesuffix("-")
    folder = file.path.parent.name if parents else ""
    name = match[1] if folder == match[1] == parents else "-".join(filter(None, (parents, match[1])))
    return replace(file, name=name, stem=match[1]), int(match[2])


def _value_names(data: Path) -> Names:
    description, _ = read_description(data)
    return description.names if description else {}


LAYOUT = Layout(fits=lambda data: (data / DESCRIPTION).is_file(), survey=survey, names=_value_names)
