"""An nnU-Net data set: dataset.json, imagesTr with the channel as last four digits, labelsTr.

Versions 2 and 1 of the description (nnU-Net's documentation/dataset_format.md), and the Medical
Segmentation Decathlon's, whose images carry no channel number. imagesTs has no labels and is not used.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...settings.site import SiteSettings
from ...settings.sources import suggest
from ...settings.text import read_json
from ..findings import Finding, some
from ..readers import LARGEST_LABEL, READERS
from .case import Case, Layout, Names, Survey, entries_in, patients_of, unmatched

DESCRIPTION = "dataset.json"
NUMBERED = re.compile(r"^(.+)_(\d{4})$")


@dataclass(frozen=True)
class Description:
    """What dataset.json says: mask values by name (no background), channels in order, file ending."""

    names: Names
    channels: tuple[str, ...]
    ending: str


def survey(site: SiteSettings) -> Survey:
    """See ``Layout``."""
    data = Path(site.data)
    description, faults = read_description(data)
    if description is None:
        text = f"{data / DESCRIPTION} cannot be used: " + "; ".join(faults)
        return [], [Finding("PFS-208", text, {"faults": len(faults)})]
    findings: list[Finding] = []
    files = entries_in(data / "imagesTr", "images", findings, description.ending)
    masks = entries_in(data / "labelsTr", "labels", findings, description.ending)
    channel, problem = _channel(site.channel, description.channels)
    if problem:
        findings.append(Finding("PFS-102", problem))
    images, more = _images(files, set(masks), channel, description)
    findings += more
    if files and masks and not more:
        findings += unmatched(images, masks)
    patients, more = patients_of(site.patient, sorted(images.keys() & masks.keys()))
    cases = [Case(one, patient, images[one], masks[one]) for one, patient in patients.items()]
    return cases, findings + more


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
    if not isinstance(ending, str) or ending not in READERS:
        faults.append(f"file_ending {ending!r} cannot be read here; known: {', '.join(READERS)}")
    return (None, faults) if faults else (Description(names, channels, ending), [])


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
    files: dict[str, Path], ids: set[str], channel: int | None, description: Description
) -> tuple[dict[str, Path], list[Finding]]:
    """One image per case: the only file it has, or that of the channel."""
    of_case: dict[str, dict[int, Path]] = {}
    for stem, path in files.items():
        match = None if stem in ids else NUMBERED.match(stem)
        one, number = (match[1], int(match[2])) if match else (stem, 0)
        of_case.setdefault(one, {})[number] = path
    if channel is None:
        several = [one for one, found in of_case.items() if len(found) > 1]
        if several:
            text = (
                f"{len(several)} cases have several channels ({', '.join(description.channels)}): "
                f"{some(several)}; say which one is used in the site setting channel"
            )
            return {}, [Finding("PFS-102", text, {"cases_of_several_channels": len(several)})]
        return {one: next(iter(found.values())) for one, found in of_case.items()}, []
    lacking = [one for one, found in of_case.items() if channel not in found]
    images = {one: found[channel] for one, found in of_case.items() if channel in found}
    if lacking:
        name = description.channels[channel]
        text = f"{len(lacking)} cases have no file of channel {name}: {some(lacking)}"
        return images, [Finding("PFS-202", text, {"cases_without_the_channel": len(lacking)})]
    return images, []


def _value_names(data: Path) -> Names:
    description, _ = read_description(data)
    return description.names if description else {}


LAYOUT = Layout(fits=lambda data: (data / DESCRIPTION).is_file(), survey=survey, names=_value_names)
