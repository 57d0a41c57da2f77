"""The Network contract: the options of an architecture, from which it can be built again at any time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from trainers.bounds import Side
from trainers.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor, nn

Region = Literal["middle", "end"]
# Far beyond any network for images: what is larger comes from a slip or from a stranger's file, and is refused before
# a machine's memory or hours go into building it.
Width = Annotated[int, Field(ge=1, le=8_192)]
Layers = Annotated[int, Field(ge=1, le=64)]
MOST_LEVELS = 12
MOST_BLOCKS = 64
"""Residual layers on the way in, twice those of a very deep one (NCSN++ deep: 8 at each of 4 resolutions)."""


@dataclass(frozen=True, kw_only=True)
class Network(ABC):
    """Options of a denoising network. Sizes left at None are taken from the data (``for_data``)."""

    image_size: Side | None = None
    image_channels: Width | None = None
    classes: Annotated[int, Field(ge=0, le=1_000_000)] = 0

    @abstractmethod
    def mistakes(self) -> list[str]:
        """What is wrong with these options taken together, one sentence each; empty when they can be built."""

    @abstractmethod
    def build(self) -> nn.Module:
        """A new network with fresh weights, on torch's current default device (``meta`` costs nothing)."""

    @abstractmethod
    def call(self, net: nn.Module, image_BCHW: Tensor, timestep_B: Tensor, label_B: Tensor | None) -> Tensor:
        """What ``net`` predicts for noisy images, shaped like them; ``label_B`` is None without classes."""

    @abstractmethod
    def attentions(self, net: nn.Module) -> dict[str, int]:
        """Query layer of every attention -> its number of heads."""

    @property
    def unlabelled(self) -> int | None:
        """The label that means "no label", for classifier-free guidance; None when there is none such."""
        return None

    def gated(self, net: nn.Module) -> tuple[str, ...]:
        """Linear layers whose outputs are two halves that are multiplied with each other, channel by channel."""
        return ()

    @abstractmethod
    def refresh(self, net: nn.Module, heads: Mapping[str, int]) -> None:
        """Bring what ``net`` repeats of its layers' widths into line after layers were replaced.

        Args:
            heads: Query layer of every attention -> the number of heads it must have now.
        """

    @abstractmethod
    def block_of(self, layer: str) -> str:
        """The block that a layer belongs to, by its name in the network: ``down_0``, ``mid``, ``up_1`` or ``time``."""

    @abstractmethod
    def blocks(self) -> tuple[str, ...]:
        """All block names, from input to output."""

    @abstractmethod
    def macro_block_of(self, layer: str) -> str:
        """The macro-block of a layer, as work on progressive distillation with pruning divides a U-Net.

        ``I``: first convolution and what is shared of time and label; ``D0``, ``D1`` ...: resolutions on the way in;
        ``M1``, ``M2``: first and second half of the middle; ``U0``, ``U1`` ...: resolutions on the way out, ``U0`` the
        full size; ``O``: what feeds the last convolution.
        """

    @abstractmethod
    def region_of(self, layer: str) -> Region | None:
        """Whether a layer is in the inner or the outer part of the U; None for norms and what all blocks share."""

    def for_data(self, *, image_size: int, image_channels: int) -> Network:
        """These options with sizes that were left open taken from the data."""
        return replace(
            self,
            image_size=self.image_size or image_size,
            image_channels=self.image_channels or image_channels,
        )

    def data_mistakes(self, *, image_size: int, image_channels: int) -> list[str]:
        """Where these options name other images than those, one sentence each."""
        sizes = (("image_size", self.image_size, image_size), ("image_channels", self.image_channels, image_channels))
        return [
            f"{name} is {own}, the teacher's {theirs}, and both see the same images. Leave it out."
            for name, own, theirs in sizes
            if own not in (None, theirs)
        ]


def halving_mistakes(image_size: int | None, resolutions: int) -> list[str]:
    """Whether images of this size can be halved between so many resolutions; empty when they can, or have no size."""
    halvings = resolutions - 1
    if not image_size or image_size % 2**halvings == 0:
        return []
    return [
        f"channels has {resolutions} resolutions, but {image_size} pixels cannot be halved {halvings} times. "
        "Use fewer resolutions or another image_size."
    ]


def depth_mistakes(layers: int, resolutions: int) -> list[str]:
    """Whether so many layers at so many resolutions are more than any network has; empty when they are not."""
    if layers * resolutions <= MOST_BLOCKS:
        return []
    return [
        f"layers: {layers} at {resolutions} resolutions are {layers * resolutions} residual layers on the way in, "
        f"which may be {MOST_BLOCKS} at most. Use fewer layers or resolutions."
    ]


def preferred_norm_groups(*widths: int, most: int = 32) -> int:
    """The largest of 32, 16, 8, 4, 2, 1 that divides all widths and is not above ``most``."""
    preferred = (32, 16, 8, 4, 2, 1)
    return next(groups for groups in preferred if groups <= most and all(width % groups == 0 for width in widths))


def region_at(resolution: int, resolutions: int) -> Region:
    """The region of a resolution, 0 being full size; of an odd number, the one in between counts as an end."""
    return "middle" if resolution >= (resolutions + 1) // 2 else "end"


NETWORKS: Registry[Network] = Registry("network", folders=("trainers.models.networks",))
