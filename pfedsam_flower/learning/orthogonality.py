"""IAT's Subspace Orthogonality Regulariser (arXiv 2606.08687): what is averaged does not follow what is kept.

Where one factor of a LoRA pair is averaged and the other stays, B A couples them: a site's own change leaks
into the gradient of the shared factor. With A_0 and B_0 at the phase's start, the change of B A has a shared
part, (B - B_0) A_0 where B is averaged, and a local one, B_0 δA. Their inner product is one of r x r
matrices, so nothing large is built:

    <(B - B_0) A_0, B_0 δA> = <P, Q>     with P = B_0^T (B - B_0), Q = δA A_0^T
    <B_0 (A - A_0), δB A_0> = <P, Q>     with P = B_0^T δB, Q = (A - A_0) A_0^T     where A is averaged
    term = sum over pairs of ( <P, Q> / (|P| |Q| + ε) )^2

δ is a moving average of the kept factor's distance from its start and gets no gradient: the term moves what
is averaged only. The paper was read in a summary; how fast the average moves is ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..aggregation.factors import pairs
from ..model.roles import Role

KEPT, EPSILON = 0.9, 1e-8
"""Share of the moving average that stays at a step; keeps a cosine finite."""


@dataclass
class Orthogonality:
    """The term over the steps of one phase.

    Attributes:
        pairs: names (A, B) of the factors, one averaged and one kept, by the averaged one's name.
        start: values of all of them at the start of the phase, by name.
        drift: moving average of each kept factor's distance from its start, by its name.
    """

    pairs: dict[str, tuple[str, str]]
    start: dict[str, Tensor]
    drift: dict[str, Tensor] = field(default_factory=dict)

    def term(self, named: Mapping[str, Tensor]) -> Tensor:
        """0 where the two directions are orthogonal in every pair, up to the number of pairs."""
        total = next(iter(named.values())).new_zeros(())
        for shared, (a, b) in self.pairs.items():
            kept = a if shared == b else b
            if kept not in self.drift:
                continue
            change = {shared: named[shared] - self.start[shared], kept: self.drift[kept]}
            left, right = self.start[b].T @ change[b], change[a] @ self.start[a].T
            cosine = (left * right).sum() / (left.norm() * right.norm() + EPSILON)
            total = total + cosine**2
        return total

    @torch.no_grad()
    def follow(self, named: Mapping[str, Tensor]) -> None:
        """Takes in where the kept factors are after a step."""
        for shared, (a, b) in self.pairs.items():
            kept = a if shared == b else b
            moved = named[kept] - self.start[kept]
            before = self.drift.get(kept, torch.zeros_like(moved))
            self.drift[kept] = KEPT * before + (1 - KEPT) * moved


def begun(named: Mapping[str, Tensor], roles: Mapping[str, Role]) -> Orthogonality:
    """The term at the start of a phase that trains ``named``."""
    found = pairs([(name, tuple(named[name].shape)) for name in sorted(named)])
    divided = {a if roles[a] == "shared" else b: (a, b) for a, b in found if roles[a] != roles[b]}
    values = {name: named[name].detach().clone() for pair in divided.values() for name in pair}
    return Orthogonality(divided, values)
