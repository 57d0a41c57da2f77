"""The noise-conditional score network of Song et al. (2021) for small images, as their MNIST tutorial builds it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from trainers.bounds import Steps
from trainers.models.network import MOST_LEVELS, NETWORKS, Network, Region, Width, preferred_norm_groups, region_at

if TYPE_CHECKING:
    from torch import Tensor, nn

_FIRST_NORM_GROUPS = 4


@NETWORKS.register("ncsn")
@dataclass(frozen=True, kw_only=True)
class Ncsn(Network):
    """Convolutions without padding on the way in, transposed ones on the way out, joined by skip connections.

    It gives the raw output h. Song et al. divide h by the standard deviation of the noise, which makes it a score; that
    division belongs to the diffusion process. Trained to predict the noise, h is used as it is.

    Level i is block ``down_{i-1}`` with ``conv{i}`` on the way in, and ``tconv{i}`` leads from it on the way out. There
    is no middle block: of the macro-blocks, ``conv1`` is in ``I``, and ``tconv2`` with ``tconv1``, which it feeds, in
    ``O``; so no channels are counted under ``D0`` and ``U0``.

    Args:
        image_size, image_channels: Of the images; taken from the data when left out.
        classes: 0; this network knows no labels.
        channels: Width of each level, from the outermost in.
        embedding: Width of the time embedding; half of it are frequencies.
        scale: Standard deviation of the frequencies, which are drawn once and never trained.
        norm_groups: Groups of every GroupNorm. When left out, 4 for the first and 32 for the others, or the largest of
            16, 8, 4, 2 that divides the width.
        timesteps: A timestep divided by this is the time in [0, 1); the number of steps of the diffusion process.
    """

    channels: Annotated[tuple[Width, ...], Field(min_length=1, max_length=MOST_LEVELS)] = (32, 64, 128, 256)
    embedding: Width = 256
    scale: Annotated[float, Field(gt=0, le=1e6)] = 30.0
    norm_groups: Width | None = None
    timesteps: Steps = 1000

    def mistakes(self) -> list[str]:
        found = []
        if self.classes:
            found.append(
                f"classes: this network knows no labels, got {self.classes}. Use 0, or the network guided_unet."
            )
        if self.embedding % 2:
            found.append(
                f"embedding: half of it are sines and half cosines, but {self.embedding} is odd. Use an even number."
            )
        uneven = [width for width in self.channels if width % (self.norm_groups or 1)]
        if uneven:
            found.append(
                f"norm_groups: {self.norm_groups} does not divide the width {uneven[0]} of channels "
                f"{list(self.channels)}. Choose a number that divides all widths, or leave it out."
            )
        if self.image_size:
            possible = sum(size > 0 for size in level_sizes(self.image_size, len(self.channels)))
            if possible < len(self.channels):
                found.append(
                    f"channels has {len(self.channels)} levels, but at {self.image_size} pixels nothing is left after "
                    f"{possible}. Use at most {possible} levels or a larger image_size."
                )
        return found

    def build(self) -> nn.Module:
        from trainers.models.networks._ncsn import ScoreNet

        assert self.image_size is not None and self.image_channels is not None
        outermost, *others = self.channels
        return ScoreNet(
            image_channels=self.image_channels,
            channels=self.channels,
            sizes=level_sizes(self.image_size, len(self.channels)),
            embedding=self.embedding,
            scale=self.scale,
            norms_in=(self._groups(outermost, most=_FIRST_NORM_GROUPS), *map(self._groups, others)),
            norms_out=tuple(map(self._groups, self.channels[:-1])),
        )

    def call(self, net: nn.Module, image_BCHW: Tensor, timestep_B: Tensor, label_B: Tensor | None) -> Tensor:
        output_BCHW: Tensor = net(image_BCHW, timestep_B / self.timesteps)
        return output_BCHW

    def attentions(self, net: nn.Module) -> dict[str, int]:
        return {}

    def refresh(self, net: nn.Module, heads: Mapping[str, int]) -> None:
        """Nothing in this network repeats the width of a layer."""

    def block_of(self, layer: str) -> str:
        place = self._place(layer)
        if place is None:
            return "time"
        way, level = place
        return f"down_{level - 1}" if way == "down" else f"up_{len(self.channels) - level}"

    def blocks(self) -> tuple[str, ...]:
        depth = range(len(self.channels))
        return ("time", *(f"down_{i}" for i in depth), *(f"up_{i}" for i in depth))

    def macro_block_of(self, layer: str) -> str:
        place = self._place(layer)
        if place is None or layer == "conv1":
            return "I"
        way, level = place
        if way == "down":
            return f"D{level - 1}"
        return f"U{level - 2}" if level > 2 else "O"

    def region_of(self, layer: str) -> Region | None:
        place = self._place(layer)
        if place is None or "norm" in layer:
            return None
        way, level = place
        if way == "up" and layer.startswith("dense"):
            # It is added to what the transposed convolution gives, which has the width and size of the next level.
            level -= 1
        return region_at(level - 1, len(self.channels))

    def _place(self, layer: str) -> tuple[str, int] | None:
        """On the way ``down`` or ``up``, and the level, from 1; None for what all levels share."""
        name = re.fullmatch(r"(t?)(conv|gnorm|dense)(\d+)", layer)
        if name is None:
            return None
        number, depth = int(name[3]), len(self.channels)
        if name[2] == "dense" and number > depth:
            return "up", 2 * depth + 1 - number
        return ("up" if name[1] else "down"), number

    def _groups(self, width: int, *, most: int = 32) -> int:
        return self.norm_groups or preferred_norm_groups(width, most=most)


def level_sizes(image_size: int, levels: int) -> tuple[int, ...]:
    """Height of each level after 3x3 convolutions without padding, the first at stride 1, the others at stride 2.

    0 where a level would have no pixels.

    >>> level_sizes(28, 4)
    (26, 12, 5, 2)
    >>> level_sizes(8, 3)
    (6, 2, 0)
    """
    sizes = [max(0, image_size - 2)]
    while len(sizes) < levels:
        sizes.append(max(0, (sizes[-1] - 1) // 2))
    return tuple(sizes)
