"""A site without a model: what it learns is a digest of seed, round, site, broadcast and what it knew before.

Everything else of it is the real one: the app, its door and journal, the checks of a request, the store.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import torch

from pfedsam_flower.contract.messages import PreflightReply, Timings
from pfedsam_flower.contract.schema import Contract, digest
from pfedsam_flower.data.samples import Counts
from pfedsam_flower.errors import StoreError
from pfedsam_flower.federation import history
from pfedsam_flower.settings.run import RunSettings
from pfedsam_flower.site import files, hello, journal, preflight, store, work
from pfedsam_flower.site.round import RoundResult
from pfedsam_flower.site.store import Personal

from .disk import Disk, Killed

CONTRACT = Contract((("weight", (6,)),), "0" * 64, ("organ", "lesion"), 224, "pfedsam")
PATIENTS = {"harbour": 3, "north": 7, "valley": 5}


def learn(
    seed: int, number: int, site: str, broadcast: np.ndarray, before: bytes
) -> tuple[np.ndarray, bytes]:
    """Delta float32 [6], exact in eighths of a bit, and what the site then keeps, 32 bytes."""
    words = f"{seed} {number} {site} ".encode() + broadcast.tobytes()
    after = hashlib.sha256(words + before).digest()
    values = np.frombuffer(hashlib.sha256(after).digest(), np.int8)[: CONTRACT.n_values]
    return values.astype(np.float32) / np.float32(128), after


@dataclass
class Ledger:
    """What each site has been promised to keep, known apart from its disk.

    Attributes:
        record: the real ``site.store.record``.
        done: rounds that have happened at a site: number, digest of the broadcast, what it keeps since.
        wrong: promises that were seen broken, one sentence each.
    """

    record: Callable[..., None] = field(default_factory=lambda: store.record)
    done: dict[str, list[tuple[int, str, bytes]]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def site_round(
        self,
        kind: str,
        number: int,
        broadcast: np.ndarray,
        built: Any,
        data: Any,
        personal: Personal | None,
        run: RunSettings,
        site: str,
        recall: Any,
    ) -> RoundResult:
        """As ``site.round.site_round``; looks whether the site still has what it should have."""
        done = self.done.get(site, [])
        known = next((kept for n, _, kept in reversed(done) if n < number), b"")
        held = b"" if personal is None else personal.tensors["experts"].numpy().tobytes()
        if held != known:
            self.wrong.append(f"{site} lost what it had learnt before round {number}")
        if any(n > number for n, _, _ in done):
            self.wrong.append(f"{site} is set back: it works on round {number} after round {done[-1][0]}")
        if (number, digest(broadcast)) in [(n, b) for n, b, _ in done]:
            self.wrong.append(f"{site} works on round {number} a second time")
        delta, after = learn(run.seed, number, site, broadcast, held)
        kept = Personal(
            {"experts": torch.tensor(list(after), dtype=torch.uint8)},
            {"steps": torch.tensor([number])},
            own=broadcast.copy(),
        )
        return RoundResult(delta if kind == "train" else None, kept, {"loss.local": 0.5}, Timings(), [])

    def noted(
        self, folder: Any, binding: Any, personal: Personal, reply: Any, delta: Any, settings: str
    ) -> None:
        """Calls ``record``; notes whether the round has happened, also when it ended in a fault."""
        try:
            self.record(folder, binding, personal, reply, delta, settings)
        except (StoreError, Killed):
            if _newest_row(folder) != (reply.round, reply.broadcast):
                raise
            self._happened(personal, reply)
            raise
        self._happened(personal, reply)

    def _happened(self, personal: Personal, reply: Any) -> None:
        kept = personal.tensors["experts"].numpy().tobytes()
        before = [row for row in self.done.get(reply.site, []) if row[0] < reply.round]
        self.done[reply.site] = [*before, (reply.round, reply.broadcast, kept)]


def _newest_row(folder: Any) -> tuple[int, str] | None:
    if not (folder / "state.json").exists():
        return None
    row = json.loads((folder / "state.json").read_text())["generations"][-1]
    return row["round"], row["broadcast"]


@contextmanager
def without_model(ledger: Ledger, disk: Disk) -> Iterator[None]:
    """Inside, sites learn as above, and their and the coordinator's files lie on this disk."""
    built = SimpleNamespace(
        contract=CONTRACT, roles={}, model=SimpleNamespace(pixels=SimpleNamespace(stretch=None))
    )

    def data(site: Any, *args: Any, **options: Any) -> Any:
        patients = [None] * PATIENTS[site.site]
        return SimpleNamespace(split=SimpleNamespace(train=patients), train=patients)

    replaced = (
        *((module, {"os": disk}) for module in (files, journal, history)),
        (work, {"build": lambda *a: built, "load_site": data, "site_round": ledger.site_round}),
        (work, {"fresh": lambda *a: None}),
        (work, {"personal_state": lambda *a: {"experts": torch.zeros(32)}}),
        (store, {"record": ledger.noted}),
        (hello, {"weights_file": lambda *a: None}),
        (hello, {"check_site": lambda site, *a: Counts(PATIENTS[site.site], 1, 1)}),
        (preflight, {"answer_preflight": lambda request, site: PreflightReply(site=site.site)}),
    )
    with ExitStack() as stack:
        for module, names in replaced:
            stack.enter_context(mock.patch.multiple(module, **names))
        yield
