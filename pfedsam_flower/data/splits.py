"""Which patients train, validate and test. Written once, never changed silently."""

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import DataError, StoreError
from ..settings.site import SiteSettings
from ..settings.text import read_json
from .findings import some
from .layouts import PARTS, Case

__all__ = ["PARTS", "Split", "declared_split", "load_or_make_split", "make_split", "plan_split"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Split:
    """Patients of each part, sorted; no patient is in two parts and no part is empty."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    @property
    def patients(self) -> set[str]:
        """Everybody in the split."""
        return {*self.train, *self.validation, *self.test}


def make_split(patients: Iterable[str], validation_share: float, test_share: float, seed: int) -> Split:
    """A split that depends on who the patients are and on the seed, not on their order.

    Args:
        patients: names; repeated ones count once.
        validation_share, test_share: shares of the patients, rounded, at least one patient each.

    Raises:
        DataError: PFS-203 for fewer than three patients.
    """
    ranked = sorted(set(patients), key=lambda patient: (_rank(seed, patient), patient))
    n = len(ranked)
    if n < len(PARTS):
        raise DataError(
            "PFS-203",
            f"{n} patient(s) cannot be divided into training, validation and testing, which need one each",
            hint="this site cannot train, but it can use a model that other sites have trained; "
            "if one patient has several files, check the setting 'patient'",
            counts={"patients": n},
        )
    n_test = min(max(1, int(n * test_share + 0.5)), n - 2)
    n_validation = min(max(1, int(n * validation_share + 0.5)), n - n_test - 1)
    cut = n_test + n_validation
    parts = (ranked[cut:], ranked[n_test:cut], ranked[:n_test])
    return Split(*(tuple(sorted(part)) for part in parts))


def declared_split(cases: list[Case]) -> Split | None:
    """The split that the site has decided itself (column split of a manifest); None where it has not.

    Raises:
        DataError: PFS-203 when it leaves a part without a patient.
    """
    parts = {part: sorted({case.patient for case in cases if case.part == part}) for part in PARTS}
    if not any(parts.values()):
        return None
    for part, patients in parts.items():
        if not patients:
            raise DataError(
                "PFS-203",
                f"the site's own split has no patient for {part}",
                hint="name all three parts in the column split, or none",
            )
    return Split(**{part: tuple(patients) for part, patients in parts.items()})


def load_or_make_split(path: Path, cases: list[Case], site: SiteSettings, seed: int) -> Split:
    """The recorded split of ``path``; on first use it is made, or the site's own taken, and recorded there.

    Raises:
        DataError: PFS-203 too few patients; PFS-206 the record is damaged, a patient in it has no files
            any more, or the site's own split now says otherwise. The record is never overwritten.
        StoreError: PFS-604 when it cannot be written.
    """
    split = plan_split(path, cases, site, seed)
    if not path.exists():
        _write(path, {"version": 1, "seed": seed, **asdict(split)})
    return split


def plan_split(path: Path, cases: list[Case], site: SiteSettings, seed: int) -> Split:
    """The same, without writing anything."""
    patients = {case.patient for case in cases}
    declared = declared_split(cases)
    if not path.exists():
        return declared or make_split(patients, site.validation_share, site.test_share, seed)
    split = _read(path)
    if declared:
        _refuse_moved(split, declared, path)
    missing = sorted(split.patients - patients)
    if missing:
        raise DataError(
            "PFS-206",
            f"{len(missing)} of the {len(split.patients)} recorded patients are gone: {some(missing)}",
            where=str(path),
            hint="bring the files back; or, for a new federation only, move the record away and start anew",
            counts={"missing_patients": len(missing)},
        )
    new = sorted(patients - split.patients)
    if new:
        log.warning("%d new patients are not in the recorded split and stay unused: %s", len(new), some(new))
    return split


def _refuse_moved(split: Split, declared: Split, path: Path) -> None:
    """PFS-206 when a recorded patient has been moved to another part since."""
    moved = [
        f"{patient} from {old} to {new}"
        for old in PARTS
        for new in PARTS
        if old != new
        for patient in getattr(split, old)
        if patient in getattr(declared, new)
    ]
    if moved:
        raise DataError(
            "PFS-206",
            f"the manifest moves {len(moved)} patients to another part than is recorded: {some(moved)}",
            where=str(path),
            hint="undo that; or, for a new federation only, move the record away and start anew",
            counts={"moved_patients": len(moved)},
        )


def _rank(seed: int, patient: str) -> bytes:
    return hashlib.sha256(f"split/{seed}/{patient}".encode("utf-8", "surrogateescape")).digest()


def _read(path: Path) -> Split:
    """A recorded split, or PFS-206 for whatever is wrong with the record."""
    try:
        record = read_json(path)
        split = Split(*(tuple(_names(record[part])) for part in PARTS))
        if len(split.patients) != sum(len(getattr(split, part)) for part in PARTS):
            raise ValueError("a patient stands in it twice")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise DataError(
            "PFS-206",
            f"the recorded split cannot be used: {reason}",
            where=str(path),
            hint="restore it from a backup; a new one would test on patients that were trained on",
        ) from error
    return split


def _names(part: object) -> list[str]:
    if not isinstance(part, list) or not part or not all(isinstance(name, str) for name in part):
        raise ValueError("each of train, validation and test must be a list of patients, not empty")
    return part


def _write(path: Path, record: dict[str, object]) -> None:
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # it names patients: for its owner only
        with os.fdopen(
            os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8"
        ) as file:
            json.dump(record, file, indent=1)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise StoreError("PFS-604", f"the split cannot be recorded: {error}", where=str(path)) from error
