"""The rows of a comparison: every rival and every ablation as a handful of settings. No code of their own.

A row says what it changes in the settings that all rows share, and which of its run's models is its result.
Rows with the same settings share one run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from ..settings.sources import refuse, suggest

Model = Literal["global", "personal", "alone", "blend", "deployed"]
Budget = Literal["global", "total"]
Scalar = str | int | float | bool


@dataclass(frozen=True)
class Row:
    """One line of the comparison.

    Attributes:
        sentence: what it is, for lists and tables.
        settings: what it changes, by flat key.
        model: whose scores are its result: ``global``, ``personal``, ``alone`` (trained at the site only),
            ``blend`` (global and personal, mixed on validation), ``deployed`` (all models there are, mixed).
        pooled: the data of all sites lie at one.
        spread: the personal steps, wherever the others have them, are divided evenly over all rounds.
    """

    sentence: str
    settings: Mapping[str, Scalar] = field(default_factory=dict)
    model: Model = "global"
    pooled: bool = False
    spread: bool = False


NOT_ALONE: dict[str, Scalar] = {"evaluation.alone": False}
FEDAVG: dict[str, Scalar] = {"method": "fedavg", "evaluation.alone": True}
PFEDSAM: dict[str, Scalar] = {"method": "pfedsam", "evaluation.alone": True}
TUNED: dict[str, Scalar] = {"method": "fedavg-ft", **NOT_ALONE}


def _fedavg(sentence: str, **changes: Scalar) -> Row:
    """A row like FedAvg-LoRA with other settings; names have ``__`` for the dot and ``_`` for the hyphen."""
    return Row(sentence, {"method": "fedavg", **NOT_ALONE, **_keys(changes)})


def _method(name: str, sentence: str, model: Model = "personal", **changes: Scalar) -> Row:
    return Row(sentence, {"method": name, **NOT_ALONE, **_keys(changes)}, model)


def _ablation(sentence: str, **changes: Scalar) -> Row:
    """pFedSAM with something taken away or changed."""
    return Row(sentence, {"method": "pfedsam", **NOT_ALONE, **_keys(changes)}, "personal")


def _interleaved(sentence: str, **changes: Scalar) -> Row:
    """An ablation of pFedSAM with a local phase in every round."""
    return replace(_ablation(sentence, **changes), spread=True)


def _keys(changes: Mapping[str, Scalar]) -> dict[str, Scalar]:
    return {key.replace("__", ".").replace("_", "-"): value for key, value in changes.items()}


ROWS: dict[str, Row] = {
    "local": Row("no federation: LoRA and decoder trained at each site", FEDAVG, "alone"),
    "local-lmoe": _method("local-lmoe", "no federation: LoRA, decoder and L-MoE trained at each site"),
    "pooled": Row(
        "upper reference: all patients at one place, as many steps as all sites take together",
        {"method": "fedavg", **NOT_ALONE},
        pooled=True,
    ),
    "fedavg-lora": Row("LoRA and decoder averaged (FedAvg)", FEDAVG),
    "fedavg-local-blend": Row("FedAvg and training alone, mixed on validation", FEDAVG, "deployed"),
    "fedavg-lora-ft": Row("FedAvg, then fine-tuned at each site in the closing round", TUNED, "personal"),
    "fedavg-lora-ft-blend": Row("the same, mixed with the average on validation", TUNED, "blend"),
    # whole blocks do not bear the learning rate of adapters: of 1e-3, 3e-4 and 1e-4 the best on validation
    "fedsam": _method(
        "fedsam",
        "all of SAM averaged, no adapters, a tenth of the learning rate",
        "global",
        training__learning_rate_shared=1e-4,
    ),
    "fedmsa": _method("fedmsa", "one adapter in every block and the decoder averaged", "global"),
    "flap": _fedavg(
        "FedAvg with the best pair of the mean product (QR-core SVD)", aggregation__rule="product"
    ),
    "residual": _fedavg("FedAvg with the mean product exact", aggregation__rule="residual"),
    # rules that bear a hostile site: what they cost when nobody is
    "median": _fedavg("the median of each value instead of the mean", aggregation__rule="median"),
    "trimmed-mean": _fedavg(
        "the mean of each value without the smallest and the largest fifth", aggregation__rule="trimmed-mean"
    ),
    "clipped-mean": _fedavg(
        "FedAvg of deltas shortened to the median norm", aggregation__rule="clipped-mean"
    ),
    "alternating": _fedavg("FedAvg of B in odd and A in even rounds", lora__train="alternating"),
    "fedprox": _fedavg("FedAvg with a pull towards the average (FedProx)", training__proximal=0.01),
    "ffa-lora": _method("ffa", "A as drawn, B and decoder averaged (FFA-LoRA)", "global"),
    "fedsa-lora": _method("fedsa", "A and decoder averaged, B kept (FedSA-LoRA)"),
    # without LoRA in the decoder only the encoder's half of IAT would be left
    "iat-share": _method(
        "iat-share",
        "encoder: B averaged, A kept; decoder, with LoRA of its own: the other way round",
        decoder__mode="lora-heads",
    ),
    "iat": _method(
        "iat-share",
        "iat-share, its averaged factors kept from following the site's (IAT)",
        decoder__mode="lora-heads",
        training__orthogonality=0.1,
    ),
    "iat-share-mirror": _method(
        "iat-share-mirror", "iat-share with A and B exchanged", decoder__mode="lora-heads"
    ),
    "fedper": _method("fedper", "LoRA averaged, decoder kept (FedPer)"),
    "fedbn": _method("fedbn", "LoRA and decoder averaged, LayerNorms kept (after FedBN)"),
    "ditto": Row(
        "a whole copy kept, pulled towards the average (Ditto)",
        {"method": "ditto", "training.proximal": 0.01, **NOT_ALONE},
        "personal",
        spread=True,
    ),
    "private-lora": _method(
        "private-lora", "pfedsam with a second LoRA of as many parameters instead of L-MoE"
    ),
    "pfedsam": Row("the global model with the site's own experts", PFEDSAM, "personal"),
    "pfedsam-blend": Row("the same, mixed with the global model on validation", PFEDSAM, "blend"),
    "pfedsam-deployed": Row("what a site deploys: all its models, mixed on validation", PFEDSAM, "deployed"),
    "pfedsam-global": Row("the global model of the same run", PFEDSAM, "global"),
    "pfedsam-tuned": _method(
        "pfedsam-tuned", "pfedsam, and a copy of LoRA and decoder fine-tuned with the experts at the end"
    ),
    "pfedsam-tuned-blend": Row(
        "the same, mixed with the global model on validation",
        {"method": "pfedsam-tuned", **NOT_ALONE},
        "blend",
    ),
    "pfedsam-paper": Row(
        "the recipe of the paper: both phases in every round, constant learning rates",
        {"method": "pfedsam", **NOT_ALONE}
        | _keys(
            {
                "lmoe__blocks": "last-third",
                "lmoe__gate": "token",
                "neck__rank": 0,
                "distillation__direction": "global-to-personal",
                "training__phase_order": "local-first",
                "training__schedule": "constant",
                "training__proximal": 0.0,
                "aggregation__rule": "mean",
            }
        ),
        "personal",
        spread=True,
    ),
    "interleaved": _interleaved("pfedsam with its personal steps in all rounds"),
    "constant-rates": _ablation("learning rates that do not fall", training__schedule="constant"),
    "neck-branch": _ablation("a personal branch in the neck beside the experts", neck__rank=32),
    "no-lmoe": Row("pfedsam without its L-MoE, which is FedAvg: the run of fedavg-lora", FEDAVG),
    "uniform-gate": _ablation("the experts' mean instead of a gate", lmoe__gate="uniform"),
    "top-1": _ablation("each token goes to one expert", lmoe__gate="top-1"),
    "per-image-gate": _ablation("one gate per image", lmoe__gate="image"),
    "place-early": _ablation("experts in the first three blocks", lmoe__blocks="0,1,2"),
    "place-late": _ablation("experts in the last third of the blocks", lmoe__blocks="last-third"),
    "place-all": _ablation("experts in every block", lmoe__blocks="all"),
    "no-distillation": _ablation("nobody teaches", distillation__direction="none"),
    # fresh experts have nothing to teach, so here there are personal steps in all rounds
    "reverse-distillation": _interleaved(
        "interleaved, and the personalised model teaches the global one",
        distillation__direction="personal-to-global",
    ),
    "both-distillation": _interleaved(
        "interleaved, and both teach each other", distillation__direction="both"
    ),
    # both phases start from the broadcast: their order matters only where the personalised model teaches
    "global-first": _interleaved(
        "both-distillation with the global phase first",
        distillation__direction="both",
        training__phase_order="global-first",
    ),
    "coupled": Row(
        "experts and shared parameters trained together",
        {"method": "pfedsam-coupled", **NOT_ALONE},
        "personal",
    ),
    "no-closing": _interleaved(
        "interleaved, and nothing is trained after the last average", training__closing_steps=0
    ),
}


def chosen(names: list[str]) -> dict[str, Row]:
    """The named rows, all of them for no name, in the order of ``ROWS``.

    Raises:
        SettingsError: PFS-101 with every name that is no row.
    """
    refuse([f"--rows {n}: no such row; {suggest(n, list(ROWS))}" for n in names if n not in ROWS])
    return {name: row for name, row in ROWS.items() if not names or name in names}
