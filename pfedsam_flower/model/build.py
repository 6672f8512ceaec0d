"""Settings → model. The only model file that knows settings."""

from dataclasses import dataclass

import torch

from ..contract.methods import METHODS
from ..contract.schema import Contract
from ..settings.run import RunSettings
from ..settings.sources import class_problems, suggest
from .exchange import shared_tensors
from .lmoe import add_lmoe
from .lora import PARTS, LoraLinear, add_lora_to_decoder, add_lora_to_encoder, add_private_lora
from .neck import add_neck_branch
from .pfedsam import PFedSAM
from .roles import Role, assign_roles, set_trainable
from .sam.backbones import BACKBONES, size_problems
from .sam.checkpoint import LoadReport, state_digest
from .sam.load import load_sam


@dataclass(frozen=True)
class Built:
    """A model ready for its phases, and what its backbone's file gave."""

    model: PFedSAM
    roles: dict[str, Role]
    contract: Contract
    report: LoadReport


def problems(run: RunSettings) -> list[str]:
    """Settings that do not go together, or name rows that do not exist; one sentence each."""
    found = []
    if run.method not in METHODS:
        found.append(f"method = {run.method!r}: no such method; {suggest(run.method, list(METHODS))}")
    found += [f"lora.targets: {t!r} is none of q, k, v" for t in run.lora.targets if t not in PARTS]
    found += class_problems(run.classes)
    if run.image.window_low >= run.image.window_high:
        low, high = run.image.window_low, run.image.window_high
        found.append(f"image.window-low = {low:g}: is not below image.window-high = {high:g}")
    backbone = BACKBONES.get(run.backbone.name)
    if backbone is None:
        name = run.backbone.name
        return [*found, f"backbone.name = {name!r}: no such backbone; {suggest(name, list(BACKBONES))}"]
    found += [f"image.{fault}" for fault in size_problems(run.backbone.name, run.image.size)]
    method = METHODS.get(run.method)
    if run.aggregation.rule == "residual" and method and not {"lora-a", "lora-b"} <= set(method.shared):
        found.append(f"aggregation.rule = 'residual': {run.method} does not average both of LoRA's factors")
    if run.training.orthogonality and method and not method.splits_lora:
        found.append(
            f"training.orthogonality = {run.training.orthogonality:g}: it is for methods that average one "
            "factor of LoRA and keep the other: fedsa, iat-share, iat-share-mirror; take one, or set 0"
        )
    if backbone.pixels.stretch and run.image.spacing_mm:
        found.append(
            f"image.spacing-mm = {run.image.spacing_mm:g}: {run.backbone.name} stretches every image to its "
            "square, so millimetres per pixel cannot be kept; set 0 or take another backbone"
        )
    try:
        expert_blocks(run.lmoe.blocks, backbone.depth)
    except ValueError as error:
        found.append(f"lmoe.blocks: {error}")
    return found


def expert_blocks(blocks: tuple[str, ...], depth: int) -> tuple[int, ...]:
    """Numbers of the blocks with experts.

    Raises:
        ValueError: not a word that is known, or no such block.
    """
    if blocks == ("last-third",):
        return tuple(range(depth - max(1, depth // 3), depth))
    if blocks == ("all",):
        return tuple(range(depth))
    unknown = [b for b in blocks if not b.isdecimal() or int(b) >= depth]
    if unknown or not blocks:
        raise ValueError(
            f"{', '.join(unknown) or 'nothing'} is neither last-third, all nor a block of 0..{depth - 1}"
        )
    return tuple(sorted({int(b) for b in blocks}))


def build(run: RunSettings, checkpoint: str, device: str = "cpu") -> Built:
    """The adapted model at its start, its roles and its contract.

    Every draw (LoRA, experts) comes from ``run.seed``, so all sites and the coordinator start from the
    same shared parameters.

    Args:
        run: valid settings (``problems(run)`` is empty).
        checkpoint: path of the backbone's weights; empty: those inside the package.

    Raises:
        CheckpointError: PFS-301 … PFS-304.
    """
    sam, report = load_sam(run.backbone.name, run.image.size, checkpoint)
    identity = state_digest(sam.state_dict())
    method = METHODS[run.method]
    model = PFedSAM(sam, len(run.classes), run.image.size)
    _add_modules(model, run)
    roles = assign_roles(model, run.decoder.mode, method)
    set_trainable(model, roles, None)
    contract = Contract(shared_tensors(model, roles), identity, run.classes, run.image.size, run.method)
    return Built(model.to(device).eval(), roles, contract, report)


def _add_modules(model: PFedSAM, run: RunSettings) -> None:
    """What the method trains beside SAM's own weights. LoRA is drawn first: alike under every method."""
    method, encoder = METHODS[run.method], model.image_encoder
    groups = {*method.shared, *method.personal}
    draw = torch.Generator().manual_seed(run.seed)
    if groups & {"lora-a", "lora-b"}:
        scale = run.lora.alpha / run.lora.rank
        add_lora_to_encoder(encoder, run.lora.targets, run.lora.rank, scale, draw)
        if run.decoder.mode == "lora-heads":
            add_lora_to_decoder(model.mask_decoder.sam, run.lora.rank, scale, draw)
    if run.aggregation.rule == "residual":
        for module in model.modules():
            if isinstance(module, LoraLinear):
                module.keep_residual()
    depth = len(encoder.blocks)
    places = expert_blocks(run.lmoe.blocks, depth)
    if "experts" in method.personal:
        add_lmoe(encoder, places, run.lmoe.experts, run.lmoe.rank, run.lmoe.gate, draw)
    if "experts" in method.shared:  # an adapter in the sense of Houlsby et al. 2019
        add_lmoe(encoder, tuple(range(depth)), 1, run.lmoe.rank, "uniform", draw)
        for expert in model.experts:
            expert.personal = False
    if "private-lora" in groups:
        width = encoder.blocks[places[0]].mlp.lin1.in_features
        values = run.lmoe.experts * width * (2 * run.lmoe.rank + 1) + 1
        add_private_lora(encoder, places, values, draw)
    if "neck-branch" in groups and run.neck.rank:
        add_neck_branch(encoder, run.neck.rank, draw)
