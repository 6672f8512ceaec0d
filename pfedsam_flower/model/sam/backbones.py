"""The backbones, one row each. Plain data: nothing here imports torch.

Sizes and digests of the published files: facebookresearch/segment-anything (``build_sam.py``),
ChaoningZhang/MobileSAM, bowang-lab/MedSAM, yformer/EfficientSAM, and independent projects that publish
the same SHA-256. Where several do not agree, or none publishes one, the digest is left empty.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class PlainViT:
    """SAM's own encoder, a plain vision transformer.

    Attributes:
        width, depth, heads: of the transformer.
        patch: pixels per token side.
        stored_size: input side for which ``pos_embed`` is stored; others are interpolated at run time.
        window: tokens per side of a window; 0 means global attention everywhere.
        global_blocks: blocks with global attention where the others use windows.
        relative_positions: whether attention has relative position tables.
    """

    width: int
    depth: int
    heads: int
    patch: int
    stored_size: int
    window: int = 0
    global_blocks: tuple[int, ...] = ()
    relative_positions: bool = False


@dataclass(frozen=True)
class TinyViT:
    """TinyViT as MobileSAM has it: a stage of convolutions, then three of windowed transformer blocks.

    Attributes:
        stem_kernel: side of the two first convolutions: 3 (each halves the image) or 1 (none does).
        widths, depths, heads, windows: of the four stages; the first has no attention.
    """

    stem_kernel: int
    widths: tuple[int, int, int, int] = (64, 128, 160, 320)
    depths: tuple[int, int, int, int] = (2, 2, 6, 2)
    heads: tuple[int, int, int, int] = (2, 4, 5, 10)
    windows: tuple[int, int, int, int] = (7, 7, 14, 7)

    @property
    def depth(self) -> int:
        """Number of transformer blocks."""
        return sum(self.depths[1:])

    @property
    def patch(self) -> int:
        """Input pixels per side of an embedding pixel: the stages between halve twice."""
        return 16 if self.stem_kernel == 3 else 4


@dataclass(frozen=True)
class Pixels:
    """How an image becomes the network's input.

    Attributes:
        mean, std: of RGB values in 0..255; not used with ``min_max``.
        min_max: instead, each image's smallest value becomes 0 and its largest 1, all channels together.
        stretch: the image fills the square; otherwise it keeps its aspect, zeros at right and bottom.
    """

    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    min_max: bool = False
    stretch: bool = False


@dataclass(frozen=True)
class Backbone:
    """One SAM-shaped network.

    Attributes:
        encoder: the image encoder; prompt encoder and mask decoder are SAM's in every row.
        native_size: input side in pixels with which the weights were trained; others work, less well.
        file, sha256: the published checkpoint; empty when there is none, or its digest is not known.
        shipped, shipped_sha256: the weights inside the package, used when no checkpoint is given; empty: a
            checkpoint is required.
        prompt_masks: masks to choose from for one point alone: 3 where SAM's three were trained, 1 where
            only its single mask was, 0 where the decoder is a start for training and answers no prompt.
    """

    encoder: PlainViT | TinyViT
    native_size: int
    pixels: Pixels
    file: str = ""
    sha256: str = ""
    shipped: str = ""
    shipped_sha256: str = ""
    prompt_masks: int = 1

    @property
    def patch(self) -> int:
        """Input pixels per side of an embedding pixel; the input size is a multiple of it."""
        return self.encoder.patch

    @property
    def depth(self) -> int:
        """Number of transformer blocks."""
        return self.encoder.depth


MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""ImageNet's, times 255; SAM and EfficientSAM use the same numbers."""

SAM = Pixels(MEAN, STD)
EFFICIENT_SAM = Pixels(MEAN, STD, stretch=True)
MEDSAM = Pixels(min_max=True, stretch=True)
LITE_MEDSAM = Pixels(min_max=True)

VIT_B = PlainViT(768, 12, 12, 16, 1024, 14, (2, 5, 8, 11), relative_positions=True)
VIT_L = PlainViT(1024, 24, 16, 16, 1024, 14, (5, 11, 17, 23), relative_positions=True)
VIT_H = PlainViT(1280, 32, 16, 16, 1024, 14, (7, 15, 23, 31), relative_positions=True)

BACKBONES = {
    "vit_tiny": Backbone(
        PlainViT(384, 6, 6, 14, 224), 224, SAM,
        shipped="vit_tiny.safetensors",
        shipped_sha256="8a8dee233a185e1f962674f4ffc2984ef6fb921ef9d1c7dd5b111da75691c92a",
    ),
    "vit_b": Backbone(
        VIT_B, 1024, SAM,
        "sam_vit_b_01ec64.pth", "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        prompt_masks=3,
    ),
    "vit_l": Backbone(
        VIT_L, 1024, SAM,
        "sam_vit_l_0b3195.pth", "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        prompt_masks=3,
    ),
    "vit_h": Backbone(
        VIT_H, 1024, SAM,
        "sam_vit_h_4b8939.pth", "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        prompt_masks=3,
    ),
    "medsam_vit_b": Backbone(VIT_B, 1024, MEDSAM, "medsam_vit_b.pth"),
    "mobile_sam": Backbone(
        TinyViT(stem_kernel=3), 1024, SAM,
        "mobile_sam.pt", "6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
        prompt_masks=3,
    ),
    "lite_medsam": Backbone(
        TinyViT(stem_kernel=1), 256, LITE_MEDSAM,
        "lite_medsam.pth", "79d8c9dca6db4d69d3f905579e5250af05e859fff9c1f543e89a513c3028ce76",
    ),
    "efficient_sam_ti": Backbone(
        PlainViT(192, 12, 3, 16, 224), 1024, EFFICIENT_SAM, "efficient_sam_vitt.pt", prompt_masks=0
    ),
    "efficient_sam_s": Backbone(
        PlainViT(384, 12, 6, 16, 224), 1024, EFFICIENT_SAM, "efficient_sam_vits.pt", prompt_masks=0
    ),
}  # fmt: skip


def size_problems(name: str, size: int) -> list[str]:
    """What is wrong with ``size`` as the input side of backbone ``name``: one sentence, or nothing."""
    patch = BACKBONES[name].patch
    if size % patch == 0:
        return []
    lower = size // patch * patch
    return [f"size = {size}: {name} needs a multiple of {patch}, for example {lower} or {lower + patch}"]
