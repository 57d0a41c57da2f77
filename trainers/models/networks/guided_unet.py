"""The U-Net of the widely used tutorial on DDPM with classifier-free guidance (Ho and Salimans 2022)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from trainers.models.network import MOST_LEVELS, NETWORKS, Network, Region, Width, halving_mistakes, region_at

if TYPE_CHECKING:
    from torch import Tensor, nn


@NETWORKS.register("guided_unet")
@dataclass(frozen=True, kw_only=True)
class GuidedUnet(Network):
    """Double convolutions with self-attention at every resolution but the first on the way in.

    The architecture of github.com/dome272/Diffusion-Models-pytorch (commit be35220, Apache-2.0), written anew; with the
    defaults, 3 image channels and 10 classes it has its 23,335,299 parameters. Its parts are called ``inc``, ``down1``,
    ``sa1``, ``bot1``, ``up1`` and ``outc``, as there.

    For guidance the same network is also asked without a label: a label of -1 in a batch, or no labels at all, leaves
    the label's embedding out. Block ``down_0`` is ``inc``, ``down_i`` then ``down{i}`` and ``sa{i}``; ``up_0`` is the
    innermost.

    Args:
        image_size, image_channels: Of the images; taken from the data when left out.
        classes: Number of labels, 0 for none.
        channels: Width of each resolution, from full size down. On the way out each resolution already has the width of
            the next larger one, as what it is joined with there.
        bottleneck: Width of the three double convolutions in the middle.
        heads: Of every attention.
        time_dim: Width of the timestep's sinusoids and of the label embedding.
        norm_groups: Groups of every GroupNorm.
    """

    channels: Annotated[tuple[Width, ...], Field(min_length=2, max_length=MOST_LEVELS)] = (64, 128, 256, 256)
    bottleneck: Width = 512
    heads: Width = 4
    time_dim: Width = 256
    norm_groups: Width = 1

    def mistakes(self) -> list[str]:
        found = []
        if self.time_dim % 2:
            found.append(
                f"time_dim: half of it are sines and half cosines, but {self.time_dim} is odd. Use an even number."
            )
        # The first resolution attends on the way out only, the last on the way in only; all of them attend somewhere.
        for option, count in (("heads", self.heads), ("norm_groups", self.norm_groups)):
            uneven = [width for width in self.channels if width % count]
            if uneven:
                found.append(
                    f"{option}: {count} does not divide the width {uneven[0]} of channels {list(self.channels)}. "
                    "Choose a number that divides all widths."
                )
        if self.bottleneck % self.norm_groups:
            found.append(
                f"norm_groups: {self.norm_groups} does not divide the bottleneck of {self.bottleneck}. "
                "Choose a number that divides it."
            )
        return found + halving_mistakes(self.image_size, len(self.channels))

    def build(self) -> nn.Module:
        from trainers.models.networks._guided_unet import GuidedUnetModule

        assert self.image_channels is not None
        return GuidedUnetModule(
            image_channels=self.image_channels,
            classes=self.classes,
            channels=self.channels,
            bottleneck=self.bottleneck,
            heads=self.heads,
            time_dim=self.time_dim,
            norm_groups=self.norm_groups,
        )

    def call(self, net: nn.Module, image_BCHW: Tensor, timestep_B: Tensor, label_B: Tensor | None) -> Tensor:
        prediction_BCHW: Tensor = net(image_BCHW, timestep_B, label_B if self.classes else None)
        return prediction_BCHW

    @property
    def unlabelled(self) -> int | None:
        return -1 if self.classes else None

    def attentions(self, net: nn.Module) -> dict[str, int]:
        from trainers.models.networks._guided_unet import SelfAttention

        return {
            f"{name}.to_q": module.heads for name, module in net.named_modules() if isinstance(module, SelfAttention)
        }

    def refresh(self, net: nn.Module, heads: Mapping[str, int]) -> None:
        from trainers.models.networks._guided_unet import SelfAttention

        for name, module in net.named_modules():
            if isinstance(module, SelfAttention):
                module.heads = heads[f"{name}.to_q"]

    def block_of(self, layer: str) -> str:
        part, number = self._part(layer)
        if part == "sa":
            part, number = ("down", number) if number <= self._halvings else ("up", number - self._halvings)
        match part:
            case "down":
                return f"down_{number}"
            case "up":
                return f"up_{number - 1}"
            case "bot":
                return "mid"
            case "inc":
                return "down_0"
            case "outc":
                return f"up_{self._halvings - 1}"
        return "time"

    def blocks(self) -> tuple[str, ...]:
        ways_in = (f"down_{i}" for i in range(self._halvings + 1))
        return ("time", *ways_in, "mid", *(f"up_{i}" for i in range(self._halvings)))

    def macro_block_of(self, layer: str) -> str:
        block = self.block_of(layer)
        if block == "time" or layer == "inc.conv1":
            return "I"
        if layer == "outc" or (block == f"up_{self._halvings - 1}" and self._writes_output(layer)):
            return "O"
        if block == "mid":
            # Three convolutions of the six in each half.
            return "M1" if layer.startswith("bot1.") or layer in ("bot2.conv1", "bot2.norm1") else "M2"
        way, resolution = self._resolution(block)
        return f"D{resolution}" if way == "down" else f"U{resolution}"

    def region_of(self, layer: str) -> Region | None:
        block = self.block_of(layer)
        if block == "time" or "norm" in layer:
            return None
        if block == "mid":
            return "middle"
        _, resolution = self._resolution(block)
        return region_at(resolution, len(self.channels))

    @property
    def _halvings(self) -> int:
        return len(self.channels) - 1

    def _resolution(self, block: str) -> tuple[str, int]:
        """On the way ``down`` or ``up``, and how often the images have been halved there."""
        way, place = block.split("_")
        return way, int(place) if way == "down" else self._halvings - 1 - int(place)

    def _part(self, layer: str) -> tuple[str, int]:
        name = re.match(r"(inc|down|sa|bot|up|outc)(\d*)(\.|$)", layer)
        return (name[1], int(name[2] or 0)) if name else ("", 0)

    def _writes_output(self, layer: str) -> bool:
        """Whether a layer of the last block adds to the channels that the last convolution reads."""
        _, _, name = layer.partition(".")
        return name in ("plain.conv2", "plain.norm2", "time", "to_out", "linear2")
