"""A site's personal state on its own disk.

``<state>/<federation>/<site>/<method>/`` holds two generations: tensors of the personal parameters,
their optimiser's moments, the model trained alone
and the site's own copy where there is one, and the reply that was sent for that round.
``state.json`` (``site.generations``) names them with their digests; swapping it in is the moment at which a
round has happened. A round that is not the next one takes no older state away: it is kept aside.
A message that comes twice is answered from here and trains nothing again.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from ..contract.messages import RoundReply, decode, encode
from ..errors import StoreError
from . import generations
from .adopted import FILE as ADOPTED
from .files import read_checked, write_whole
from .generations import Generations


@dataclass(frozen=True)
class Personal:
    """What a site keeps to itself between rounds.

    Attributes:
        tensors: the personal parameters by name; empty for a method without any.
        optimiser: their AdamW moments.
        alone, alone_optimiser: packed shared parameters of the model trained without the federation, float32
            [n_values], and its moments.
        own, own_optimiser: the same of the site's own copy under a method that keeps one.
    """

    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    optimiser: dict[str, torch.Tensor] = field(default_factory=dict)
    alone: np.ndarray | None = None
    alone_optimiser: dict[str, torch.Tensor] = field(default_factory=dict)
    own: np.ndarray | None = None
    own_optimiser: dict[str, torch.Tensor] = field(default_factory=dict)


def stored_reply(
    folder: Path, binding: dict[str, Any], kind: str, number: int, broadcast: str, settings: str | None
) -> tuple[RoundReply, np.ndarray | None] | None:
    """The reply that was given for this very round and broadcast, or None.

    Args:
        settings: digest of those that the round was done with; None: whatever they were.

    Raises:
        StoreError: PFS-601 foreign state, PFS-603 damaged.
    """
    for row in _generations(folder, binding):
        if (row["round"], row["broadcast"]) == (number, broadcast) and settings in (
            None,
            row.get("settings"),
        ):
            tensors = _tensors(folder / row["reply"], row["reply_sha256"])
            words = decode(RoundReply, tensors.pop("words").numpy().tobytes())
            if words.kind != kind:
                continue
            return words, tensors["delta"].numpy() if "delta" in tensors else None
    return None


def load_before(folder: Path, binding: dict[str, Any], number: int) -> Personal | None:
    """The newest personal state from before round ``number``; None when the site starts.

    A round that was done already may be done again, from another broadcast or with other settings; one before
    it may not: a request that comes late must not take away what the site has learnt since.

    Raises:
        StoreError: PFS-601 foreign state, PFS-602 a later round has been done, PFS-603 damaged.
    """
    rows = _generations(folder, binding)
    if not rows:
        return None
    earlier = [row for row in rows if row["round"] < number]
    done = [row["round"] for row in rows if row["round"] >= number]
    if done == [number] and not earlier:
        return None  # the site's first round
    if not earlier or (done and done[-1] > number):
        raise StoreError(
            "PFS-602",
            f"personal state is of round {done[0]} and later, the run asks for round {number}",
            where=str(folder),
            hint="resume the run where it stood; or, if those later rounds should never have been asked for, "
            "go back to the state before them: "
            "pfedsam site reset FILE --federation NAME --back-to ROUND --yes",
            counts={"kept_from_round": done[0], "asked_round": number},
        )
    return _personal(folder, earlier[-1])


def newest(folder: Path, binding: dict[str, Any]) -> tuple[int, Personal] | None:
    """(round, personal state) of the newest generation, None when there is none."""
    rows = _generations(folder, binding)
    if not rows:
        return None
    return rows[-1]["round"], _personal(folder, rows[-1])


def record(
    folder: Path,
    binding: dict[str, Any],
    personal: Personal,
    reply: RoundReply,
    delta: np.ndarray | None,
    settings: str,
) -> None:
    """Make a round have happened: new files first, ``state.json`` last, then what is no longer named.

    A file's name has the digest of its content, so no file that ``state.json`` still names is written over.
    """
    _generations(folder, binding)  # foreign state is refused
    answer = {"words": torch.from_numpy(np.frombuffer(encode(reply), np.uint8).copy())}
    if delta is not None:
        answer["delta"] = torch.from_numpy(delta)
    tag = f"{reply.round:04d}-{reply.broadcast[:8]}"
    row: dict[str, Any] = {"round": reply.round, "broadcast": reply.broadcast, "settings": settings}
    for name, tensors in (("personal", _pack(personal)), ("reply", answer)):
        content = save(tensors)
        sha256 = row[f"{name}_sha256"] = hashlib.sha256(content).hexdigest()
        row[name] = f"{name}-{tag}-{sha256[:8]}.safetensors"
        write_whole(folder / row[name], content)
    kept = (generations.read(folder) or Generations(binding, [], [])).then(row)
    write_whole(folder / generations.FILE, kept.encoded())
    named = kept.files()
    if len(kept.rows) == 1:
        named.add(ADOPTED)  # the first round may be done again, and begins with the same experts then
    # the folder is locked: what else is half-written was left by a process that is gone
    for path in [*folder.glob("*.safetensors"), *folder.glob(".*.part")]:
        if path.name not in named:
            path.unlink(missing_ok=True)


def _generations(folder: Path, binding: dict[str, Any]) -> list[dict[str, Any]]:
    found = generations.read(folder)
    if found is None:
        return []
    bound, path = found.binding, folder / generations.FILE
    different = sorted(k for k in binding.keys() | bound.keys() if binding.get(k) != bound.get(k))
    if different:
        raise StoreError(
            "PFS-601",
            "; ".join(f"{k} was {str(bound.get(k))[:40]}, is {str(binding.get(k))[:40]}" for k in different),
            where=str(path),
            hint="nothing was changed; choose another federation.name or state folder, or set this state "
            "aside and begin anew: pfedsam site reset FILE --federation NAME",
        )
    return found.rows


def _tensors(path: Path, sha256: str) -> dict[str, torch.Tensor]:
    try:
        return load(read_checked(path, sha256))
    except SafetensorError as error:
        raise StoreError("PFS-603", f"not a tensor file: {error}", where=str(path)) from error


def _personal(folder: Path, row: dict[str, Any]) -> Personal:
    """The personal state of a generation; PFS-603 where its parameters are not finite."""
    path = folder / row["personal"]
    personal = _unpack(_tensors(path, row["personal_sha256"]))
    arrays = [*(one.numpy() for one in personal.tensors.values()), personal.alone, personal.own]
    n_bad = sum(int(one.size - np.isfinite(one).sum()) for one in arrays if one is not None)
    if n_bad:
        raise StoreError(
            "PFS-603",
            f"{n_bad} values of the personal state are not finite",
            where=str(path),
            hint="restore the folder from a backup, or set this state aside: pfedsam site reset",
            counts={"values": n_bad},
        )
    return personal


_GROUPS = {
    "personal/": "tensors",
    "optimiser/": "optimiser",
    "alone-optimiser/": "alone_optimiser",
    "own-optimiser/": "own_optimiser",
}


def _pack(personal: Personal) -> dict[str, torch.Tensor]:
    tensors = {
        prefix + k: v.contiguous()
        for prefix, name in _GROUPS.items()
        for k, v in getattr(personal, name).items()
    }
    for name in ("alone", "own"):
        if getattr(personal, name) is not None:
            tensors[name] = torch.from_numpy(getattr(personal, name))
    return tensors


def _unpack(tensors: dict[str, torch.Tensor]) -> Personal:
    def group(name: str) -> dict[str, torch.Tensor]:
        (prefix,) = (p for p, field_name in _GROUPS.items() if field_name == name)
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    def packed(name: str) -> np.ndarray | None:
        return tensors[name].numpy() if name in tensors else None

    return Personal(
        group("tensors"),
        group("optimiser"),
        packed("alone"),
        group("alone_optimiser"),
        packed("own"),
        group("own_optimiser"),
    )
