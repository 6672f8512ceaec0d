"""segment-anything's prompt encoder and mask decoder, whole batches at a time, and two helpers in training.

SAM's own decoder takes one image and many prompts. Training wants many images with some prompts each.
"""

import torch
from torch import Tensor, nn


def sparse_tokens(
    encoder: nn.Module, boxes: Tensor | None, points: Tensor | None, labels: Tensor | None
) -> Tensor:
    """Prompt tokens [N, T, 256] of N prompts: two per box, or the points and SAM's padding token.

    Args:
        boxes: [N, 4] in pixels, or None.
        points, labels: [N, P, 2] in pixels and [N, P] (1 inside, 0 outside), or None.
    """
    if boxes is not None:
        return encoder._embed_boxes(boxes)
    return encoder._embed_points(points, labels, pad=True)


def decode(sam: nn.Module, embedding: Tensor, sparse: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Masks from image embeddings and prompt tokens, one prompt per row.

    Args:
        embedding: [N, 256, g, g], already repeated for images with several prompts.
        sparse: [N, T, 256]; T = 0 is the empty prompt.

    Returns:
        logits [N, 4g, 4g] of SAM's single mask, its own estimate of the IoU [N], and the upscaled
        embedding [N, 32, 4g, 4g].
    """
    decoder, prompts = sam.mask_decoder, sam.prompt_encoder
    n = len(embedding)
    own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    tokens = torch.cat([own.expand(n, -1, -1), sparse.to(own.dtype)], dim=1)
    source = embedding + prompts.no_mask_embed.weight.reshape(1, -1, 1, 1)
    positions = prompts.get_dense_pe().expand(n, -1, -1, -1)
    out, image = decoder.transformer(source, positions, tokens)
    upscaled = decoder.output_upscaling(image.transpose(1, 2).reshape(source.shape))
    weights = decoder.output_hypernetworks_mlps[0](out[:, 1])
    logits = torch.einsum("nc,nchw->nhw", weights, upscaled)
    return logits, decoder.iou_prediction_head(out[:, 0])[:, 0], upscaled


class Helpers(nn.Module):
    """Heads that exist in training only; they keep prompts from being all that the network knows.

    ``classes``: a linear reading of the upscaled embedding, one channel per class of the generated
    images. It is what a prompt-free class token does later, so the embedding must tell classes apart.
    ``trunk``: the trunk's tokens from the neck's output. With a box in hand a decoder needs little of
    them; without this term the neck would throw away what tissue a place is made of.
    """

    def __init__(self, n_classes: int, width: int) -> None:
        super().__init__()
        self.classes = nn.Conv2d(32, n_classes, 1)
        self.trunk = nn.Conv2d(256, width, 1)
