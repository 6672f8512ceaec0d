"""Is this machine fit to start its side of a federation; if not, what to do.

A check is a row in ``CHECKS``. None of them writes anything or sends more than a question.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ...errors import PfedsamError
from . import certificates, compute, folders, installation, network
from .subject import Outcome, Role, Status, Subject, failed, of_error, skipped

BOTH: tuple[Role, ...] = ("site", "coordinator")
SITE: tuple[Role, ...] = ("site",)
COORDINATOR: tuple[Role, ...] = ("coordinator",)


@dataclass(frozen=True)
class Check:
    """One row.

    Attributes:
        look: the check; errors of any kind make it a failed one.
        roles: the sides that it is for.
        after: checks without which it makes no sense: skipped when one of them failed or was skipped.
        unless: why it is skipped for a subject; empty: it is not.
    """

    look: Callable[[Subject], Outcome]
    roles: tuple[Role, ...] = BOTH
    after: tuple[str, ...] = ()
    unless: Callable[[Subject], str] = lambda subject: ""


@dataclass(frozen=True)
class Result:
    """What a check of this name found."""

    name: str
    status: Status
    text: str
    remedy: str = ""


def _no_superlink(subject: Subject) -> str:
    return "" if subject.superlink else "no --superlink HOST:PORT was given"


def _no_certificate(subject: Subject) -> str:
    named = subject.roots or subject.certificates
    return "" if named else "neither --root-certificates nor --certificate was given"


def _link(subject: Subject) -> network.Link:
    return network.link_of(subject.superlink, subject.insecure, subject.roots, subject.environment)


def _run_folder(subject: Subject) -> Path:
    assert subject.coordinator is not None
    return Path(subject.coordinator.folder) / subject.known_run().federation.name


SETTINGS = ("run settings", "site settings")
PLAN = (*SETTINGS, "plan")

CHECKS: dict[str, Check] = {
    "python": Check(lambda s: installation.python()),
    "packages": Check(lambda s: installation.packages()),
    "programs": Check(lambda s: installation.programs(s.role, s.environment.get("PATH"))),
    "software": Check(lambda s: installation.software()),
    "environment": Check(lambda s: installation.environment(s.role, s.environment)),
    "pytorch": Check(lambda s: installation.pytorch()),
    "erasing": Check(lambda s: installation.erasing(), COORDINATOR),
    "run settings": Check(folders.run_settings),
    "plan": Check(lambda s: folders.plan(s.known_run()), after=("pytorch", "run settings")),
    "site settings": Check(folders.site_settings, SITE),
    "data": Check(lambda s: folders.data(s.known_site(), s.known_run()), SITE, SETTINGS),
    "state folder": Check(lambda s: folders.writable(Path(s.known_site().state)), SITE, ("site settings",)),
    "rights": Check(folders.rights, after=("run settings",)),
    "run folder": Check(lambda s: folders.writable(_run_folder(s)), COORDINATOR, ("run settings",)),
    "lock": Check(lambda s: folders.lock(s.known_site(), s.known_run()), SITE, (*SETTINGS, "state folder")),
    "disk": Check(
        lambda s: folders.site_disk(s.known_site(), s.known_run()), SITE, (*PLAN, "data", "state folder")
    ),
    "run disk": Check(
        lambda s: folders.run_disk(_run_folder(s), s.known_run()), COORDINATOR, ("plan", "run folder")
    ),
    "weights": Check(lambda s: folders.weights(s.known_run(), s.checkpoint), after=SETTINGS),
    "device": Check(lambda s: compute.device(s.known_site().device), SITE, ("pytorch", "site settings")),
    "memory": Check(lambda s: compute.memory(s.known_site(), s.known_run()), SITE, (*PLAN, "device")),
    "threads": Check(lambda s: compute.threads(s.known_site().threads), SITE, ("site settings",)),
    "certificates": Check(
        lambda s: certificates.files(s.roots, s.certificates, s.role), unless=_no_certificate
    ),
    "proxy": Check(lambda s: network.proxy(s.environment)),
    "address": Check(
        lambda s: network.reach(s.superlink, s.insecure, s.roots, s.environment), unless=_no_superlink
    ),
    "tls": Check(lambda s: network.tls(_link(s)), after=("address",)),
    "superlink": Check(lambda s: network.flower(_link(s)), after=("tls",)),
    "exposure": Check(lambda s: network.exposure(_link(s)), after=("superlink",)),
    "clock": Check(lambda s: network.clock(_link(s)), after=("superlink",)),
}


def examine(subject: Subject, checks: dict[str, Check] = CHECKS) -> Iterator[Result]:
    """The results of all checks for this side, in order, each as soon as it is there."""
    found: dict[str, Status] = {}
    for name, check in checks.items():
        if subject.role not in check.roles:
            continue
        broken = [one for one in check.after if found.get(one) in ("failed", "skipped")]
        if broken:
            outcome = skipped(f"not looked at before {', '.join(broken)} is in order")
        elif reason := check.unless(subject):
            outcome = skipped(reason)
        else:
            outcome = _looked(check, subject)
        found[name] = outcome.status
        yield Result(name, outcome.status, outcome.text, outcome.remedy)


def _looked(check: Check, subject: Subject) -> Outcome:
    try:
        return check.look(subject)
    except PfedsamError as error:
        return of_error(error)
    except Exception as error:  # a doctor does not collapse at the sight of a patient
        said = " ".join(str(error).split())
        return failed(f"the check itself failed: {type(error).__name__}: {said}", "report this sentence")
