"""Pixels as they are stored, 0..255, and as networks see them, in [-1, 1]."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def to_uint8(image_BCHW: Tensor) -> Tensor:
    """Images in [-1, 1] as 0..255."""
    return ((image_BCHW + 1) * 127.5).round().clamp(0, 255).byte()


def from_uint8(image_BCHW: Tensor) -> Tensor:
    """Images in 0..255 as float32 in [-1, 1]."""
    return image_BCHW.float() / 127.5 - 1
