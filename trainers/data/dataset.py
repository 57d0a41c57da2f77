"""The Dataset contract: real images that a teacher learns, a student is distilled on and FID compares with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from trainers.data.pixels import from_uint8, to_uint8
from trainers.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Generator, Tensor


class Decoder(Protocol):
    """What makes images of latents; ``trainers.models.autoencoder.Autoencoder`` is one."""

    @property
    def fingerprint(self) -> str:
        """16 hex digits that change with any weight."""

    def decode(self, latent_NCHW: Tensor) -> Tensor:
        """Images in about [-1, 1], on the latents' device."""

    def save(self, path: Path) -> None:
        """Write it to a folder, so that an exported model can draw without this data set."""

    def save_for_diffusers(self, folder: Path) -> str:
        """Write it into a folder of diffusers, and say how it is opened there."""


@dataclass(frozen=True)
class Latents:
    """What a diffusion model sees in place of pixels.

    Args:
        train_NCHW, test_NCHW: float32, one for each image, in the same order.
        decoder: Makes images of them.
    """

    train_NCHW: Tensor
    test_NCHW: Tensor
    decoder: Decoder


@dataclass(frozen=True)
class Images:
    """A data set in memory.

    Args:
        train_NCHW, test_NCHW: uint8 images; FID compares with the training images, as the papers do.
        train_label_N, test_label_N: Integer classes.
        name: What it is called in results.
        hash: Hash of the content, so that figures of different data are never mixed.
        latents: Of latent diffusion; None where a diffusion model sees the pixels themselves.
    """

    train_NCHW: Tensor
    train_label_N: Tensor
    test_NCHW: Tensor
    test_label_N: Tensor
    name: str
    hash: str
    latents: Latents | None = None

    @property
    def image_size(self) -> int:
        """Height, which is also the width."""
        return self.train_NCHW.shape[-1]

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""
        return self.train_NCHW.shape[1]

    @property
    def input_size(self) -> int:
        """Height and width of what a diffusion model sees."""
        return self.image_size if self.latents is None else self.latents.train_NCHW.shape[-1]

    @property
    def input_channels(self) -> int:
        """Channels of what a diffusion model sees."""
        return self.channels if self.latents is None else self.latents.train_NCHW.shape[1]

    def inputs(self, index_B: Tensor | slice) -> Tensor:
        """What a diffusion model sees of these training images: pixels in [-1, 1], or latents of variance near 1."""
        return from_uint8(self.train_NCHW[index_B]) if self.latents is None else self.latents.train_NCHW[index_B]

    def drawn(self, count: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """Random training images as a diffusion model sees them, and their labels; one may come twice."""
        import torch

        picked_B = torch.randint(len(self.train_NCHW), (count,), generator=generator)
        return self.inputs(picked_B), self.train_label_N[picked_B]

    def test_inputs(self, index_B: Tensor | slice) -> Tensor:
        """The same of test images."""
        return from_uint8(self.test_NCHW[index_B]) if self.latents is None else self.latents.test_NCHW[index_B]

    def decoded(self, value_BCHW: Tensor) -> Tensor:
        """uint8 images of what a diffusion model draws, so that pixels are compared and looked at."""
        return to_uint8(value_BCHW if self.latents is None else self.latents.decoder.decode(value_BCHW))


@dataclass(frozen=True, kw_only=True)
class Dataset(ABC):
    """Where images come from. The fields of a subclass are its options in YAML."""

    #: True when ``load`` takes a moment and needs neither files nor the network.
    is_embedded: ClassVar[bool] = False
    #: True when a diffusion model sees latents in place of pixels.
    has_latents: ClassVar[bool] = False

    @abstractmethod
    def load(self) -> Images:
        """All images.

        Raises:
            UserError: when they are not here; the message says what to fetch and where to put it.
        """

    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """(size, channels) of what a diffusion model sees, without reading the images where that is possible."""

    def bytes_here(self) -> int | None:
        """What ``load`` reads on this machine; None where it may have to fetch, or to compute, something first."""
        return 0 if self.is_embedded else None


DATA: Registry[Dataset] = Registry("data set", folders=("trainers.data",))
