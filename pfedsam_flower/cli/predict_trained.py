"""``pfedsam predict INPUT --run RUN``: masks of a trained run, and scores where there are references."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import PfedsamError, SettingsError, StoreError

if TYPE_CHECKING:
    from ..data.account import Account
    from ..data.inputs import Input, Inputs
    from ..evaluation.case_scores import ClassScore, Mean
    from ..settings.site import SiteSettings
    from ..site.predicting import Predicted, Wanted, Watch
    from ..site.trained import Trained, Which

FAILED, PASSED_OVER = 1, 3
OVERLAP = (
    "where several classes claim a voxel it has the last one of them; classes/ holds each whole (--per-class)"
)


def run(args: argparse.Namespace) -> int:
    """Masks of every input; the exit status.

    1 when an input failed, whose sentence has then been said; 3 when files were passed over that may have
    been meant; 0 otherwise.
    """
    from ..data.inputs import find_inputs
    from .render import say

    site = named_site(args.sites, args.site)
    which: Which = args.model or "deployed"
    found = find_inputs(args.input, args.references)
    inputs = found.inputs
    new_folder(args.output)

    from ..site.trained import open_trained  # torch: seconds

    trained = open_trained(args.run, which, site, args.checkpoint)
    wanted = _wanted(args, site, trained)
    _make(args.output)
    labels = _write_labels(trained, which, site, args)
    if not args.json:
        say(f"{which} model, {trained}")
    cases, rows = [], []
    for one, done in _each(trained, inputs, wanted, quiet=args.json):
        if isinstance(done, PfedsamError):
            print(done.local(), file=sys.stderr)
            cases.append({"case": one.name, "image": str(one.path), "error": done.local()})
            continue
        cases.append(_case(one, done, trained))
        rows += done.scores
        if args.references:
            from ..reports.scores import write_scores

            write_scores(rows, args.output / "scores.csv")
        if not args.json:
            say(_sentence(one, done, trained))
    failed = sum("error" in case for case in cases)
    if args.json:
        summary = _summary(trained, which, labels, cases, rows, args)
        print(json.dumps(summary | {"passed_over": _passed_over(found)}, indent=2))
    else:
        for sentence in (*_closing_sentences(rows, args.output, len(inputs), failed), *_told(found)):
            say(sentence)
    doubtful = any(account.doubtful for account in _accounts(found))
    return FAILED if failed else PASSED_OVER * doubtful


def _accounts(found: "Inputs") -> "list[Account]":
    return [account for account in (found.account, found.references) if account is not None]


def _told(found: "Inputs") -> list[str]:
    """What of the folders was passed over, where something was."""
    from ..data.account import told

    return [line for account in _accounts(found) if account.passed_over for line in told(account)]


def _passed_over(found: "Inputs") -> dict[str, list[str]]:
    """The files passed over by reason, of images and references."""
    reasons: dict[str, list[str]] = {}
    for account in _accounts(found):
        for reason, paths in account.passed_over.items():
            reasons.setdefault(reason, []).extend(map(str, paths))
    return reasons


def named_site(path: Path | None, name: str | None) -> "SiteSettings | None":
    """The site of a sites.toml with that name, or of a node config, which is one site's; None without a file.

    Raises:
        SettingsError: PFS-102 the file cannot be used, PFS-103 it has no such site, or is missing.
    """
    from ..settings.sources import sites_in, suggest

    if path is None:
        if name is None:
            return None
        raise SettingsError("PFS-103", f"--site {name} needs --sites FILE, which says where its state is")
    sites = sites_in(path)
    if name is None and len(sites) > 1:
        names = ", ".join(site.site for site in sites)
        raise SettingsError(
            "PFS-103", f"{path} has {len(sites)} sites: {names}", hint="choose one with --site NAME"
        )
    found = [site for site in sites if name in (None, site.site)]
    if not found:
        raise SettingsError(
            "PFS-103", f"{path} has no site {name}; {suggest(str(name), [site.site for site in sites])}"
        )
    return found[0]


def new_folder(folder: Path) -> None:
    """Nothing when ``folder`` does not exist or is an empty one.

    Raises:
        StoreError: PFS-604 otherwise, or when its name cannot be given to every writer.
    """
    from ..data.readers.names import can_be_given, printable

    if not can_be_given(folder.absolute()):
        raise StoreError(
            "PFS-604",
            "the folder's name, or that of one above it, has bytes that are no UTF-8 or control characters; "
            "nothing was written.",
            where=printable(folder),
            hint="choose another one with --output",
        )
    try:
        used = any(folder.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(
            "PFS-604", f"the folder cannot be used: {error.strerror}.", where=str(folder)
        ) from error
    if used:
        raise StoreError(
            "PFS-604",
            "the folder is not empty; nothing was written.",
            where=str(folder),
            hint="choose another one with --output: masks of different models must not get mixed",
        )


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            "PFS-604", f"the folder cannot be made: {error.strerror}.", where=str(folder)
        ) from error


def _wanted(args: argparse.Namespace, site: "SiteSettings | None", trained: "Trained") -> "Wanted":
    from ..data.labels import label_map, site_labels
    from ..evaluation.case_scores import TOLERANCE
    from ..settings.sources import refuse
    from ..site.predicting import Wanted

    labels = label_map("", trained.run.classes)
    if args.references and site is not None:
        labels, problems = site_labels(site, trained.run.classes)
        refuse(problems, "PFS-102", f"{site.site}: the setting labels")
    tolerance = TOLERANCE if args.tolerance is None else args.tolerance
    return Wanted(args.output, args.per_class, args.probabilities, labels, tolerance)


def _write_labels(
    trained: "Trained", which: str, site: "SiteSettings | None", args: argparse.Namespace
) -> dict[str, int]:
    """labels.json: which value is which class, and which model said so."""
    from ..reports.files import write_text

    labels = {"background": 0} | {name: k for k, name in enumerate(trained.run.classes, 1)}
    content = {
        "labels": labels,
        "overlap": OVERLAP,
        "model": which,
        "federation": trained.run.federation.name,
        "round": trained.round,
        "site": site.site if site and which != "global" else None,
        "mix": trained.shares,
    }
    write_text(args.output / "labels.json", json.dumps(content, indent=2) + "\n")
    return labels


def _each(
    trained: "Trained", inputs: "Sequence[Input]", wanted: "Wanted", *, quiet: bool
) -> "Iterator[tuple[Input, Predicted | PfedsamError]]":
    from ..site.predicting import predict_case

    with _bar(quiet) as watch_of:
        for number, one in enumerate(inputs, 1):
            try:
                yield one, predict_case(trained, one, wanted, watch_of(f"{number}/{len(inputs)} {one.name}"))
            except PfedsamError as error:
                yield one, error


@contextmanager
def _bar(quiet: bool) -> Iterator[Any]:
    """Yields a function: a text → what ``predict_case`` calls; a bar on a terminal, else nothing."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from .render import console

    out = console()
    if quiet or not out.is_terminal:
        yield lambda text: lambda done, total: None
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("slices"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=out, transient=True) as bar:
        task = bar.add_task("")

        def watch_of(text: str) -> "Watch":
            bar.reset(task, description=text)
            return lambda done, total: bar.update(task, completed=done, total=total)

        yield watch_of


def _case(one: "Input", done: "Predicted", trained: "Trained") -> dict[str, Any]:
    found: dict[str, dict[str, Any]] = {}
    scores = {row.name: row for row in done.scores}
    for name, voxels in zip(trained.run.classes, done.voxels, strict=True):
        found[name] = {"voxels": voxels, "ml": None if done.voxel_ml is None else voxels * done.voxel_ml}
        if name in scores:
            row = scores[name]
            found[name] |= {"dice": row.dice, "hd95": row.hd95, "nsd": row.nsd, "unit": row.unit}
    return {
        "case": one.name,
        "image": str(one.path),
        "files": [str(path) for path in done.files],
        "classes": found,
        "voxels_of_several_classes": done.shared_voxels,
    }


def _summary(
    trained: "Trained",
    which: str,
    labels: dict[str, int],
    cases: list[dict[str, Any]],
    rows: "list[ClassScore]",
    args: argparse.Namespace,
) -> dict[str, Any]:
    from dataclasses import asdict

    from ..evaluation.case_scores import mean_scores

    return {
        "model": which,
        "federation": trained.run.federation.name,
        "round": trained.round,
        "mix": trained.shares,
        "labels": labels,
        "cases": cases,
        "failed": sum("error" in case for case in cases),
        "scores": str(args.output / "scores.csv") if rows else None,
        "means": [asdict(mean) for mean in mean_scores(rows)],
    }


def _sentence(one: "Input", done: "Predicted", trained: "Trained") -> str:
    scores = {row.name: row for row in done.scores}
    parts = []
    for name, voxels in zip(trained.run.classes, done.voxels, strict=True):
        size = f"{voxels} voxels" if done.voxel_ml is None else _volume(voxels * done.voxel_ml)
        dice = f", Dice {_number(scores[name].dice)}" if name in scores else ""
        parts.append(f"{name} {size}{dice}")
    return f"{one.name}: {'; '.join(parts)}; {done.files[0]}"


def _volume(ml: float) -> str:
    return f"{ml:.1f} ml" if ml >= 0.1 or not ml else f"{ml:.2g} ml"  # a cell is no 0.0 ml


def _closing_sentences(rows: "list[ClassScore]", folder: Path, n: int, failed: int) -> list[str]:
    from ..evaluation.case_scores import mean_scores

    sentences = [_mean_sentence(mean, rows[0].tolerance) for mean in mean_scores(rows)]
    if rows:
        sentences.append(f"scores: {folder / 'scores.csv'}")
    return [*sentences, f"{n - failed} of {n} written to {folder}; values in {folder / 'labels.json'}"]


def _mean_sentence(mean: "Mean", tolerance: float) -> str:
    text = f"{mean.name}: mean Dice {_number(mean.dice)} over {mean.n_dice} case(s)"
    if mean.unit == "mixed":
        return f"{text}; some distances are in mm, some in pixels: see the file"
    return (
        f"{text}; HD95 {_number(mean.hd95, 2)} {mean.unit} and NSD at {tolerance:g} {mean.unit} "
        f"{_number(mean.nsd)} over the {mean.n_surface} where mask and reference both have it"
    )


def _number(value: float | None, digits: int = 3) -> str:
    return "undefined" if value is None else f"{value:.{digits}f}"
