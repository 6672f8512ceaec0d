"""What a comparison consists of: sites, folds, seeds, and the runs that its rows need.

A run is known by an id made from all that its numbers depend on; rows with equal settings share it. Folds are
made once, written down beside the runs, and read from there ever after.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Literal

from ..contract.methods import METHODS
from ..data.findings import some
from ..data.folds import Folds, from_record, make_folds, to_record, with_few
from ..data.layouts import find_cases
from ..data.splits import declared_split
from ..errors import DataError, SettingsError
from ..federation.plan import read_plan
from ..settings.run import CoordinatorSettings, RunSettings
from ..settings.site import SiteSettings
from ..settings.sources import Flat, default_flat, findings, refuse, split_coordinator, to_flat
from ..site.files import write_whole
from .budget import settings_of, too_few_steps
from .rows import Budget, Row, Scalar

FEDERATION = "compare"
"""Name of the federation in every run, so that equal steps of different runs are equal."""
POOLED = "pooled"
"""Name of the one site that has everybody's patients."""
ADDED: dict[str, Scalar] = {"training.orthogonality": 0.0}
"""Settings that came after runs had been made, with the value that changes nothing: with it they are left out
of the id, so that those runs are still found."""
Experiment = Literal["main", "leave-one-out", "onboarding", "wrong-expert"]
"""``leave-one-out``: the global model of all other sites on every patient of a site, for each site.
``onboarding``: that, and what the site makes of it with a few patients of its own.
``wrong-expert``: each site's test patients with each site's experts."""
VERSIONS: dict[Experiment, int] = {"main": 1, "leave-one-out": 1, "onboarding": 2, "wrong-expert": 1}
"""Raised when the same settings give something else than before: what a former release made is made again."""

MEANING = ("labels", "channel", "images", "masks")
"""Settings of a site that decide which images and which masks count, wherever they lie."""
LEFT_OUT: tuple[Experiment, ...] = ("leave-one-out", "onboarding")
START_S, ROUND_S = 10.0, 7 * 86400.0
"""Deadlines: the sites are there at once or never, and work as long as they need."""


@dataclass(frozen=True)
class Run:
    """One run of a federation.

    Attributes:
        id: sixteen hexadecimal digits, made from the rest.
        flat: whole settings without the coordinator's.
        rows: names of the rows whose result it has.
        pooled: all patients at one site.
        unseen: name of the site that is left out and tested on, '' for none.
    """

    id: str
    flat: Flat
    seed: int
    fold: int
    rows: tuple[str, ...]
    pooled: bool
    unseen: str = ""


@dataclass(frozen=True)
class Protocol:
    """A comparison.

    Attributes:
        sites: that are divided into folds, in the order of their file.
        base: settings that all rows share, beside the defaults.
        seeds, folds_run: whose runs are asked for.
        budget: what all rows have as many of, see ``budget.settings_of``.
        checkpoint: path of the backbone's weights, '' for those in the package.
        experiment: what the runs are for.
        patients: that each site has at most to train on; None: all. ``folds`` holds no others.
    """

    sites: tuple[SiteSettings, ...]
    folds: Folds
    rows: Mapping[str, Row]
    base: Flat
    seeds: tuple[int, ...]
    folds_run: tuple[int, ...]
    budget: Budget = "global"
    checkpoint: str = ""
    experiment: Experiment = "main"
    patients: int | None = None

    def training(self, unseen: str) -> tuple[SiteSettings, ...]:
        """The sites that take part in a run."""
        return tuple(site for site in self.sites if site.site != unseen)


def make_protocol(
    output: Path,
    sites: Sequence[SiteSettings],
    rows: Mapping[str, Row],
    base: Flat,
    *,
    count: int,
    seeds: Sequence[int],
    folds: Sequence[int] = (),
    budget: Budget = "global",
    experiment: Experiment = "main",
    patients: int | None = None,
) -> Protocol:
    """The comparison that is asked for; writes ``folds.json`` into ``output`` when it is not there.

    Args:
        count: of folds.
        folds: numbers of those to run; all for none.
        patients: that each site has at most to train on, and a quarter as many to validate on; None: all.

    Raises:
        SettingsError: PFS-101 with every fault.
        DataError: as ``find_cases`` and ``make_folds``; PFS-206 when the recorded folds are of other
            patients, or a site divides its patients itself.
    """
    own_keys = ("seed", "federation.")
    refuse(
        [
            f"--set {key}: a comparison sets this itself" + (" (--seeds)" if key == "seed" else "")
            for key in base
            if key.startswith(own_keys) or key == "coordinator.folder"
        ]
        + [f"--fold {one}: the folds are 0 to {count - 1}" for one in folds if not 0 <= one < count]
        + (["--seeds: none is given"] if not seeds else [])
        + ([f"--patients {patients}: one is the least"] if patients is not None and patients < 1 else [])
        + _no_settings(default_flat() | base)
    )
    recorded = with_few(folds_of(output, sites, count), patients)
    kept = tuple(site for site in sites if site.site in recorded.sites)
    named = str(base.get("coordinator.checkpoint", ""))
    checkpoint = str(Path(named).absolute()) if named else kept[0].checkpoint if kept else ""
    kept = tuple(s.model_copy(update={"checkpoint": s.checkpoint or checkpoint}) for s in kept)
    shared = {key: value for key, value in base.items() if not key.startswith("coordinator.")}
    run = tuple(sorted(set(folds))) or tuple(range(count))
    if experiment == "wrong-expert":
        refuse(
            [
                f"--rows {name}: no site keeps anything of its own there that could be exchanged"
                for name, row in rows.items()
                if row.pooled or not METHODS[str(row.settings["method"])].has_personal
            ]
        )
    if experiment in LEFT_OUT:
        run = run if folds else (0,)
        refuse(_unfit(rows, kept, run, alone=experiment == "onboarding"))
    if experiment == "leave-one-out":
        rows = {name: replace(row, model="global") for name, row in rows.items()}
    seen = tuple(dict.fromkeys(seeds))
    return Protocol(kept, recorded, rows, shared, seen, run, budget, checkpoint, experiment, patients)


def _unfit(
    rows: Mapping[str, Row], sites: Sequence[SiteSettings], folds: Sequence[int], *, alone: bool
) -> list[str]:
    """Why a site cannot be left out in these rows, one sentence each; ``alone``: it may train so."""
    found = [
        f"--rows {name}: it has no model that another hospital could use"
        for name, row in rows.items()
        if (row.model == "alone" and not alone) or not METHODS[str(row.settings["method"])].has_global
    ]
    found += [f"{len(sites)} sites: leaving one out takes three"] * (len(sites) < 3)
    return found + ["--fold: one at a time, for each tests every patient of the site"] * (len(folds) > 1)


def folds_of(output: Path, sites: Sequence[SiteSettings], count: int) -> Folds:
    """The folds of ``output/folds.json``, checked against the sites; made and written when there are none."""
    patients: dict[str, set[str]] = {}
    for site in sites:
        cases = find_cases(site)
        if declared_split(cases) is not None:
            raise DataError(
                "PFS-206",
                f"{site.site} says itself who trains, validates and tests; a comparison tests everybody once",
                where=site.data,
                hint="leave the column split out of the manifest for this",
            )
        patients[site.site] = {case.patient for case in cases}
    path = output / "folds.json"
    if not path.exists():
        folds = make_folds(patients, count=count)
        write_whole(path, json.dumps(to_record(folds), indent=1).encode())
        return folds
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        record = f"{error}"
    folds = from_record(record, str(path))
    if folds.count != count:
        raise SettingsError(
            "PFS-101",
            f"--folds {count}: the comparison in this folder has {folds.count} folds",
            where=str(path),
            hint=f"use --folds {folds.count}, or another --output",
        )
    _refuse_others(folds, patients, path)
    return folds


def _refuse_others(folds: Folds, patients: Mapping[str, set[str]], path: Path) -> None:
    known = {site: set(splits[0].patients) for site, splits in folds.sites.items()}
    known |= {site: set(names) for site, names in folds.too_small.items()}
    different = [site for site in sorted(known.keys() | patients) if known.get(site) != patients.get(site)]
    if different:
        raise DataError(
            "PFS-206",
            f"the comparison in this folder is of other sites or patients: {some(different)}",
            where=str(path),
            hint="bring the patients back, or start another comparison with another --output",
            counts={"sites": len(different)},
        )


def runs_of(protocol: Protocol) -> list[Run]:
    """The runs that are needed, each once: by seed, then fold, then in the order of the rows.

    Where sites are left out, that for each of them. A row that does not ask for a model trained alone shares
    the run of one that does, all else being equal.

    Raises:
        SettingsError: PFS-101 with every fault of a row's settings.
    """
    refuse(too_few_steps(protocol.rows, protocol.base))
    found: dict[str, Run] = {}
    weights = _digest_of(protocol.checkpoint)
    left_out = [site.site for site in protocol.sites] if protocol.experiment in LEFT_OUT else [""]
    for seed, unseen in product(protocol.seeds, left_out):
        settings = {name: _flat(protocol, row, seed, unseen) for name, row in protocol.rows.items()}
        asked = list(settings.values())
        for fold, (name, row) in product(protocol.folds_run, protocol.rows.items()):
            more = settings[name] | {"evaluation.alone": True}
            flat = more if more in asked else settings[name]
            identity = _identity(protocol, flat, fold, weights, row.pooled, unseen)
            known = found.get(identity)
            rows = (*(known.rows if known else ()), name)
            found[identity] = Run(identity, flat, seed, fold, rows, row.pooled, unseen)
    return list(found.values())


def _no_settings(flat: Flat) -> list[str]:
    """Unknown keys, wrong types, out of range. What goes together is asked of each row."""
    run, own = split_coordinator(flat)
    coordinators = findings(CoordinatorSettings, own)[1]
    return findings(RunSettings, run)[1] + [f"coordinator.{problem}" for problem in coordinators]


def _flat(protocol: Protocol, row: Row, seed: int, unseen: str) -> Flat:
    sites = protocol.training(unseen)
    names = [POOLED] if row.pooled else [site.site for site in sites]
    flat = settings_of(row, protocol.base, len(sites), protocol.budget) | _of_federation(names)
    flat["seed"] = seed
    if unseen:
        flat["evaluation.alone"] = False
    return to_flat(read_plan(flat)[0])


def _of_federation(names: Sequence[str]) -> Flat:
    return {
        "federation.name": FEDERATION,
        "federation.sites": ",".join(names),
        "federation.minimum-sites": len(names),
        "federation.start-deadline-s": START_S,
        "federation.round-deadline-s": ROUND_S,
    }


def _identity(protocol: Protocol, flat: Flat, fold: int, weights: str, pooled: bool, unseen: str) -> str:
    counts = {key: value for key, value in flat.items() if not key.startswith("federation.")}
    training, folds = protocol.training(unseen), protocol.folds
    split = {site.site: asdict(folds.split(site.site, fold)) for site in training}
    whole = {
        "version": VERSIONS[protocol.experiment],
        "settings": {key: value for key, value in counts.items() if ADDED.get(key) != value},
        "fold": fold,
        "split": split,
        "meaning": {site.site: [getattr(site, key) for key in MEANING] for site in protocol.sites},
        "weights": weights,
        "pooled": pooled,
    }
    if protocol.experiment != "main":
        whole |= {"experiment": protocol.experiment, "unseen": unseen}
    if protocol.experiment == "onboarding":
        whole["newcomer"] = [asdict(one) for one in folds.sites[unseen]]
    text = json.dumps(whole, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _digest_of(checkpoint: str) -> str:
    """SHA-256 of the backbone's file, '' for none; whether it can be used, the run says."""
    path = Path(checkpoint)
    if not checkpoint or not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
