"""Cross-validation by patient within each site: every patient is tested once. Plain data, nothing on disk.

A fold of a site is a ``Split``. A run of the whole federation takes the fold of the same number from every
site, writes it where the site looks for its split, and the site goes on as it always does.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace

from ..errors import DataError, SettingsError
from .findings import some
from .splits import PARTS, Split

VERSION = 1


@dataclass(frozen=True)
class Folds:
    """The folds of a federation.

    Attributes:
        seed, count: what they were made from; a site with fewer patients than ``count`` has fewer folds.
        sites: by name, in the order of names; each patient of a site is in the test part of one fold.
        too_small: sites that cannot be divided, with their patients. They may serve as unseen or new sites.
    """

    seed: int
    count: int
    sites: dict[str, tuple[Split, ...]]
    too_small: dict[str, tuple[str, ...]]

    def split(self, site: str, run: int) -> Split:
        """The site's split in run 0..count-1; a site with fewer folds starts over."""
        return self.sites[site][run % len(self.sites[site])]

    def tested(self, site: str, run: int) -> tuple[str, ...]:
        """Patients whose test scores of this run count: nobody once the site is through its folds."""
        return self.sites[site][run].test if run < len(self.sites[site]) else ()


def make_folds(
    sites: Mapping[str, Iterable[str]], *, count: int = 5, validation_share: float = 0.2, seed: int = 0
) -> Folds:
    """Folds that depend on a site's patients and on the seed: not on their order, nor on other sites.

    Args:
        sites: names of the patients by site; repeated ones count once.
        count: of folds. Test parts of a site differ by one patient at most.
        validation_share: of the site's patients, rounded, one at least; taken from the folds that follow, so
            that validation goes round as testing does.

    Raises:
        SettingsError: PFS-101 for fewer than two folds or a share outside 0..1.
        DataError: PFS-203 when no site can be divided.
    """
    if count < 2 or not 0 < validation_share < 1:
        raise SettingsError(
            "PFS-101",
            f"{count} folds with {validation_share} for validation: two folds are the least, and the "
            "share is above 0 and below 1",
        )
    divided: dict[str, tuple[Split, ...]] = {}
    too_small: dict[str, tuple[str, ...]] = {}
    for site in sorted(sites):
        patients = sorted(set(sites[site]), key=lambda patient: (_rank(seed, patient), patient))
        n = min(count, len(patients))
        # the largest test part must leave one patient to train and one to validate
        if n < 2 or len(patients) - -(-len(patients) // n) < 2:
            too_small[site] = tuple(sorted(patients))
        else:
            divided[site] = _divide(patients, n, validation_share)
    if not divided:
        raise DataError(
            "PFS-203",
            f"no site has enough patients for {count} folds: {some(list(too_small))}",
            hint="a site needs three patients at least",
            counts={"sites": len(too_small)},
        )
    return Folds(seed, count, divided, too_small)


def _divide(ranked: list[str], count: int, validation_share: float) -> tuple[Split, ...]:
    groups = [ranked[fold::count] for fold in range(count)]
    folds = []
    for fold, test in enumerate(groups):
        rest = [patient for group in groups[fold + 1 :] + groups[:fold] for patient in group]
        n_validation = min(max(1, int(len(ranked) * validation_share + 0.5)), len(rest) - 1)
        parts = (rest[n_validation:], rest[:n_validation], test)
        folds.append(Split(*(tuple(sorted(part)) for part in parts)))
    return tuple(folds)


def with_few(folds: Folds, n_train: int | None) -> Folds:
    """The folds when each site has few patients of its own: the same tests, less to train and validate on.

    Args:
        n_train: training patients that each fold keeps at most, and a quarter as many (one at least) to
            validate on; those of a smaller number are among those of a larger one. None keeps all.
    """
    if n_train is None:
        return folds
    n_validation = max(1, n_train // 4)

    def few(split: Split) -> Split:
        return replace(first_of(split, n_train), validation=_first(split.validation, n_validation))

    return replace(folds, sites={site: tuple(map(few, splits)) for site, splits in folds.sites.items()})


def first_of(split: Split, count: int | None) -> Split:
    """The split with at most so many training patients; those of a smaller number are among them."""
    return replace(split, train=_first(split.train, count))


def _first(patients: tuple[str, ...], count: int | None) -> tuple[str, ...]:
    ranked = sorted(patients, key=lambda p: hashlib.sha256(p.encode("utf-8", "surrogateescape")).digest())
    return tuple(sorted(ranked[:count]))


def split_record(folds: Folds, site: str, run: int) -> dict[str, object]:
    """The content of the site's ``split.json`` for this run, as ``splits`` writes and reads it."""
    return {"version": 1, "seed": folds.seed, **asdict(folds.split(site, run))}


def to_record(folds: Folds) -> dict[str, object]:
    """Plain data for a JSON file. It names patients: it stays where the patients' data are."""
    return {"version": VERSION, **asdict(folds)}


def from_record(record: object, where: str = "") -> Folds:
    """The folds of a record, checked: what was written down is what counts, whatever would be made today.

    Raises:
        DataError: PFS-206 with all findings: not such a record; a patient who is tested twice or never,
            stands in two parts of a fold or is missing from one; a part without anybody.
    """
    try:
        folds = _read(record)
        findings = [text for site, splits in folds.sites.items() for text in check_folds(site, splits)]
        if both := sorted(folds.sites.keys() & folds.too_small.keys()):
            findings.append(f"divided and too small at once: {some(both)}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        findings = [f"it is not a record of folds of version {VERSION}: {error!r}"]
    if findings:
        raise DataError(
            "PFS-206",
            f"the recorded folds cannot be used: {'; '.join(findings)}",
            where=where,
            hint="restore the record from a backup; with other folds, earlier scores are not comparable",
        )
    return folds


def check_folds(site: str, folds: tuple[Split, ...]) -> list[str]:
    """What is wrong with a site's folds, one sentence each."""
    found = []
    everybody = set().union(*(split.patients for split in folds))
    tests = Counter(patient for split in folds for patient in split.test)
    for patient in sorted(everybody):
        if tests[patient] != 1:
            found.append(f"{site}: {patient} is tested {tests[patient]} times")
    for number, split in enumerate(folds):
        parts = [getattr(split, part) for part in PARTS]
        if not all(parts):
            found.append(f"{site}: a part of fold {number} has nobody in it")
        if sum(map(len, parts)) != len(split.patients):
            found.append(f"{site}: somebody stands in fold {number} twice")
        if missing := sorted(everybody - split.patients):
            found.append(f"{site}: fold {number} lacks {some(missing)}")
    if len(folds) < 2:
        found.append(f"{site}: {len(folds)} folds")
    return found


def _read(record: object) -> Folds:
    if not isinstance(record, dict) or record["version"] != VERSION:
        raise ValueError("version")
    sites = {
        str(site): tuple(Split(*(_names(fold[part]) for part in PARTS)) for fold in record["sites"][site])
        for site in sorted(record["sites"])
    }
    too_small = {str(site): _names(record["too_small"][site]) for site in sorted(record["too_small"])}
    return Folds(int(record["seed"]), int(record["count"]), sites, too_small)


def _names(part: object) -> tuple[str, ...]:
    if not isinstance(part, list | tuple) or not all(isinstance(name, str) for name in part):
        raise ValueError("a part must be a list of names")
    return tuple(part)


def _rank(seed: int, patient: str) -> bytes:
    return hashlib.sha256(f"fold/{seed}/{patient}".encode("utf-8", "surrogateescape")).digest()
