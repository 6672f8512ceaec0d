"""How many optimiser steps a row takes, under either budget, and how many it took.

What the settings say is the budget of a method with two phases: in each round global steps and, from
``training.personal-from`` on, local steps; then closing steps. A row with other phases takes either as many
global steps per round (equal communication), or as many steps in all.
"""

from collections.abc import Mapping

from ..contract.methods import METHODS, Method
from ..settings.sources import Flat, default_flat
from .rows import Budget, Model, Row, Scalar

GLOBAL, LOCAL, CLOSING = "training.global-steps", "training.local-steps", "training.closing-steps"
LATE = "training.personal-from"


def settings_of(row: Row, base: Mapping[str, Scalar], n_sites: int, budget: Budget = "global") -> Flat:
    """The whole flat settings of a row's run: the defaults, then what all rows share, then the row's own.

    Args:
        budget: ``global``: steps as they are set. ``total``: every row takes as many steps in all as a method
            with both phases; what a row has no phase for goes to the phase that it has. A row without any
            federation takes the whole budget in both cases, a pooled one ``n_sites`` times its share.
    """
    common: Flat = default_flat() | dict(base)
    flat: Flat = common | dict(row.settings)
    method = METHODS.get(str(flat["method"]))
    rounds = _whole(flat, "rounds")
    if method is None or not rounds:
        return flat  # the plan says what is wrong with it
    total = sum(_steps(common))
    if row.spread:
        flat |= _spread(flat, sum(_steps(common)[1:]))
    if budget == "total" or not method.shared:
        flat |= _whole_budget(flat, method, total)
    if row.pooled:
        flat |= {GLOBAL: _whole(flat, GLOBAL) * n_sites}
    return flat


def too_few_steps(rows: Mapping[str, Row], base: Mapping[str, Scalar]) -> list[str]:
    """Why rows that spread their personal steps cannot be had, one sentence each.

    Where a round has no such step, the row is another one: interleaved would be pfedsam.
    """
    common: Flat = default_flat() | dict(base)
    own, rounds = sum(_steps(common)[1:]), _whole(common, "rounds")
    found = []
    for name, row in rows.items():
        closes = bool(_whole(common | dict(row.settings), CLOSING))
        if row.spread and own < rounds + closes:
            over = f"{rounds} rounds" + (" and the closing one" if closes else "")
            found.append(
                f"--rows {name}: {own} personal steps cannot be spread over {over}; "
                f"raise {CLOSING} or {LOCAL}, or leave this row out"
            )
    return found


def _spread(flat: Flat, own: int) -> Flat:
    """``own`` personal steps in equal parts over all rounds and the closing round, which takes the rest.

    Where the row has no closing steps the rounds take all of them, rounded up.
    """
    rounds = _whole(flat, "rounds")
    if not _whole(flat, CLOSING):
        return {LATE: 1, LOCAL: -(-own // rounds)}
    each = own // (rounds + 1)
    return {LATE: 1, LOCAL: each, CLOSING: own - rounds * each}


def _whole_budget(flat: Flat, method: Method, total: int) -> Flat:
    """Steps of the phases that there are, so that they come to ``total`` (rounded up to whole rounds)."""
    rounds, shared, closing = _whole(flat, "rounds"), _whole(flat, GLOBAL), _whole(flat, CLOSING)
    if not method.shared:
        return {LATE: 1, LOCAL: -(-(total - closing) // rounds)}
    if {"local", "pull"} & set(method.round):
        later = max(0, rounds + 1 - _whole(flat, LATE))
        return {LOCAL: -(-(total - rounds * shared - closing) // later)} if later else {}
    if "tune" in method.closing:
        return {LOCAL: 0, CLOSING: total - rounds * shared}
    if "joint" in method.round:
        return {LOCAL: 0, GLOBAL: -(-(total - closing) // rounds)}
    return {LOCAL: 0, CLOSING: 0, GLOBAL: -(-total // rounds)}


def steps_taken(flat: Flat, model: Model) -> tuple[int, int, int]:
    """Global, personal and lonely optimiser steps at a site in the whole run, as far as ``model`` needs them.

    Steps of a phase that trains shared and personal parameters together are global ones.
    """
    method = METHODS[str(flat["method"])]
    shared, own, closing = _steps(flat)
    alone = shared + own + closing if flat["evaluation.alone"] else 0
    if model == "alone":
        return 0, 0, alone
    in_rounds = own if {"local", "pull"} & set(method.round) else 0
    personal = in_rounds + (closing if method.closing else 0)
    taken = shared if {"global", "joint"} & set(method.round) else 0
    if model == "global":
        return taken, 0, 0
    return taken, personal, alone if model == "deployed" else 0


def _steps(flat: Flat) -> tuple[int, int, int]:
    """Of all global phases, all local ones, and the closing round, had the method all of them."""
    rounds = _whole(flat, "rounds")
    later = max(0, rounds + 1 - _whole(flat, LATE))
    return rounds * _whole(flat, GLOBAL), later * _whole(flat, LOCAL), _whole(flat, CLOSING)


def _whole(flat: Flat, key: str) -> int:
    """A count that may not be valid yet: the plan says so later, with its sentence."""
    value = flat.get(key)
    return value if isinstance(value, int) else 0
