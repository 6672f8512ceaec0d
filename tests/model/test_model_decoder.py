"""Why whole batches do not go through SAM's own ``predict_masks``."""

import pytest
import torch
from segment_anything.modeling import MaskDecoder, TwoWayTransformer


def test_sam_s_own_decoder_raises_for_several_images_with_a_prompt_each():
    transformer = TwoWayTransformer(depth=1, embedding_dim=32, mlp_dim=32, num_heads=2)
    decoder = MaskDecoder(transformer_dim=32, transformer=transformer)

    def masks(images: int, prompts: int) -> torch.Tensor:
        return decoder.predict_masks(
            image_embeddings=torch.zeros(images, 32, 4, 4),
            image_pe=torch.zeros(1, 32, 4, 4),
            sparse_prompt_embeddings=torch.zeros(prompts, 2, 32),
            dense_prompt_embeddings=torch.zeros(prompts, 32, 4, 4),
        )[0]

    assert masks(1, 3).shape == (3, 4, 16, 16)
    with pytest.raises(RuntimeError, match="must match"):
        masks(3, 3)
