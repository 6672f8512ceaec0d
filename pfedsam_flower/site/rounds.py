"""The shared parameters of a run folder's rounds, as coordinator and hospitals write and read them."""

import re
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ..contract.schema import digest
from ..errors import StoreError
from .files import write_whole

FILE = "shared.safetensors"
HINT = "restore it from a backup, or remove this round's folder: a run then resumes from the round before"


def save_round(folder: Path, number: int, packed: np.ndarray) -> str:
    """Write a round's shared parameters, float32 [n_values]; returns their digest. The round is whole then.

    Raises:
        StoreError: PFS-604.
    """
    metadata = {"round": str(number), "digest": digest(packed)}
    write_whole(folder / f"round-{number:04d}" / FILE, save({"shared": packed}, metadata), 0o644)
    return metadata["digest"]


def newest_round(folder: Path) -> tuple[int, np.ndarray] | None:
    """(number, shared parameters) of the newest round; None when there is none. Other folders do not count.

    Raises:
        StoreError: PFS-603 when its file is damaged (its digest was written with it), or holds values that
            are not finite.
    """
    named = (
        (re.fullmatch(r"round-(\d+)", path.parent.name), path) for path in folder.glob(f"round-*/{FILE}")
    )
    found = {int(match[1]): path for match, path in named if match}
    if not found:
        return None
    number = max(found)
    return number, _shared(found[number])


def _shared(path: Path) -> np.ndarray:
    try:
        with safe_open(path, "numpy") as file:
            packed, recorded = file.get_tensor("shared"), (file.metadata() or {}).get("digest")
    except (OSError, SafetensorError) as error:
        raise StoreError("PFS-603", "a round's file is damaged", where=str(path), hint=HINT) from error
    if digest(packed) != recorded:
        raise StoreError(
            "PFS-603",
            "a round's file is damaged: its values are not those whose digest was written with them",
            where=str(path),
            hint=HINT,
        )
    n_bad = int(packed.size - np.isfinite(packed).sum())
    if n_bad:  # with its own digest it is not damaged, and yet what it would mark is nothing
        raise StoreError(
            "PFS-603",
            f"{n_bad} of {packed.size} values of a round's file are not finite",
            where=str(path),
            hint=HINT,
            counts={"values": n_bad},
        )
    return np.array(packed)
