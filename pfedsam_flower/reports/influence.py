"""What each site has counted for in the averages, and how far its changes went."""

from typing import Any

from .history import History, Round

HEADINGS = ("Site", "Rounds", "Weight", "Share", "Norm of its changes", "Left out of")
TITLE = "What each site counted for in the newest average, and how far its changes went (Euclidean norm)"


def rows(history: History) -> list[tuple[str, ...]]:
    """A row per site in the order of ``HEADINGS``; empty before a round of training has ended.

    A history from before weights were written has none either.
    """
    shares = [(r, found) for r in history.training if r.seconds is not None and (found := _shares(r))]
    if not shares:
        return []
    return [_row(name, shares) for name in history.sites]


def as_json(history: History) -> list[dict[str, Any]]:
    """The same for programs, round by round: weight, share, norm of every reply that counted."""
    return [
        {
            "round": r.number,
            "sites": {
                site: {
                    "weight": r.replies[site].get("weight"),
                    "share": share,
                    "norm": r.replies[site].get("delta_norm"),
                }
                for site, share in _shares(r).items()
            },
            "left-out": dict(r.missing),
        }
        for r in history.training
        if r.seconds is not None
    ]


def _row(site: str, shares: list[tuple[Round, dict[str, float]]]) -> tuple[str, ...]:
    counted = [(r.replies[site], found) for r, found in shares if site in found]
    norms = [float(reply.get("delta_norm", 0.0)) for reply, _ in counted]
    missed = [str(r.number) for r, found in shares if site not in found]
    reply, newest = counted[-1] if counted else ({}, {})
    return (
        site,
        str(len(counted)),
        str(reply.get("weight", "–")),
        f"{100 * newest[site]:.0f} %" if newest.get(site) else "–",
        f"{min(norms):.3g}–{max(norms):.3g}" if norms else "–",
        ", ".join(missed[:5]) + (f" and {len(missed) - 5} more" if len(missed) > 5 else "") or "–",
    )


def _shares(r: Round) -> dict[str, float]:
    """Share of the average of each site that counted in this round, in order of name."""
    counted = {site: reply for site, reply in sorted(r.replies.items()) if site not in r.missing}
    weights = {site: float(reply["weight"]) for site, reply in counted.items() if "weight" in reply}
    total = sum(weights.values())
    return {site: weight / total for site, weight in weights.items()}
