"""The list of a store's generations, ``state.json``: which rounds a site has done, without their tensors.

A row has ``round``, ``broadcast``, ``settings``, and names and digests of its files. ``generations`` are the
newest two. ``aside`` are those that a request other than for the next round would take away: the newest from
before a jump, and those of a round that is done again from other shared parameters. They stay, however many
rounds follow: who asks cannot prove that a site was away, and need not.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import StoreError
from .files import locked, write_whole

FILE = "state.json"
KEPT = 2
Row = dict[str, Any]


@dataclass(frozen=True)
class Generations:
    """A store's rows, oldest first, what they are bound to, and the rows that are kept aside."""

    binding: dict[str, Any]
    rows: list[Row]
    aside: list[Row]

    def encoded(self) -> bytes:
        """As it stands in the file."""
        found = {"binding": self.binding, "generations": self.rows}
        return json.dumps(found | ({"aside": self.aside} if self.aside else {}), indent=1).encode()

    def files(self) -> set[str]:
        """Names of all files that belong to a row."""
        return {row[name] for row in (*self.rows, *self.aside) for name in ("personal", "reply")}

    def then(self, row: Row) -> "Generations":
        """With this round done; what was of the same round, or from before a jump, is kept aside."""
        before = [one for one in self.rows if one["round"] < row["round"]]
        left = self.rows[len(before) :] + (before[-1:] if jump(before, row["round"]) else [])
        known = {one["reply"] for one in (*self.aside, row)}
        aside = [*self.aside, *(one for one in left if one["reply"] not in known)]
        return Generations(self.binding, [*before, row][-KEPT:], aside)

    def back(self, number: int) -> "Generations":
        """With the newest row of round ``number`` or before as the newest; all others are kept aside."""
        by_round = {row["round"]: row for row in (*self.aside, *self.rows)}
        rows = [row for at, row in sorted(by_round.items()) if at <= number][-KEPT:]
        aside = [row for row in (*self.aside, *self.rows) if row not in rows]
        return Generations(self.binding, rows, aside)


def jump(rows: list[Row], number: int) -> bool:
    """Whether round ``number`` is neither the next one after these rows nor the same again."""
    return bool(rows) and number > rows[-1]["round"] + 1


def read(folder: Path) -> Generations | None:
    """The list of a store, None when there is none.

    Raises:
        StoreError: PFS-603 when it cannot be read.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        read = Generations(dict(found["binding"]), list(found["generations"]), list(found.get("aside", [])))
        if not all(isinstance(row["round"], int) for row in (*read.rows, *read.aside)):
            raise TypeError("a round that is no number")
        read.files()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError("PFS-603", "the list of generations cannot be read", where=str(path)) from error
    return read


def go_back(folder: Path, number: int) -> int:
    """Makes the state after round ``number``, or the newest before it, the one that is gone on with.

    Nothing is deleted: what was newer is kept aside. Returns the round.

    Raises:
        StoreError: PFS-603 there is no such state, PFS-604.
    """
    with locked(folder):
        found = read(folder)
        back = found.back(number) if found else None
        if back is None or not back.rows:
            raise StoreError("PFS-603", f"no state of round {number} or before is kept", where=str(folder))
        write_whole(folder / FILE, back.encoded())
    return int(back.rows[-1]["round"])


def newest(folder: Path) -> dict[str, Any]:
    """What a journal's line says of the store: its newest ``round`` with the digest of its ``reply``, and the
    round ``before`` it; zeros when there is none.

    Raises:
        StoreError: PFS-603.
    """
    found = read(folder)
    rows = found.rows if found else []
    if not rows:
        return {"method": folder.name, "round": 0, "reply": "", "before": 0}
    before = rows[-2]["round"] if len(rows) > 1 else 0
    return {
        "method": folder.name,
        "round": rows[-1]["round"],
        "reply": str(rows[-1].get("reply_sha256")),
        "before": before,
    }


def check_not_set_back(folder: Path, said: list[dict[str, Any]]) -> None:
    """Nothing to do while the store is the one that the journal speaks of, or newer.

    A round is in the store before it is in the journal: after a crash the store may be ahead, never behind.

    Args:
        said: ``newest`` of each line of the journal that has one, oldest first.

    Raises:
        StoreError: PFS-603, PFS-606.
    """
    said = [one for one in said if one.get("method") == folder.name]
    if not said:
        return
    now, last = newest(folder), said[-1]
    known = {one.get("reply") for one in said}
    ahead = now["reply"] not in known and now["round"] >= int(last.get("round", 0))
    if now["reply"] == last.get("reply") or ahead:
        return
    found = (
        f"the personal state here is of round {now['round']}"
        if now["round"]
        else "there is no personal state"
    )
    raise StoreError(
        "PFS-606",
        f"the site has answered round {last.get('round')}, and {found}: an older copy was put back, "
        "or it was removed",
        where=str(folder),
        hint="put back the newest copy of this folder; or go on with what is there: "
        "pfedsam site reset FILE --federation NAME --keep --yes",
        counts={"answered_round": int(last.get("round", 0)), "state_round": now["round"]},
    )
