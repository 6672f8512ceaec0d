"""What is wrong with a site's data, collected so that it can be said all at once."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from ..errors import DataError, PfedsamError, SettingsError

SHOWN = 5


@dataclass(frozen=True)
class Finding:
    """One fault.

    Attributes:
        code: one of ``CODES``.
        text: a sentence that stays at the site.
        counts: numbers that may travel.
        where: the file, stays too.
        hint: the remedy.
        severity: a site with an error cannot take part; a warning is worth a look.
    """

    code: str
    text: str
    counts: dict[str, int] = field(default_factory=dict)
    where: str = ""
    hint: str = ""
    severity: Literal["error", "warning"] = "error"

    def sentence(self) -> str:
        """Text, file and remedy in one line."""
        return (
            self.text + (f" ({self.where})" if self.where else "") + (f"; {self.hint}" if self.hint else "")
        )


def of_error(error: PfedsamError) -> Finding:
    """An error as one finding among others."""
    return Finding(error.code, error.message, error.counts, error.where, error.hint)


def some(names: Iterable[object]) -> str:
    """The first five names, and how many there are when there are more."""
    listed = [str(name) for name in names]
    more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return ", ".join(listed[:SHOWN]) + more


def refuse(findings: list[Finding], where: str = "") -> None:
    """Raise one error that says every finding; nothing to do when none of them is an error.

    Raises:
        DataError: with the code of the first finding about data.
        SettingsError: when all findings are about settings.
    """
    findings = [finding for finding in findings if finding.severity == "error"]
    if not findings:
        return
    about_data = [finding for finding in findings if not finding.code.startswith("PFS-1")]
    kind: type[PfedsamError] = DataError if about_data else SettingsError
    counts: dict[str, int] = {}
    for finding in findings:
        for name, n in finding.counts.items():
            counts[name] = counts.get(name, 0) + n
    if len(findings) == 1:
        text = findings[0].sentence()
    else:
        text = f"{len(findings)} things are wrong:\n"
        text += "\n".join(f"  - {f.code} {f.sentence()}" for f in findings)
    raise kind((about_data or findings)[0].code, text, where=where, counts=counts)
