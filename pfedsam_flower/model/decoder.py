"""SAM's mask decoder without a prompt, one output channel per class.

Each class asks SAM's decoder its own question: the token row [iou, mask 0..3] with mask token 0 replaced
by the class's token, and mask hypernetwork 0 by the class's own. Both start as copies of SAM's, so a
fresh decoder answers every class exactly as SAM answers mask 0 without a prompt. Classes do not see
each other, so a class that a site does not annotate cannot disturb the others, and one class can be
written back into a plain SAM checkpoint.

SAM's own ``predict_masks`` is for one image and N prompts: it repeats the embedding N times, so B images with
B prompts become B² embeddings beside B prompts, and it raises. Here the batch goes through in one call.
"""

import copy

import torch
from torch import Tensor, nn


class ClassDecoder(nn.Module):
    """SAM's ``MaskDecoder`` and per class a token and a hypernetwork.

    Keys of SAM's decoder stay as they are, under ``sam``; its mask token 0 and hypernetwork 0 are the
    start of the class's own and unused afterwards.
    """

    def __init__(self, sam_decoder: nn.Module, n_classes: int) -> None:
        super().__init__()
        self.sam = sam_decoder
        start = sam_decoder.mask_tokens.weight.detach()[:1]
        self.class_tokens = nn.Parameter(start.repeat(n_classes, 1))
        first = sam_decoder.output_hypernetworks_mlps[0]
        self.class_hypernetworks = nn.ModuleList(copy.deepcopy(first) for _ in range(n_classes))

    def forward(self, embedding: Tensor, positions: Tensor, no_mask: Tensor) -> Tensor:
        """Logits of every class.

        Args:
            embedding: [B, 256, g, g] from the image encoder.
            positions: [1, 256, g, g], SAM's dense position code.
            no_mask: [256], SAM's learnt embedding for "no mask given".

        Returns:
            [B, K, 4g, 4g].
        """
        batch, channels, *grid = embedding.shape
        n_classes = len(self.class_tokens)
        fixed = torch.cat([self.sam.iou_token.weight, self.sam.mask_tokens.weight], dim=0)
        tokens = torch.stack([torch.cat([fixed[:1], t[None], fixed[2:]]) for t in self.class_tokens])
        tokens = tokens.repeat(batch, 1, 1)
        source = (embedding + no_mask.reshape(1, -1, 1, 1)).repeat_interleave(n_classes, dim=0)
        states, keys = self.sam.transformer(source, positions.expand(len(source), -1, -1, -1), tokens)
        pixels = self.sam.output_upscaling(keys.transpose(1, 2).reshape(-1, channels, *grid))
        pixels = pixels.unflatten(0, (batch, n_classes))
        asked = states[:, 1].unflatten(0, (batch, n_classes))
        weights = torch.stack([mlp(asked[:, k]) for k, mlp in enumerate(self.class_hypernetworks)], dim=1)
        return (weights.unsqueeze(2) @ pixels.flatten(3)).unflatten(3, pixels.shape[3:]).squeeze(2)
