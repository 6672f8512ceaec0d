"""The backbones, one row each. Plain data: nothing here imports torch.

Sizes and digests of the official files: facebookresearch/segment-anything, ``build_sam.py`` and the
registries of independent projects that publish the same SHA-256.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Backbone:
    """One SAM-shaped network.

    Attributes:
        embed_dim, depth, heads: of the image encoder.
        global_blocks: blocks with global attention; the others use windows of ``window`` tokens.
        window: 0 means global attention everywhere.
        patch: pixels per token side.
        native_size: input side for which ``pos_embed`` is stored; other sizes are interpolated at run time.
        relative_positions: whether attention has relative position tables.
        pixel_mean, pixel_std: of RGB values in 0..255.
        file, sha256: the official checkpoint; empty when there is none.
        untrained_seed: seed of the weights when no checkpoint is given; None: a checkpoint is required.
    """

    embed_dim: int
    depth: int
    heads: int
    global_blocks: tuple[int, ...]
    window: int
    patch: int
    native_size: int
    relative_positions: bool
    pixel_mean: tuple[float, float, float]
    pixel_std: tuple[float, float, float]
    file: str = ""
    sha256: str = ""
    untrained_seed: int | None = None


SAM_MEAN, SAM_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)

BACKBONES = {
    "vit_tiny": Backbone(384, 6, 6, (), 0, 14, 224, False, SAM_MEAN, SAM_STD, untrained_seed=20250919),
    "vit_b": Backbone(
        768, 12, 12, (2, 5, 8, 11), 14, 16, 1024, True, SAM_MEAN, SAM_STD,
        "sam_vit_b_01ec64.pth", "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
    ),
    "vit_l": Backbone(
        1024, 24, 16, (5, 11, 17, 23), 14, 16, 1024, True, SAM_MEAN, SAM_STD,
        "sam_vit_l_0b3195.pth", "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
    ),
    "vit_h": Backbone(
        1280, 32, 16, (7, 15, 23, 31), 14, 16, 1024, True, SAM_MEAN, SAM_STD,
        "sam_vit_h_4b8939.pth", "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
    ),
}  # fmt: skip
