"""What a run gave, as one JSON file: settings, costs, numbers of every round, scores of every test case.

It does not know rows: a run serves several. It names patients, so it stays where their data are.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from ..contract.methods import METHODS
from ..errors import StoreError
from ..reports.history import History, collect, read_events
from ..settings.site import SiteSettings
from ..site.paths import store_folder
from ..site.recall import Recall, forgetful
from ..site.scores import FILE, CaseScore, read_scores
from .elsewhere import exchanged_scores, unseen_scores
from .onboarding import onboarded_scores
from .pooling import unpooled_name
from .protocol import FEDERATION, Protocol, Run

VERSION = 1
COLUMNS = {"site", *(field.name for field in fields(CaseScore))}
Record = dict[str, Any]


def run_path(output: Path, identity: str) -> Path:
    """Where a run's record is kept."""
    return output / "runs" / f"{identity}.json"


def to_bytes(record: Mapping[str, Any]) -> bytes:
    """A record as it is written."""
    return (json.dumps(record, indent=1) + "\n").encode("utf-8", "surrogateescape")


def record_of(
    protocol: Protocol,
    run: Run,
    sites: Sequence[SiteSettings],
    folder: Path,
    facts: Mapping[str, Any],
    recall: Recall = forgetful,
) -> Record:
    """The record of a run that has just ended.

    Args:
        sites: as they took part. folder: the run folder. facts: of time and machine, taken in as they are.
        recall: who remembers steps that runs share.

    Raises:
        StoreError: PFS-603 when a site left no scores, or scores of others than the fold's test patients.
    """
    events = read_events(folder / "history.jsonl")
    history = collect(events)
    method = str(run.flat["method"])
    return {
        "version": VERSION,
        "id": run.id,
        "settings": run.flat,
        "seed": run.seed,
        "fold": run.fold,
        "pooled": run.pooled,
        "unseen": run.unseen,
        "parameters": {
            "shared": int(history.start.get("n_values", 0)),
            "personal": _personal_values(store_folder(sites[0], FEDERATION, method)),
            "copy": METHODS[method].own_copy,
        },
        **facts,
        "rounds": _rounds(history, events),
        "scores": _scores(protocol, run, sites, folder, method, recall),
    }


def read_record(path: Path) -> Record:
    """The record in a file, looked through.

    Raises:
        StoreError: PFS-603 when it is missing or damaged.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
        if record["version"] != VERSION or record["id"] != path.stem:
            raise ValueError("it is of another run or version")
        for key in ("settings", "parameters", "hardware"):
            dict(record[key])
        for row in record["scores"]:
            if set(row) != COLUMNS:
                raise ValueError("a score has other columns")
        [(r["round"], r["kind"], dict(r["replies"])) for r in record["rounds"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise StoreError(
            "PFS-603",
            f"the record of a run cannot be used: {reason}",
            where=str(path),
            hint="remove this file; the same command makes the run again",
        ) from error
    return dict(record)


def _rounds(history: History, events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every round: seconds, replies by site, and how far averaging the factors was from the mean product."""
    errors = {e["round"]: e["factor_errors"] for e in events if e["event"] == "aggregation"}
    kept = ("metrics", "seconds", "bytes_up", "bytes_down")
    return [
        {
            "round": r.number,
            "kind": r.kind,
            "seconds": r.seconds,
            "replies": {site: {key: reply.get(key) for key in kept} for site, reply in r.replies.items()},
            **({"factor_errors": errors[r.number]} if r.kind == "train" and r.number in errors else {}),
        }
        for r in history.rounds
    ]


def _scores(
    protocol: Protocol, run: Run, sites: Sequence[SiteSettings], folder: Path, method: str, recall: Recall
) -> list[dict[str, Any]]:
    """What the sites' closing rounds left; of an unseen site, or of exchanged experts, what is found now."""
    if run.unseen:
        (site,) = (one for one in protocol.sites if one.site == run.unseen)
        rows = unseen_scores(folder, site, protocol.checkpoint)
        if protocol.experiment == "onboarding":
            work = folder.parent.parent
            rows += onboarded_scores(folder, site, protocol.folds, work, protocol.checkpoint, recall)
        return rows
    rows = [row for site in sites for row in _scores_at(site, protocol, run, method)]
    if protocol.experiment == "wrong-expert":
        tested = {site.site: protocol.folds.tested(site.site, run.fold) for site in protocol.sites}
        rows += exchanged_scores(folder, sites, tested, protocol.checkpoint)
    return rows


def _scores_at(site: SiteSettings, protocol: Protocol, run: Run, method: str) -> list[dict[str, Any]]:
    """The rows of a site's file that count: of patients who are tested in this fold, under their own site."""
    path = store_folder(site, FEDERATION, method) / FILE
    tested = {(s.site, p) for s in protocol.sites for p in protocol.folds.tested(s.site, run.fold)}
    wanted = {pair for pair in tested if run.pooled or pair[0] == site.site}
    rows = []
    for row in read_scores(path):
        name, patient = unpooled_name(row.patient) if run.pooled else (site.site, row.patient)
        if (name, patient) in wanted:
            rows.append({"site": name} | asdict(row) | {"patient": patient})
    for model in sorted({row["model"] for row in rows}):
        missing = wanted - {(row["site"], row["patient"]) for row in rows if row["model"] == model}
        if missing:
            raise _damaged(path, f"{len(missing)} test patients have no score of the model {model}")
    if wanted and not rows:
        raise _damaged(path, "no test patient has a score")
    return rows


def _damaged(path: Path, text: str) -> StoreError:
    return StoreError("PFS-603", text, where=str(path), hint="run the same command again")


def _personal_values(folder: Path) -> int:
    """How many personal parameters the newest state has."""
    files = sorted(folder.glob("personal-*.safetensors"))
    if not files:
        return 0
    try:
        with safe_open(files[-1], "numpy") as file:
            names = [name for name in file.keys() if name.startswith("personal/")]  # noqa: SIM118
            return sum(_size(file.get_slice(name).get_shape()) for name in names)
    except (OSError, SafetensorError) as error:
        raise _damaged(files[-1], f"the personal state cannot be read: {error}") from error


def _size(shape: Sequence[int]) -> int:
    total = 1
    for n in shape:
        total *= n
    return total
