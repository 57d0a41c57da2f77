"""Structural similarity of pairs of images (Wang et al. 2004).

Legend: N images, C channels, H, W, K pixels across the window.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_WINDOW = 11
_SIGMA = 1.5
_LEVELS = 255.0
_STEADY_MEAN, _STEADY_VARIANCE = (0.01 * _LEVELS) ** 2, (0.03 * _LEVELS) ** 2
_BATCH = 500


def similarity(image_NCHW: Tensor, other_NCHW: Tensor) -> Tensor:
    """Mean similarity of each pair of uint8 images, -1 to 1: over channels and all places of the window (N).

    A Gaussian window of 11 pixels and standard deviation 1.5 (their section III.B); on smaller images the largest odd
    width that fits, so that 8x8 images have four places of a window of 7 pixels.

    Raises:
        TypeError: for other images: the constants belong to levels from 0 to 255.
    """
    for found in (image_NCHW, other_NCHW):
        if found.dtype != torch.uint8:
            raise TypeError(f"similarity is taken of uint8 images, got {found.dtype}. Use sampling.to_uint8.")
    parts = zip(image_NCHW.split(_BATCH), other_NCHW.split(_BATCH), strict=True)
    return torch.cat([_similarity_N(one.double(), other.double()) for one, other in parts])


def _similarity_N(one_NCHW: Tensor, other_NCHW: Tensor) -> Tensor:
    """Their Eq. 13 at every place, then the mean (Eq. 17)."""
    mean_one, mean_other = _blurred(one_NCHW), _blurred(other_NCHW)
    variance_one = _blurred(one_NCHW.square()) - mean_one.square()
    variance_other = _blurred(other_NCHW.square()) - mean_other.square()
    covariance = _blurred(one_NCHW * other_NCHW) - mean_one * mean_other
    above = (2 * mean_one * mean_other + _STEADY_MEAN) * (2 * covariance + _STEADY_VARIANCE)
    below = (mean_one.square() + mean_other.square() + _STEADY_MEAN) * (
        variance_one + variance_other + _STEADY_VARIANCE
    )
    return (above / below).mean(dim=(1, 2, 3))


def _blurred(image_NCHW: Tensor) -> Tensor:
    """The weighted mean in each place of the window that lies inside the image."""
    side = min(image_NCHW.shape[-2:])
    weight_K = _weights(min(_WINDOW, side - 1 + side % 2)).to(image_NCHW)
    channels = image_NCHW.shape[1]
    across = weight_K.expand(channels, 1, 1, -1)
    blurred = functional.conv2d(image_NCHW, across, groups=channels)
    return functional.conv2d(blurred, across.transpose(2, 3), groups=channels)


def _weights(width: int) -> Tensor:
    offset_K = torch.arange(width, dtype=torch.float64) - width // 2
    weight_K = torch.exp(-offset_K.square() / (2 * _SIGMA**2))
    return weight_K / weight_K.sum()
