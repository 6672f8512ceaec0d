"""What became of the files of a data folder: each is used, passed over with a reason, or in a finding.

The three parts add up to all files, by the way an account is made.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .findings import Finding
from .listing import REASONS
from .readers.names import printable

EXAMPLES = 3


@dataclass(frozen=True)
class Account:
    """Files, each in one part.

    Attributes:
        folder: what was looked through.
        used: they belong to a case.
        faulty: a finding speaks of them: no partner, a name that stands twice.
        passed_over: by reason, a key of ``REASONS``.
    """

    folder: Path
    used: tuple[Path, ...] = ()
    faulty: tuple[Path, ...] = ()
    passed_over: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)

    @property
    def n_files(self) -> int:
        """All of them."""
        return len(self.used) + len(self.faulty) + self.n_passed_over

    @property
    def n_passed_over(self) -> int:
        """Those that are neither used nor in a finding."""
        return sum(len(paths) for paths in self.passed_over.values())

    @property
    def doubtful(self) -> dict[str, tuple[Path, ...]]:
        """What is passed over and may have been meant as data."""
        return {reason: paths for reason, paths in self.passed_over.items() if REASONS[reason][1]}


def account_of(
    folder: Path, files: Iterable[Path], used: Iterable[Path], passed_over: Mapping[Path, str]
) -> Account:
    """The account of ``files``: what is neither used nor passed over is in a finding.

    Args:
        passed_over: reason by file; a file that is used all the same counts as used.
    """
    taken = set(used)
    faulty: list[Path] = []
    over: dict[str, list[Path]] = {reason: [] for reason in REASONS}
    for path in sorted({*files, *taken, *passed_over}, key=os.fspath):
        if path not in taken:
            (over[passed_over[path]] if path in passed_over else faulty).append(path)
    named = {reason: tuple(paths) for reason, paths in over.items() if paths}
    return Account(folder, tuple(sorted(taken, key=os.fspath)), tuple(faulty), named)


def told(account: Account) -> list[str]:
    """A line with the sum, and one for each reason, with the first three files."""
    parts = [f"{len(account.used)} used"]
    parts += [f"{len(account.faulty)} in a finding"] * bool(account.faulty)
    parts += [f"{account.n_passed_over} passed over"] * bool(account.n_passed_over)
    lines = [f"{account.n_files} files below {account.folder}: {', '.join(parts)}"]
    return lines + [f"  {_said(account, reason, paths)}" for reason, paths in account.passed_over.items()]


def plain(account: Account) -> dict[str, Any]:
    """The account for programs: how many files, and the names of those that are not used."""
    return {
        "folder": str(account.folder),
        "files": account.n_files,
        "used": len(account.used),
        "in_findings": [str(path) for path in account.faulty],
        "passed_over": {
            reason: [str(path) for path in paths] for reason, paths in account.passed_over.items()
        },
    }


def findings_of(account: Account) -> list[Finding]:
    """A warning for each reason for which data may have been passed over."""
    return [
        Finding(
            "PFS-216",
            f"passed over: {_said(account, reason, paths)}",
            {"files_passed_over": len(paths)},
            hint=REASONS[reason][1],
            severity="warning",
        )
        for reason, paths in account.doubtful.items()
    ]


def _said(account: Account, reason: str, paths: tuple[Path, ...]) -> str:
    names = [
        printable(path.relative_to(account.folder) if path.is_relative_to(account.folder) else path)
        for path in paths
    ]
    more = f" and {len(names) - EXAMPLES} more" if len(names) > EXAMPLES else ""
    return f"{len(names)} {REASONS[reason][0]}: {', '.join(names[:EXAMPLES])}{more}"
