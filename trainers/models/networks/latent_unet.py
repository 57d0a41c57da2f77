"""The U-Net of latent diffusion (Rombach et al. 2022) as diffusers builds it: ``UNet2DConditionModel``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from trainers.models.network import MOST_LEVELS, NETWORKS, Layers, Network, Region, Width, preferred_norm_groups
from trainers.models.networks.unet import Unet

if TYPE_CHECKING:
    from torch import Tensor, nn


@NETWORKS.register("latent_unet")
@dataclass(frozen=True, kw_only=True)
class LatentUnet(Network):
    """A U-Net whose attention also looks at one token that says the class; blocks are named as those of ``unet``.

    Its images are latents: the autoencoder that turns them into pictures is not part of it. channels [192, 384, 576,
    960] at 64 pixels of 3 channels is the U-Net of the class-conditional ImageNet model cin256-v2, 400,920,579
    parameters besides the label embedding; that model has 1001 classes, the last of which means "no label".

    Without classes the token is zero, and so it is for a label of -1. With a single token, whatever its class, all
    attention goes to it: the queries and keys of ``attn2`` do not matter, only its values.

    Args:
        image_size, image_channels: Of the latents; taken from the data when left out.
        classes: Number of labels, 0 for none.
        channels: Width of each resolution, from full size down; their number is the number of blocks.
        attention: For each resolution, whether its blocks attend; all but the full size when left out. The middle block
            always does.
        layers: Residual layers per block.
        norm_groups: Groups of every GroupNorm; the largest of 32, 16, 8, 4, 2 that divides all widths when left out.
        heads: Of every attention.
        context: Width of the token.
    """

    channels: Annotated[tuple[Width, ...], Field(min_length=1, max_length=MOST_LEVELS)]
    attention: tuple[bool, ...] | None = None
    layers: Layers = 2
    norm_groups: Width | None = None
    heads: Width = 1
    context: Width = 512

    def mistakes(self) -> list[str]:
        found = self._skeleton.mistakes()
        attending = [width for width, attends in zip(self.channels, self._attention, strict=False) if attends]
        uneven = [width for width in (*attending, self.channels[-1]) if width % self.heads]
        if uneven:
            found.append(
                f"heads: {self.heads} does not divide the width {uneven[0]}, which attends, of channels "
                f"{list(self.channels)}. Choose a number that divides all widths that attend."
            )
        return found

    def build(self) -> nn.Module:
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

        from trainers.models.networks._latent_unet import LabelledUnet

        unet = UNet2DConditionModel(
            sample_size=self.image_size,
            in_channels=self.image_channels,
            out_channels=self.image_channels,
            block_out_channels=self.channels,
            layers_per_block=self.layers,
            down_block_types=tuple("CrossAttnDownBlock2D" if attends else "DownBlock2D" for attends in self._attention),
            up_block_types=tuple(
                "CrossAttnUpBlock2D" if attends else "UpBlock2D" for attends in reversed(self._attention)
            ),
            norm_num_groups=self._norm_groups,
            # diffusers' name for the number of heads of this network.
            attention_head_dim=self.heads,
            cross_attention_dim=self.context,
        )
        return LabelledUnet(unet, classes=self.classes, context=self.context)

    def call(self, net: nn.Module, image_BCHW: Tensor, timestep_B: Tensor, label_B: Tensor | None) -> Tensor:
        prediction_BCHW: Tensor = net(image_BCHW, timestep_B, label_B if self.classes else None)
        return prediction_BCHW

    @property
    def unlabelled(self) -> int | None:
        return -1 if self.classes else None

    def attentions(self, net: nn.Module) -> dict[str, int]:
        return self._skeleton.attentions(net)

    def gated(self, net: nn.Module) -> tuple[str, ...]:
        from diffusers.models.activations import GEGLU

        return tuple(f"{name}.proj" for name, module in net.named_modules() if isinstance(module, GEGLU))

    def refresh(self, net: nn.Module, heads: Mapping[str, int]) -> None:
        self._skeleton.refresh(net, heads)

    def block_of(self, layer: str) -> str:
        return self._skeleton.block_of(layer.removeprefix("unet."))

    def blocks(self) -> tuple[str, ...]:
        return self._skeleton.blocks()

    def macro_block_of(self, layer: str) -> str:
        return self._skeleton.macro_block_of(layer.removeprefix("unet."))

    def region_of(self, layer: str) -> Region | None:
        return self._skeleton.region_of(layer.removeprefix("unet."))

    @property
    def _skeleton(self) -> Unet:
        """The network without conditions, whose parts have the same names and follow the same rules."""
        return Unet(
            image_size=self.image_size,
            image_channels=self.image_channels,
            channels=self.channels,
            attention=self.attention,
            layers=self.layers,
            norm_groups=self._norm_groups,
        )

    @property
    def _attention(self) -> tuple[bool, ...]:
        return self.attention or (False, *(True for _ in self.channels[1:]))

    @property
    def _norm_groups(self) -> int:
        if self.norm_groups is not None:
            return self.norm_groups
        return preferred_norm_groups(*self.channels)
