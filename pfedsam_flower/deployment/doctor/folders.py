"""Settings, data, folders and weights of one side. Nothing is written, not even to try."""

import fcntl
import os
import shutil
from pathlib import Path

from ...data.layouts import find_cases
from ...data.planes import slicing_of
from ...data.readers import read_grid, read_image
from ...data.samples import check_site
from ...data.splits import plan_split
from ...errors import PfedsamError
from ...federation.plan import combinations
from ...model.sam.backbones import BACKBONES
from ...model.sam.files import file_digest, weights_file
from ...settings.run import RunSettings
from ...settings.site import SiteSettings
from ...site import estimates
from ...site.paths import cache_path, split_path, store_folder
from .. import rights as rules
from .subject import Outcome, Subject, failed, of_error, ok, skipped, warning

MIB = 1 << 20
ROOM = 2.0
"""With less than so many times the estimate free a warning is given."""


def run_settings(subject: Subject) -> Outcome:
    """The run's settings, each for itself."""
    if "run" in subject.faults:
        raise subject.faults["run"]
    run = subject.known_run()
    return ok(
        f"federation {run.federation.name}, method {run.method}, {run.backbone.name} at {run.image.size} "
        f"pixels, batches of {run.training.batch_size}, classes {', '.join(run.classes)}"
    )


def plan(run: RunSettings) -> Outcome:
    """The run's settings together: rows that exist, values that go with each other."""
    problems = combinations(run)
    if problems:
        return failed("; ".join(problems), "give the settings as the coordinator will, with --set KEY=VALUE")
    return ok("the settings can be carried out together")


def site_settings(subject: Subject) -> Outcome:
    """The site's own settings."""
    if "site" in subject.faults:
        raise subject.faults["site"]
    site = subject.known_site()
    return ok(f"{site.site}: data {site.data}, state {site.state}, device {site.device}")


def data(site: SiteSettings, run: RunSettings) -> Outcome:
    """The cheap look at the data that the first message of a run makes too."""
    remedy = "pfedsam check-data says more about each file"
    try:
        counts = check_site(site, run, split_path(site, run.federation.name))
    except PfedsamError as error:
        return of_error(error, remedy)
    return ok(f"{counts.train}, {counts.validation} and {counts.test} patients to train, validate and test")


def writable(folder: Path) -> Outcome:
    """Whether a folder can be written, or made where it is not there yet."""
    there = nearest(folder)
    where = f"{folder}" if there == folder else f"{folder} (to be made in {there})"
    if not there.is_dir():
        return failed(f"{there} is no folder, so {folder} cannot be one", "name another folder")
    if not os.access(there, os.W_OK | os.X_OK):
        return failed(f"{where} cannot be written by this user", "mend the rights, or name another folder")
    return ok(f"{where} can be written")


def rights(subject: Subject) -> Outcome:
    """Whether others may change or read what is this side's alone; what is not there yet has no faults."""
    if subject.role == "site":
        if subject.site is None:
            return skipped("not looked at before site settings is in order")
        said = rules.of_site(subject.site) + (rules.of_file(subject.file) if subject.file else [])
        good = "state folder, approvals, key and authority are this account's alone"
    else:
        assert subject.coordinator is not None
        named = (Path(subject.coordinator.enrolment), *subject.certificates)
        said = rules.of_coordinator(dict.fromkeys(path.parent for path in named if path.name))
        said += rules.faults(Path(subject.coordinator.folder))
        good = "keys, enrolment, database and run folder that are named here are this account's alone"
    if not said:
        return ok(good)
    what, remedies = zip(*(text.rpartition(": ")[::2] for text in said), strict=True)
    return failed("; ".join(what), "; ".join(remedies))


def nearest(path: Path) -> Path:
    """``path`` itself, or the closest one above it that is there."""
    path = path.absolute()
    return next(one for one in (path, *path.parents) if os.path.lexists(one))


def lock(site: SiteSettings, run: RunSettings) -> Outcome:
    """Whether another process works in the site's state folder at this moment."""
    path = store_folder(site, run.federation.name, run.method) / ".lock"
    if not path.exists():
        return ok("no process has worked here yet")
    handle = os.open(path, os.O_RDONLY)
    try:
        # Shared, and given back at once: whoever wants it for himself tries again within 0.1 s.
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return failed(
            f"another process works in {path.parent}",
            "this site is at work already; do not start it twice, or wait until its round is over",
        )
    finally:
        os.close(handle)
    return ok("no other process works in the state folder")


def site_disk(site: SiteSettings, run: RunSettings) -> Outcome:
    """Free space against prepared images and personal state, less what of them is there already."""
    prepared = prepared_bytes(site, run)
    kept = _size(cache_path(site, run.federation.name))
    personal = estimates.store_bytes(run)
    need = max(0, prepared - kept) + personal
    what = f"prepared images {prepared / MIB:.0f} MiB, {kept / MIB:.0f} of them there"
    return room(Path(site.state), need, f"{what}; personal state {personal / MIB:.0f} MiB")


def run_disk(folder: Path, run: RunSettings) -> Outcome:
    """Free space against the shared parameters of every round, all of which are kept."""
    need = (run.rounds + 1) * estimates.message_bytes(run)
    return room(folder, need, f"shared parameters of {run.rounds} rounds; Flower's own database comes on top")


def room(folder: Path, need: int, what: str) -> Outcome:
    """Free space of a folder's disk against ``need`` bytes."""
    free = shutil.disk_usage(nearest(folder)).free
    text = f"{free / MIB:.0f} MiB free, about {need / MIB:.0f} needed ({what})"
    remedy = f"free some space, or name a folder on another disk instead of {folder}"
    if free < need:
        return failed(text, remedy)
    return warning(text, remedy) if free < ROOM * need else ok(text)


def prepared_bytes(site: SiteSettings, run: RunSettings) -> int:
    """Size of the arrays that a site prepares from its images, from headers and the first case's channels.

    Per pixel float32 for each channel; masks float16 per class on training's squares, bool on the cases'
    own grids (``data.samples``).
    """
    cases = find_cases(site)
    split = plan_split(split_path(site, run.federation.name), cases, site, run.seed)
    channels, n_classes, total = read_image(cases[0].image).values.shape[-1], len(run.classes), 0
    for case in cases:
        grid = read_grid(case.image)
        n, height, width = (grid.shape[axis] for axis in slicing_of(grid, run.image.plane).axes)
        if case.patient in split.train:
            total += n * run.image.size**2 * (4 * channels + 2 * n_classes)
        elif case.patient in split.patients:
            total += n * height * width * (4 * channels + n_classes)
    return total


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.npy"))


def weights(run: RunSettings, checkpoint: str) -> Outcome:
    """The backbone's file, and its digest against the published one where there is one."""
    if run.backbone.name not in BACKBONES:
        return skipped("there is no such backbone")
    path = weights_file(run.backbone.name, checkpoint)
    row, digest = BACKBONES[run.backbone.name], file_digest(path)
    if not checkpoint:
        kind = "the package's own"
    elif path.name == row.file and row.sha256:
        kind = "the published file"
    else:
        kind = "no digest of it is published: compare it with the other sites'"
    return ok(f"{path.name}, {path.stat().st_size / MIB:.0f} MiB, SHA-256 {digest[:16]}…, {kind}")
