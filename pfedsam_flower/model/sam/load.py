"""A backbone's name → a SAM with its weights."""

from pathlib import Path

from torch import nn

from ...errors import CheckpointError
from .backbones import BACKBONES
from .checkpoint import LoadReport, load_backbone
from .modules import build_sam, untrained


def load_sam(name: str, image_size: int, checkpoint: str = "") -> tuple[nn.Module, LoadReport | None]:
    """A SAM for ``image_size`` and what its file gave; the report is None for untrained weights.

    Args:
        name: a row of ``BACKBONES``.
        image_size: side in pixels of the input square, a multiple of the row's patch.
        checkpoint: path of the weights; empty only for a backbone that comes with its own.

    Raises:
        CheckpointError: PFS-301, -302, -303.
    """
    backbone = BACKBONES[name]
    if checkpoint:
        sam = build_sam(backbone, image_size)
        return sam, load_backbone(sam, backbone, Path(checkpoint))
    if backbone.untrained_seed is not None:
        return untrained(backbone, image_size), None
    raise CheckpointError(
        "PFS-301",
        f"{name} needs its weights and no checkpoint is set",
        hint=f"set coordinator.checkpoint and each site's checkpoint to {backbone.file}",
    )
