"""The Dataset contract: real images that a teacher learns, a student is distilled on and FID compares with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from trainers.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Images:
    """A data set in memory.

    Args:
        train_NCHW, test_NCHW: uint8 images; FID compares with the training images, as the papers do.
        train_label_N, test_label_N: Integer classes.
        name: What it is called in results.
        hash: Hash of the content, so that figures of different data are never mixed.
    """

    train_NCHW: Tensor
    train_label_N: Tensor
    test_NCHW: Tensor
    test_label_N: Tensor
    name: str
    hash: str

    @property
    def image_size(self) -> int:
        """Height, which is also the width."""
        return self.train_NCHW.shape[-1]

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""
        return self.train_NCHW.shape[1]


@dataclass(frozen=True, kw_only=True)
class Dataset(ABC):
    """Where images come from. The fields of a subclass are its options in YAML."""

    #: True when ``load`` takes a moment and needs neither files nor the network.
    is_embedded: ClassVar[bool] = False

    @abstractmethod
    def load(self) -> Images:
        """All images.

        Raises:
            UserError: when they are not here; the message says what to fetch and where to put it.
        """

    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """(image size, channels), without reading the images where that is possible."""


DATA: Registry[Dataset] = Registry("data set", folders=("trainers.data",))
