"""The torch module of the network ``latent_unet``."""

from __future__ import annotations

from torch import Tensor, nn


class LabelledUnet(nn.Module):
    """A conditional U-Net of diffusers that is told the class in one token (B1E).

    Args:
        unet: A ``UNet2DConditionModel``.
        classes: Number of labels, 0 for none.
        context: Width of the token.
    """

    def __init__(self, unet: nn.Module, *, classes: int, context: int) -> None:
        super().__init__()
        self.context = context
        self.label_embedding = nn.Embedding(classes, context) if classes else None
        self.unet = unet

    def forward(self, image_BCHW: Tensor, timestep_B: Tensor, label_B: Tensor | None) -> Tensor:
        """The prediction, shaped like the images; without a label where it is -1, or everywhere for None."""
        # Not len(image_BCHW), which torch.export takes for a constant.
        token_B1E = image_BCHW.new_zeros(image_BCHW.shape[0], 1, self.context)
        if label_B is not None:
            assert self.label_embedding is not None
            embedding_BE = self.label_embedding(label_B.clamp(min=0))
            token_B1E = embedding_BE.masked_fill((label_B < 0)[:, None], 0.0)[:, None]
        prediction_BCHW: Tensor = self.unet(image_BCHW, timestep_B, token_B1E, return_dict=False)[0]
        return prediction_BCHW
