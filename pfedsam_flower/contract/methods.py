"""The methods, as rows of plain settings. A rival is another row, never another class.

A row says which groups of tensors are averaged, which stay at the site, and what a site does in a round.
"""

from dataclasses import dataclass
from typing import Literal

Group = Literal[
    "lora-a",
    "lora-b",
    "decoder-lora-a",
    "decoder-lora-b",
    "decoder",
    "experts",
    "private-lora",
    "neck-branch",
    "norms",
    "encoder",
]
"""Parts of the model that a method may train; whatever it does not name is frozen.

``decoder`` is what ``decoder.mode`` names, ``norms`` the LayerNorms of the encoder's blocks, ``encoder`` all
of SAM's encoder. ``decoder-lora`` is there with ``decoder.mode = lora-heads`` only, ``neck-branch`` with
``neck.rank`` above 0.
"""

ADDED: frozenset[Group] = frozenset({"experts", "private-lora", "neck-branch"})
"""Groups that stand beside what SAM has and start at zero; without a site's own it is the global model."""

Phase = Literal["global", "local", "joint", "tune", "pull"]
"""What a site does with its steps.

``global``: trains the shared parameters, personal additions bypassed; the delta is sent.
``local``: trains the personal parameters on the frozen broadcast, distilling from the global model.
``joint``: trains both together; the shared part's delta is sent.
``tune``: fine-tunes a copy of the shared parameters from the broadcast, with what is personal. It stays.
``pull``: trains a copy of the shared parameters that stays and is pulled towards the broadcast (Ditto).
"""

LORA: tuple[Group, ...] = ("lora-a", "lora-b", "decoder-lora-a", "decoder-lora-b")
ADAPTERS: tuple[Group, ...] = (*LORA, "decoder")


@dataclass(frozen=True)
class Method:
    """One row.

    Attributes:
        sentence: what it does, for lists.
        shared, personal: groups that are averaged; that stay at the site.
        round, closing: phases of a training and of the closing round, in order (training.phase-order may
            turn pfedsam's two around).
    """

    sentence: str
    shared: tuple[Group, ...]
    personal: tuple[Group, ...] = ()
    round: tuple[Phase, ...] = ("global",)
    closing: tuple[Phase, ...] = ()

    @property
    def has_global(self) -> bool:
        """Whether what is averaged is a model without any site's personal part."""
        return bool(self.shared) and set(self.personal) <= ADDED

    @property
    def own_copy(self) -> bool:
        """Whether a site ends with its own copy of the shared parameters."""
        return bool({"tune", "pull"} & {*self.round, *self.closing})

    @property
    def has_personal(self) -> bool:
        """Whether a site ends with a model of its own."""
        return bool(self.personal) or self.own_copy

    @property
    def splits_lora(self) -> bool:
        """Whether of LoRA's two factors one is averaged and the other stays."""
        return bool(set(LORA) & set(self.shared)) and bool(set(LORA) & set(self.personal))

    @property
    def experts(self) -> bool:
        """Whether the model has L-MoE (or its adapter of one expert)."""
        return "experts" in (*self.shared, *self.personal)


_LATE: tuple[Phase, ...] = ("local",)

METHODS = {
    "pfedsam": Method(
        "LoRA and decoder averaged; L-MoE kept at the site; two phases",
        ADAPTERS, ("experts", "neck-branch"), ("local", "global"), _LATE,
    ),
    "pfedsam-tuned": Method(
        "as pfedsam; in the closing round a copy of LoRA and decoder is fine-tuned with L-MoE",
        ADAPTERS, ("experts", "neck-branch"), ("global",), ("tune",),
    ),
    "fedavg": Method("LoRA and decoder averaged, nothing personal", ADAPTERS),
    "fedavg-ft": Method(
        "LoRA and decoder averaged, then fine-tuned at each site", ADAPTERS, (), ("global",), ("tune",)
    ),
    "pfedsam-coupled": Method(
        "as pfedsam, but L-MoE and shared parameters are trained together",
        ADAPTERS, ("experts", "neck-branch"), ("joint",), _LATE,
    ),
    "local-lmoe": Method(
        "no federation: LoRA, decoder and L-MoE trained at each site",
        (), (*ADAPTERS, "experts"), _LATE, _LATE,
    ),
    "private-lora": Method(
        "as pfedsam, with a second LoRA of as many parameters instead of L-MoE",
        ADAPTERS, ("private-lora", "neck-branch"), ("local", "global"), _LATE,
    ),
    "ditto": Method(
        "a whole copy at each site, pulled towards the average (Ditto)",
        ADAPTERS, (), ("global", "pull"), ("pull",),
    ),
    "fedper": Method(
        "LoRA averaged, the decoder personal (FedPer)", LORA, ("decoder",), ("joint",), _LATE
    ),
    "fedbn": Method(
        "LoRA and decoder averaged, LayerNorms personal (FedBN's idea; SAM has no BatchNorm)",
        ADAPTERS, ("norms",), ("joint",), _LATE,
    ),
    "ffa": Method(
        "LoRA's B and decoder averaged, A frozen as drawn (FFA-LoRA)", ("lora-b", "decoder-lora-b", "decoder")
    ),
    "fedsa": Method(
        "LoRA's A and decoder averaged, B personal (FedSA-LoRA)",
        ("lora-a", "decoder-lora-a", "decoder"), ("lora-b", "decoder-lora-b"), ("joint",), _LATE,
    ),
    "iat-share": Method(
        "encoder: B averaged, A personal; decoder: A averaged, B personal (after IAT's abstract)",
        ("lora-b", "decoder-lora-a", "decoder"), ("lora-a", "decoder-lora-b"), ("joint",), _LATE,
    ),
    "iat-share-mirror": Method(
        "encoder: A averaged, B personal; decoder: B averaged, A personal",
        ("lora-a", "decoder-lora-b", "decoder"), ("lora-b", "decoder-lora-a"), ("joint",), _LATE,
    ),
    "fedsam": Method(
        "all of SAM's encoder and decoder averaged, no adapters", ("encoder", "norms", "decoder")
    ),
    "fedmsa": Method("one adapter in every block and the decoder averaged", ("experts", "decoder")),
}  # fmt: skip
