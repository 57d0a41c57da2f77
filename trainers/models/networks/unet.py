"""The U-Net of DDPM (Ho et al. 2020) as diffusers builds it: ``UNet2DModel``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from trainers.models.network import (
    MOST_LEVELS,
    NETWORKS,
    Layers,
    Network,
    Region,
    Width,
    depth_mistakes,
    halving_mistakes,
    preferred_norm_groups,
    region_at,
)

if TYPE_CHECKING:
    from torch import Tensor, nn


@NETWORKS.register("unet")
@dataclass(frozen=True, kw_only=True)
class Unet(Network):
    """diffusers' UNet2DModel; block i is ``down_i`` on the way in and ``up_i`` on the way out.

    Args:
        image_size, image_channels: Of the images; taken from the data when left out.
        classes: Number of labels for a class-conditional network, 0 for none.
        channels: Width of each resolution, from full size down; their number is the number of blocks.
        attention: For each resolution, whether its blocks attend; only the middle block does when left out.
        layers: Residual layers per block.
        norm_groups: Groups of every GroupNorm; the largest of 32, 16, 8, 4, 2 that divides all widths when left out.
        head_dim: Channels per attention head; one head when left out.
        downsample_padding, flip_sin_to_cos, freq_shift, norm_eps: Details in which published networks differ, named as
            diffusers names them; those of google/ddpm-cifar10-32 when left out.
    """

    channels: Annotated[tuple[Width, ...], Field(min_length=1, max_length=MOST_LEVELS)]
    attention: tuple[bool, ...] | None = None
    layers: Layers = 1
    norm_groups: Width | None = None
    head_dim: Width | None = None
    downsample_padding: Literal[0, 1] = 0
    flip_sin_to_cos: bool = False
    freq_shift: Annotated[int, Field(ge=0, le=8_192)] = 1
    norm_eps: Annotated[float, Field(gt=0, le=1)] = 1e-6

    def mistakes(self) -> list[str]:
        found = []
        if self.attention is not None and len(self.attention) != len(self.channels):
            found.append(
                f"attention has {len(self.attention)} entries, channels has {len(self.channels)}. "
                "Give one per resolution."
            )
        uneven = [width for width in self.channels if width % self._norm_groups]
        if uneven:
            found.append(
                f"norm_groups: {self._norm_groups} does not divide the width {uneven[0]} of channels "
                f"{list(self.channels)}. Choose a number that divides all widths."
            )
        if self.head_dim and any(width % self.head_dim for width in self.channels):
            found.append(f"head_dim: {self.head_dim} does not divide all of channels {list(self.channels)}.")
        if self.channels[0] // 2 == self.freq_shift:
            found.append(
                f"freq_shift: {self.freq_shift} is half of the first of channels {list(self.channels)}, by which the "
                "time's frequencies are not defined. Choose another, or more channels."
            )
        depth = depth_mistakes(self.layers, len(self.channels))
        return found + depth + halving_mistakes(self.image_size, len(self.channels))

    def build(self) -> nn.Module:
        from diffusers.models.unets.unet_2d import UNet2DModel

        attends = self.attention or (False,) * len(self.channels)
        return UNet2DModel(
            sample_size=self.image_size,
            in_channels=self.image_channels,
            out_channels=self.image_channels,
            block_out_channels=self.channels,
            layers_per_block=self.layers,
            down_block_types=tuple("AttnDownBlock2D" if attend else "DownBlock2D" for attend in attends),
            up_block_types=tuple("AttnUpBlock2D" if attend else "UpBlock2D" for attend in reversed(attends)),
            norm_num_groups=self._norm_groups,
            attention_head_dim=self.head_dim,
            num_class_embeds=self.classes or None,
            downsample_padding=self.downsample_padding,
            flip_sin_to_cos=self.flip_sin_to_cos,
            freq_shift=self.freq_shift,
            norm_eps=self.norm_eps,
        )

    def call(self, net: nn.Module, image_BCHW: Tensor, timestep_B: Tensor, label_B: Tensor | None) -> Tensor:
        prediction_BCHW: Tensor = net(image_BCHW, timestep_B, class_labels=label_B, return_dict=False)[0]
        return prediction_BCHW

    def attentions(self, net: nn.Module) -> dict[str, int]:
        from diffusers.models.attention_processor import Attention

        return {f"{name}.to_q": module.heads for name, module in net.named_modules() if isinstance(module, Attention)}

    def refresh(self, net: nn.Module, heads: Mapping[str, int]) -> None:
        from diffusers.models.attention_processor import Attention
        from diffusers.models.downsampling import Downsample2D
        from diffusers.models.upsampling import Upsample2D

        for name, module in net.named_modules():
            if isinstance(module, Downsample2D | Upsample2D):
                # They assert the width they were built with.
                module.channels = module.conv.in_channels
            if isinstance(module, Attention):
                module.heads = heads[f"{name}.to_q"]
                module.inner_dim = module.to_q.out_features

    def block_of(self, layer: str) -> str:
        if layer.startswith("conv_in"):
            return "down_0"
        if layer.startswith(("conv_norm_out", "conv_out")):
            return f"up_{len(self.channels) - 1}"
        if layer.startswith("mid_block"):
            return "mid"
        place = re.match(r"(down|up)_blocks\.(\d+)\.", layer)
        return f"{place[1]}_{place[2]}" if place else "time"

    def blocks(self) -> tuple[str, ...]:
        depth = range(len(self.channels))
        return ("time", *(f"down_{i}" for i in depth), "mid", *(f"up_{i}" for i in depth))

    def macro_block_of(self, layer: str) -> str:
        block = self.block_of(layer)
        last = len(self.channels) - 1
        if block == "time" or layer == "conv_in":
            return "I"
        if layer.startswith(("conv_norm_out", "conv_out")) or re.match(
            rf"up_blocks\.{last}\.resnets\.{self.layers}\.(conv2|conv_shortcut)$", layer
        ):
            return "O"
        if block == "mid":
            return "M2" if layer.startswith("mid_block.resnets.1") else "M1"
        way, place = block.split("_")
        return f"D{place}" if way == "down" else f"U{last - int(place)}"

    def region_of(self, layer: str) -> Region | None:
        block = self.block_of(layer)
        if block == "time" or "norm" in layer:
            return None
        if block == "mid":
            return "middle"
        way, place = block.split("_")
        depth = len(self.channels)
        resolution = int(place) if way == "down" else depth - 1 - int(place)
        return region_at(resolution, depth)

    @property
    def _norm_groups(self) -> int:
        if self.norm_groups is not None:
            return self.norm_groups
        return preferred_norm_groups(*self.channels)
