"""The Network contract: the options of an architecture, from which it can be built again at any time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trainers.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Network(ABC):
    """Options of a denoising network. Sizes left at None are taken from the data (``for_data``)."""

    image_size: int | None = None
    image_channels: int | None = None
    classes: int = 0

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

    @abstractmethod
    def refresh(self, net: nn.Module) -> None:
        """Bring fields of ``net`` that repeat a layer's width into line after layers were replaced."""

    @abstractmethod
    def block_of(self, layer: str) -> str:
        """The block that a layer belongs to, by its name in the network: ``down_0``, ``mid``, ``up_1`` or ``time``."""

    @abstractmethod
    def blocks(self) -> tuple[str, ...]:
        """All block names, from input to output."""

    def for_data(self, *, image_size: int, image_channels: int) -> Network:
        """These options with sizes that were left open taken from the data."""
        return replace(
            self,
            image_size=self.image_size or image_size,
            image_channels=self.image_channels or image_channels,
        )


NETWORKS: Registry[Network] = Registry("network", folders=("trainers.models.networks",))
