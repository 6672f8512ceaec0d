"""What is wrong with a site's data, collected so that it can be said all at once."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from ..errors import DataError, PfedsamError, SettingsError

SHOWN = 5


@dataclass(frozen=True)
class Finding:
    """One fault: a code of ``CODES``, a sentence that stays at the site, numbers that may travel."""

    code: str
    text: str
    counts: dict[str, int] = field(default_factory=dict)


def of_error(error: PfedsamError) -> Finding:
    """An error as one finding among others."""
    text = error.message + (f" ({error.where})" if error.where else "")
    return Finding(error.code, text + (f"; {error.hint}" if error.hint else ""), error.counts)


def some(names: Iterable[object]) -> str:
    """The first five names, and how many there are when there are more."""
    listed = [str(name) for name in names]
    more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return ", ".join(listed[:SHOWN]) + more


def refuse(findings: list[Finding], where: str = "") -> None:
    """Raise one error that says every finding; nothing to do for an empty list.

    Raises:
        DataError: with the code of the first finding about data.
        SettingsError: when all findings are about settings.
    """
    if not findings:
        return
    about_data = [finding for finding in findings if not finding.code.startswith("PFS-1")]
    kind: type[PfedsamError] = DataError if about_data else SettingsError
    counts: dict[str, int] = {}
    for finding in findings:
        for name, n in finding.counts.items():
            counts[name] = counts.get(name, 0) + n
    if len(findings) == 1:
        text = findings[0].text
    else:
        text = f"{len(findings)} things are wrong:\n" + "\n".join(f"  - {f.code} {f.text}" for f in findings)
    raise kind((about_data or findings)[0].code, text, where=where, counts=counts)
