"""A backbone's name → a SAM with its weights."""

from torch import nn

from .backbones import BACKBONES
from .checkpoint import LoadReport, load_backbone, load_shipped
from .files import weights_file
from .modules import build_sam


def load_sam(name: str, image_size: int, checkpoint: str = "") -> tuple[nn.Module, LoadReport]:
    """A SAM for ``image_size`` and what its file gave.

    Args:
        name: a row of ``BACKBONES``.
        image_size: side in pixels of the input square, a multiple of the row's patch.
        checkpoint: path of the weights; empty: those inside the package, for a backbone that has them.

    Raises:
        SettingsError: PFS-101 when there is no such backbone.
        CheckpointError: PFS-301 … PFS-304.
    """
    path = weights_file(name, checkpoint)
    sam = build_sam(BACKBONES[name], image_size)
    return sam, load_backbone(sam, name, path) if checkpoint else load_shipped(sam, path)
