"""The strategy: what goes out, what may come in, how it becomes one.

Flower's own FedAvg ends the whole run on one odd reply and lets NaN pass; here every reply is checked
alone and the site that sent it is named.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from ..aggregation.factors import factor_errors
from ..aggregation.norms import CONSPICUOUS, FACTOR, heavy, norm_bounds
from ..aggregation.rules import RULES, UNWEIGHTED
from ..aggregation.weights import WEIGHTS
from ..contract.checks import SHARED, check_counts, check_reply, euclidean_norm
from ..contract.measures import agreed
from ..contract.messages import RoundReply, RoundRequest
from ..contract.schema import Contract
from ..contract.text import one_line
from ..errors import ContractError
from ..learning.rates import reach
from ..settings.run import RunSettings
from .history import RunFolder
from .records import LARGEST_REPLY, content, packed_of, surplus, wire_bytes, words_of


@dataclass(frozen=True)
class Admitted:
    """A reply that passed every check."""

    reply: RoundReply
    delta: np.ndarray | None


class PFedSAMStrategy(Strategy):
    """Broadcasts the shared parameters, filters personal keys, takes the weighted mean of the deltas.

    Args:
        run, contract: what the federation agreed on.
        folder: where events are written.

    Attributes:
        nodes: node id by site name, kept by the roster.
        request: the round's words, set by ``begin``.
        left_out: the reason's code by site, of replies of this round that were not admitted.
    """

    def __init__(self, run: RunSettings, contract: Contract, folder: RunFolder) -> None:
        self.run, self.contract, self.folder = run, contract, folder
        self.nodes: dict[str, int] = {}
        self.request: RoundRequest | None = None
        self.packed = np.zeros(0, np.float32)
        self.admitted: dict[str, Admitted] = {}
        self.left_out: dict[str, str] = {}
        self.began, self.bytes_down = time.monotonic(), 0

    def begin(self, request: RoundRequest, packed: np.ndarray) -> None:
        """Start a round: nothing has been admitted yet."""
        self.request, self.packed, self.admitted, self.left_out = request, packed, {}, {}
        self.began = time.monotonic()

    def seconds(self) -> float:
        """Seconds since the round began."""
        return time.monotonic() - self.began

    def instruction(self, site: str, ttl_s: float) -> Message:
        """The round's message to one site; it expires with the round."""
        assert self.request is not None
        message = Message(
            content(self.request.model_copy(update={"journal": self.folder.journals.get(site)}), self.packed),
            dst_node_id=self.nodes[site],
            message_type="train",
            ttl=ttl_s,
            group_id=str(self.request.round),
        )
        self.bytes_down = wire_bytes(message)
        return message

    def admit(self, site: str, message: Message) -> bool:
        """Take one reply in, or leave it out with its reason in the history. Other replies are not touched.

        What is not agreed on, be it arrays (an L-MoE key, say), records, fields or numbers, is dropped unread
        and the site is named.
        """
        assert self.request is not None
        number = self.request.round
        found = surplus(message, packed=self.request.kind == "train")
        self.folder.log_surplus(site, found, round=number)
        try:
            reply = words_of(message, RoundReply, LARGEST_REPLY)
            if reply.site != site:
                raise ContractError("PFS-406", f"the reply speaks for {reply.site}")
            if reply.refusal is not None:
                self.left_out[site] = reply.refusal.code
                text = one_line(reply.refusal.text)
                self.folder.log("left-out", round=number, site=site, code=reply.refusal.code, text=text)
                return False
            delta = packed_of(message, self.contract.n_values) if reply.kind == "train" else None
            check_reply(reply, self.request, delta, self.contract, self.run.aggregation.largest_norm)
            if reply.kind == "train":
                said = self.folder.said
                check_counts(reply, said.patients.get(site), said.samples(site))
        except ContractError as error:
            self._leave_out(site, error)
            return False
        metrics, unknown = agreed(reply.metrics)
        self.folder.log_surplus(site, ([], unknown), round=number)
        self.admitted[site] = Admitted(reply.model_copy(update={"metrics": metrics}), delta)
        self.folder.log(
            "reply",
            round=number,
            kind=reply.kind,
            site=site,
            **(self._counts(reply) if reply.kind == "train" else {}),
            metrics=metrics,
            seconds=reply.seconds.model_dump(by_alias=True),
            bytes_up=wire_bytes(message),
            bytes_down=self.bytes_down,
            delta_norm=reply.delta_norm,
            wait_s=round(self.seconds(), 3),
            **({"journal": reply.journal.model_dump()} if reply.journal else {}),
        )
        return True

    def settle(self) -> None:
        """Leave out the deltas that are far longer than the round's others; no more replies are waited for.

        What is on its way there is spoken of, and who nearly decides the average alone.
        """
        assert self.request is not None
        number = self.request.round
        norms = {s: euclidean_norm(one.delta) for s, one in self.admitted.items() if one.delta is not None}
        floor = reach(self.run, number, self.contract.n_values)
        bounds = norm_bounds(norms, floor, self.run.aggregation.largest_norm)
        for site, bound in bounds.items():
            norm = norms[site]
            found = f"the delta's norm is {norm:.3g}, the largest allowed in this round {bound:.3g}"
            if norm > bound:
                del self.admitted[site]
                error = ContractError(
                    "PFS-409",
                    f"{found}: {FACTOR:g} times the median of the other sites', at least {floor:.3g}",
                    hint="ask the site what it trained on, or go on without it (federation.sites)",
                )
                self._leave_out(site, error, norm=norm, bound=bound)
            elif norm > CONSPICUOUS * bound:
                self.folder.log("conspicuous", round=number, site=site, text=found, norm=norm, bound=bound)
        weights = self._weights()
        for site, times in heavy(weights).items():
            if site not in self.folder.said.heavy:
                text = f"counts for {weights[site]} of {sum(weights.values())} {self.run.aggregation.weights}"
                self.folder.log("heavy", round=number, site=site, times=round(times, 1), text=text)

    def _leave_out(self, site: str, error: ContractError, **numbers: float) -> None:
        assert self.request is not None
        self.left_out[site] = error.code
        number, text = self.request.round, error.local()
        self.folder.log("left-out", round=number, site=site, code=error.code, text=text, **numbers)

    def _counts(self, reply: RoundReply) -> dict[str, int]:
        """What a training reply counts for, and what that was taken from."""
        unweighted = self.run.aggregation.rule in UNWEIGHTED
        weight = 1 if unweighted else WEIGHTS[self.run.aggregation.weights](reply)
        return {
            "weight": weight,
            "n_train_patients": reply.n_train_patients,
            "n_train_samples": reply.n_train_samples,
        }

    def _weights(self) -> dict[str, int]:
        """What each site whose delta was admitted counts for."""
        return {s: self._counts(a.reply)["weight"] for s, a in self.admitted.items() if a.delta is not None}

    def aggregate(self) -> np.ndarray:
        """The next shared parameters by the run's rule, float32 [n_values].

        How far averaging LoRA's factors is from averaging their products goes into the history, per layer.
        """
        assert self.request is not None
        deltas = {site: one.delta for site, one in self.admitted.items() if one.delta is not None}
        weights = self._weights()
        tensors, rule = self.contract.tensors, self.run.aggregation.rule
        errors = factor_errors(tensors, self.packed, deltas, weights)
        if errors:
            rounded = {layer.removesuffix("_a"): round(error, 5) for layer, error in errors.items()}
            self.folder.log("aggregation", round=self.request.round, rule=rule, factor_errors=rounded)
        shared = RULES[rule](tensors, self.packed, deltas, weights)
        if not np.isfinite(shared).all():  # of a round that is saved every later one depends
            raise ContractError(
                "PFS-403",
                f"the average of round {self.request.round} ({rule}) is not finite; it was not saved",
                hint="history.jsonl has the norm of each site's delta: go on without the one that is too "
                "large (federation.sites), or begin another run with another federation.name and a lower "
                "training.learning-rate-shared",
            )
        return shared

    # Flower's five hooks, on top of the above

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The round's message to every known site."""
        assert self.request is not None
        assert self.request.round == server_round
        return [self.instruction(site, self.run.federation.round_deadline_s) for site in sorted(self.nodes)]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Admit these replies and aggregate; (None, None) when none passed."""
        for message in replies:
            if not message.has_error():
                self.admit(words_of(message, RoundReply).site, message)
        self.settle()
        if not any(one.delta is not None for one in self.admitted.values()):
            return None, None
        return ArrayRecord({SHARED: self.aggregate()}), MetricRecord({"sites": len(self.admitted)})

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Nothing: sites evaluate inside the round's one message."""
        return []

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Nothing to aggregate; per-site numbers stay per site, in the history."""
        return None

    def summary(self) -> None:
        """One line in Flower's log."""
        from flwr.common.logger import log

        log(20, "pFedSAM: %s values shared, %s sites known", self.contract.n_values, len(self.nodes))
