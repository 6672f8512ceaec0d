"""What a federation agrees on. These settings travel to every site; nothing in them is a path at a site.

Each setting is declared once, here: its type, range, unit and one sentence. The defaults table in
``pyproject.toml`` and ``docs/reference/settings.md`` are written from it (``make settings``), and a
test compares them.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _split(value: object) -> object:
    """Flower's run config knows no lists: a list setting is a comma-separated string."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


YEAR_S = 366 * 86400.0
"""The longest wait: what keeps time below cannot count much further."""

Names = Annotated[tuple[str, ...], BeforeValidator(_split)]


def _hyphens(name: str) -> str:
    return name.replace("_", "-")


class Section(BaseModel):
    """A table of settings: unknown keys are errors, values keep their type, nothing changes later."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        alias_generator=_hyphens,
        populate_by_name=True,
    )


class FederationSettings(Section):
    name: str = Field("phantoms", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="Identity of the federation: run folder and personal state are bound to it.")
    sites: Names = Field((), description="Names of the sites that take part, comma separated; empty: whoever answers.")
    minimum_sites: int = Field(2, ge=1, description="Sites that must answer, or the round is not closed.")
    start_deadline_s: float = Field(120.0, gt=0, le=YEAR_S, description="Seconds to wait for the sites before a round starts.")
    round_deadline_s: float = Field(3600.0, gt=0, le=YEAR_S, description="Seconds that a round may take.")
    below_quorum: Literal["stop", "wait", "retry"] = Field("stop",
        description="What is done when fewer than minimum-sites answer: stop ends the run, which can be resumed; wait keeps "
        "the round open for those that are missing; retry asks everybody again, those whose answer was left out too.")
    quorum_wait_s: float = Field(86400.0, gt=0, le=YEAR_S,
        description="Seconds below quorum after which the run ends all the same (wait, retry).")


class BackboneSettings(Section):
    name: str = Field("vit_tiny",
        description="A row of BACKBONES: vit_tiny, vit_b, vit_l, vit_h, medsam_vit_b, mobile_sam, lite_medsam, "
        "efficient_sam_ti, efficient_sam_s.")


class ImageSettings(Section):
    size: int = Field(224, ge=28, le=2048,
        description="Side in pixels of the square that the network sees; a multiple of the backbone's patch. "
        "For vit_b/l/h 224, 448 and 896 fill SAM's 14-token windows exactly; 256 costs twice 224. "
        "Sizes at which the weights were trained: vit_tiny 224, lite_medsam 256, all others 1024.")
    plane: Literal["acquisition", "axial", "coronal", "sagittal", "stored"] = Field("acquisition",
        description="How volumes are cut into slices: acquisition cuts across the axis whose spacing is clearly the "
        "largest (1.2 times the others), and axially where there is none. Slices lie as radiologists see them; "
        "stored leaves everything as it is in the file.")
    spacing_mm: float = Field(0.0, ge=0, le=100,
        description="Millimetres per pixel of the square; a slice that does not fit is shrunk until it does. "
        "0: the longest side of each slice becomes the size, whatever its spacing.")
    neighbours: int = Field(0, ge=0, le=1,
        description="1: the slices before and after come in as first and third channel (grey volumes only).")
    intensity: Literal["percentiles", "window"] = Field("percentiles",
        description="What becomes 0..255: a range of percentiles of each case, or one window of values for all (CT).")
    clip_low: float = Field(0.5, ge=0, lt=50, description="Percentile of a case's intensities that becomes 0.")
    clip_high: float = Field(99.5, gt=50, le=100, description="Percentile of a case's intensities that becomes 255.")
    window_low: float = Field(-160.0, ge=-1e6, le=1e6,
        description="Value that becomes 0 with intensity = window; Hounsfield units in CT.")
    window_high: float = Field(240.0, ge=-1e6, le=1e6,
        description="Value that becomes 255 with intensity = window; -160 to 240 is a usual soft tissue window.")


class LoraSettings(Section):
    rank: int = Field(8, ge=1, le=256, description="Rank of each LoRA pair.")
    alpha: float = Field(16.0, gt=0, description="LoRA scale is alpha / rank.")
    targets: Names = Field(("q", "v"), min_length=1, description="Parts of each attention's fused qkv that get a pair: q, k, v.")
    train: Literal["both", "alternating"] = Field("both",
        description="Which factors a round trains: both, or B in odd and A in even rounds, whose mean is then exact.")


class LmoeSettings(Section):
    experts: int = Field(4, ge=1, le=64, description="Experts per block.")
    rank: int = Field(8, ge=1, le=256, description="Inner width of one expert.")
    blocks: Names = Field(("last-third",),
        description="Encoder blocks with experts: last-third, all, or block numbers, comma separated.")
    gate: Literal["token", "image", "uniform", "top-1"] = Field("token",
        description="One gate per token, or one per image; uniform (no gate) and top-1 are controls.")


class NeckSettings(Section):
    rank: int = Field(0, ge=0, le=256,
        description="Rank of a personal branch beside the 3x3 convolution of the encoder's neck; 0: none.")


class DecoderSettings(Section):
    mode: Literal["heads", "lora-heads", "full"] = Field("full",
        description="What of the mask decoder is trained and shared: heads (tokens, upscaling, hypernetworks), "
        "heads plus LoRA in its attentions, or all of it.")


class TrainingSettings(Section):
    global_steps: int = Field(15, ge=0, description="Optimiser steps of the global phase, per round.")
    local_steps: int = Field(0, ge=0,
        description="Optimiser steps of the local phase, per round; 0: the closing round trains the L-MoE, on the final average.")
    closing_steps: int = Field(40, ge=0,
        description="Optimiser steps of the closing round, on the final shared parameters; nothing of them is sent.")
    batch_size: int = Field(4, ge=1, description="Samples per optimiser step.")
    learning_rate_shared: float = Field(1e-3, gt=0, lt=1, description="AdamW learning rate of the shared parameters.")
    learning_rate_personal: float = Field(1e-3, gt=0, lt=1, description="AdamW learning rate of the L-MoE.")
    weight_decay: float = Field(0.01, ge=0, lt=1, description="AdamW weight decay, both phases.")
    clip_norm: float = Field(1.0, gt=0, description="Largest gradient norm of a step.")
    phase_order: Literal["local-first", "global-first"] = Field("local-first",
        description="Which phase comes first in a round. Both start from the broadcast, so it matters only where the "
        "personalised model teaches.")
    personal_from: int = Field(1, ge=1, description="First round with a local phase.")
    schedule: Literal["constant", "falling"] = Field("falling",
        description="Learning rates: constant, or falling to a twentieth over the second half of a run's steps.")
    proximal: float = Field(0.0, ge=0, le=100,
        description="Pull towards the broadcast, mu of mu/2 |w - broadcast|^2: FedProx in the global phase, Ditto in its own.")
    orthogonality: float = Field(0.0, ge=0, le=10,
        description="Weight of IAT's term: averaged factors of LoRA do not follow those that a site keeps "
        "(fedsa, iat-share, iat-share-mirror).")
    augment: bool = Field(True, description="Flips, small affine moves, contrast, gamma and noise on training samples.")
    precision: Literal["float32", "bfloat16"] = Field("float32",
        description="bfloat16 runs the network under autocast; needs hardware that has it.")


class DistillationSettings(Section):
    direction: Literal["global-to-personal", "personal-to-global", "both", "none"] = Field("global-to-personal",
        description="Who teaches: the global model in the local phase, the personalised one in the global phase "
        "(what a site keeps then has a part in what it sends), both, or nobody.")
    weight: float = Field(0.1, ge=0, le=10, description="Weight of the distillation term after warm-up.")
    temperature: float = Field(2.0, gt=0, le=20, description="Temperature T; the term is scaled by T squared.")
    warmup_rounds: int = Field(2, ge=0, description="Rounds over which the weight rises from 0.")


class AggregationSettings(Section):
    rule: str = Field("mean", description="A row of RULES: mean, product (each LoRA pair becomes the best pair of the mean product), residual "
        "(the mean, and what it leaves out of the mean product travels as a whole matrix); or one that bears a hostile site "
        "of three or more: median and trimmed-mean of each value (every site counts for the same), clipped-mean (deltas "
        "shortened to the median norm).")
    weights: str = Field("patients", description="A row of WEIGHTS: what a site counts for: patients (as it said when it "
        "joined), samples (as its first reply said), equal.")
    largest_norm: float = Field(1000.0, gt=0, description="A delta with a larger Euclidean norm is left out by name, whatever "
        "the others' are; and so is one that is six times as long as the median of the others'.")


class EvaluationSettings(Section):
    every: int = Field(1, ge=1, description="Rounds between validations at the sites.")
    alone: bool = Field(True,
        description="Also train, at each site, a model without the federation for the same number of steps, "
        "so that a hospital sees what the federation is worth to it. Doubles the training time.")
    surface: bool = Field(False,
        description="Also HD95 and NSD of each test case in the closing round; they stay at the site. Costs it seconds.")


class RunSettings(Section):
    """All that the sites of one federation must agree on."""

    seed: int = Field(0, ge=0, lt=2**32, description="Every random draw derives from it.")
    rounds: int = Field(8, ge=0, le=10_000, description="Rounds of training; a closing round follows. 0: the preflight alone.")
    method: str = Field("pfedsam", description="A row of METHODS.")
    classes: Names = Field(("organ", "lesion"), min_length=1, description="Classes to segment, comma separated; one output channel each.")
    federation: FederationSettings = FederationSettings()
    backbone: BackboneSettings = BackboneSettings()
    image: ImageSettings = ImageSettings()
    lora: LoraSettings = LoraSettings()
    lmoe: LmoeSettings = LmoeSettings()
    neck: NeckSettings = NeckSettings()
    decoder: DecoderSettings = DecoderSettings()
    training: TrainingSettings = TrainingSettings()
    distillation: DistillationSettings = DistillationSettings()
    aggregation: AggregationSettings = AggregationSettings()
    evaluation: EvaluationSettings = EvaluationSettings()


class CoordinatorSettings(Section):
    """What the coordinator keeps to itself: no site reads these."""

    folder: str = Field("runs", description="Folder of the run folders, relative to where the SuperLink was started.")
    enrolment: str = Field("",
        description="Path of the enrolled.json that pfedsam enrol keeps, relative as above: sites are then known by the names "
        "that they are enrolled under, and other nodes get nothing. Empty: by what they say of themselves.")
    keep_newest: int = Field(5, ge=2,
        description="Newest rounds whose shared parameters stay in the run folder; a run goes on from the newest one, and from "
        "the one before should that be damaged.")
    keep_every: int = Field(10, ge=0, description="Of older rounds each so many-th stays too, round 0 included; 0: none. 1: all.")
    checkpoint: str = Field("", description="Path of the backbone's weights at the coordinator; empty: those inside the package (vit_tiny has them).")
