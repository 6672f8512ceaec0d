"""What must hold at the end: every bit as without any disturbance, and a history that names everybody."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load

from pfedsam_flower.contract.schema import digest
from pfedsam_flower.errors import PfedsamError
from pfedsam_flower.reports.history import read_events
from pfedsam_flower.settings.site import SiteSettings
from pfedsam_flower.site import journal, store

from .fate import N_ROUNDS, NAMES, Schedule
from .network import Network
from .site import CONTRACT, PATIENTS, Ledger, learn

Event = dict[str, Any]


def broken(
    seed: int,
    folder: Path,
    plan: Schedule,
    network: Network,
    ledger: Ledger,
    final: np.ndarray,
    sites: list[SiteSettings],
) -> list[str]:
    """One sentence per promise that was broken."""
    run = folder / "runs" / "seeded"
    try:
        events = read_events(run / "history.jsonl")
    except PfedsamError as error:
        return [error.local()]
    ends = {e["round"]: e for e in events if e["event"] == "round-end"}
    if sorted(ends) != list(range(1, N_ROUNDS + 2)):
        return [f"the history knows the ends of rounds {sorted(ends)}"]
    counted = {number: end["sites"] for number, end in ends.items()}
    shared, kept = undisturbed(seed, counted, ledger.done)
    wrong = []
    for number in range(1, N_ROUNDS + 1):
        held = load((run / f"round-{number:04d}" / "shared.safetensors").read_bytes())["shared"]
        if held.tobytes() != shared[number].tobytes():
            wrong.append(f"round {number} has other bits than without any disturbance")
    if final.tobytes() != shared[N_ROUNDS].tobytes():
        wrong.append("the end has other bits than without any disturbance")
    for site in sites:
        wrong += _site(site, kept.get(site.site, b""), network, ledger)
    least = plan.federation["federation.minimum-sites"]
    for number, end in ends.items():
        if len(end["sites"]) < least or end["missing"] != sorted(set(NAMES) - set(end["sites"])):
            wrong.append(f"round {number} ends with {end['sites']}, missing {end['missing']}")
    return wrong + _unnamed(events) + _uncounted(events, network)


def undisturbed(
    seed: int, counted: dict[int, list[str]], done: dict[str, list[tuple[int, str, bytes]]]
) -> tuple[list[np.ndarray], dict[str, bytes]]:
    """A run without a network, a disk or a fault.

    Args:
        counted: by round, the sites whose delta is counted.
        done: by site, the rounds that happened there, counted or not.

    Returns:
        The shared parameters after 0, 1, … rounds, float32 [6], and what each site keeps at the end.
    """
    shared, kept = [np.zeros(CONTRACT.n_values, np.float32)], {}
    for number in range(1, N_ROUNDS + 2):
        broadcast, total = shared[-1], np.zeros(CONTRACT.n_values, np.float64)
        for site in NAMES:
            happened = {n: (digest_, after) for n, digest_, after in done.get(site, [])}
            if number not in happened:
                continue
            if happened[number][0] != digest(
                broadcast
            ):  # before the coordinator was set back; not done again
                kept[site] = happened[number][1]
                continue
            delta, kept[site] = learn(seed, number, site, broadcast, kept.get(site, b""))
            total += PATIENTS[site] * delta.astype(np.float64) * (site in counted[number])
        if number <= N_ROUNDS:
            mean = (total / sum(PATIENTS[site] for site in counted[number])).astype(np.float32)
            shared.append((broadcast.astype(np.float64) + mean).astype(np.float32))
    return shared, kept


def _site(site: SiteSettings, kept: bytes, network: Network, ledger: Ledger) -> list[str]:
    wrong = []
    folder = Path(site.state) / "seeded" / site.site / "pfedsam"
    if ledger.done.get(site.site):
        bound = json.loads((folder / "state.json").read_text())["binding"]
        try:
            found = store.newest(folder, bound)
        except PfedsamError as error:
            return [error.local()]
        number, broadcast, _ = ledger.done[site.site][-1]
        if found is None or found[1].tensors["experts"].numpy().tobytes() != kept or found[0] != number:
            wrong.append(f"{site.site} keeps other bits than without any disturbance")
        elif found[1].own is None or digest(found[1].own) != broadcast:
            wrong.append(f"{site.site} keeps what it learnt from another broadcast than it says")
    paths = [path for path in Path(site.state).rglob("sent.jsonl") if path.read_bytes()]
    for path in paths:
        at = journal.broken_at(path)
        if at is not None and path.read_bytes().endswith(b"\n"):
            wrong.append(f"the journal of {site.site} is broken at line {at}")
    lines = sum(path.read_bytes().count(b"\n") for path in paths)
    if lines < network.left[site.site]:
        wrong.append(f"{network.left[site.site]} replies left {site.site}, its journal knows {lines}")
    return wrong


def _unnamed(events: list[Event]) -> list[str]:
    """Sites that are missing at a round's end without a reason since its start."""
    wrong: list[str] = []
    named: set[str] = set()
    for event in events:
        if event["event"] == "round-start":
            named = {*event["absent"], *event["refused"]}
        elif event["event"] in ("lost", "left-out", "refused", "late"):
            named.add(event["site"])
        elif event["event"] == "round-end" and not named.issuperset(event["missing"]):
            wrong.append(f"round {event['round']}: {event['missing']} are missing, named are {sorted(named)}")
    return wrong


def _uncounted(events: list[Event], network: Network) -> list[str]:
    """Answers that the coordinator got and the history does not tell, or tells twice."""
    told: Counter[tuple[str, int]] = Counter()
    for event in events:
        if event["event"] in ("reply", "left-out", "late"):
            told[event["site"], event["round"]] += 1
    got: Counter[tuple[str, int]] = Counter()
    for (site, kind, number), n in network.handed.items():
        if kind in ("train", "close"):
            got[site, number] += n
    cut = sum(event["event"] == "start" for event in events) > 1
    return [
        f"{site} answered round {number} {got[site, number]} times, the history tells {told[site, number]}"
        for site, number in sorted(got.keys() | told.keys())
        if told[site, number] > got[site, number] or (told[site, number] < got[site, number] and not cut)
    ]
