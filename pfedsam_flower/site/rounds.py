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


def thin(folder: Path, newest: int, every: int) -> list[int]:
    """Remove the rounds that are not to be kept, oldest first; returns their numbers.

    What a run resumes from stays: the newest round, and the ones before it. So do folders of other names.

    Args:
        folder: locked by this process, so that what is half-written in it is nobody's.
        newest: so many of the newest stay. every: and each so many-th; 0: none.

    Raises:
        StoreError: PFS-604.
    """
    whole = _whole_rounds(folder)
    kept = {n for n in whole if every and n % every == 0} | set(sorted(whole)[-newest:])
    gone = sorted(set(whole) - kept)
    try:
        for number in gone:
            whole[number].unlink()
        for left in folder.glob(f"round-*/.{FILE}.*.part"):
            left.unlink()
        for place in folder.glob("round-*"):
            if re.fullmatch(r"round-\d+", place.name) and place.is_dir() and not any(place.iterdir()):
                place.rmdir()
    except OSError as error:
        raise StoreError(
            "PFS-604",
            f"an old round cannot be removed: {error.strerror}",
            where=str(folder),
            hint="fix the rights",
        ) from error
    return gone


def _whole_rounds(folder: Path) -> dict[int, Path]:
    """File by number of every round; other folders do not count."""
    named = ((re.fullmatch(r"round-(\d+)", p.parent.name), p) for p in folder.glob(f"round-*/{FILE}"))
    return {int(match[1]): path for match, path in named if match}


def newest_round(folder: Path) -> tuple[int, np.ndarray] | None:
    """(number, shared parameters) of the newest round; None when there is none. Other folders do not count.

    Raises:
        StoreError: PFS-603 when its file is damaged (its digest was written with it), or holds values that
            are not finite.
    """
    found = _whole_rounds(folder)
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
