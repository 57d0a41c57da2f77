"""The torch module of the network ``ncsn``; layers are named as in Song's tutorial.

Axes: E embedding, F frequencies.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class ScoreNet(nn.Module):
    """See ``Ncsn``.

    Args:
        image_channels: In and out.
        channels, sizes: Width and height of each level, from the outermost in.
        embedding: Width of the time embedding.
        scale: Standard deviation of the frequencies.
        norms_in, norms_out: Groups of the norms ``gnorm1`` .. ``gnorm{n}`` and ``tgnorm2`` .. ``tgnorm{n}``.
    """

    def __init__(
        self,
        *,
        image_channels: int,
        channels: Sequence[int],
        sizes: Sequence[int],
        embedding: int,
        scale: float,
        norms_in: Sequence[int],
        norms_out: Sequence[int],
    ) -> None:
        super().__init__()
        self.depth = depth = len(channels)
        self.frequencies = Frequencies(embedding // 2, scale=scale)
        self.embed = nn.Linear(embedding, embedding)
        inputs = image_channels
        for level, (width, groups) in enumerate(zip(channels, norms_in, strict=True), start=1):
            convolution = nn.Conv2d(inputs, width, 3, stride=1 if level == 1 else 2, bias=False)
            self.add_module(f"conv{level}", convolution)
            self.add_module(f"dense{level}", nn.Linear(embedding, width))
            self.add_module(f"gnorm{level}", nn.GroupNorm(groups, width))
            inputs = width
        for level in range(depth, 1, -1):
            width = channels[level - 2]
            # Without it, a transposed convolution gives the smaller of the two sizes that come out at this one.
            missing = sizes[level - 2] - (2 * sizes[level - 1] + 1)
            convolution_out = nn.ConvTranspose2d(inputs, width, 3, stride=2, output_padding=missing, bias=False)
            self.add_module(f"tconv{level}", convolution_out)
            self.add_module(f"dense{2 * depth + 1 - level}", nn.Linear(embedding, width))
            self.add_module(f"tgnorm{level}", nn.GroupNorm(norms_out[level - 2], width))
            inputs = 2 * width
        self.tconv1 = nn.ConvTranspose2d(inputs, image_channels, 3)

    def forward(self, image_BCHW: Tensor, time_B: Tensor) -> Tensor:
        """The raw output h, shaped like the images; times are in [0, 1)."""
        embedding_BE = functional.silu(self.embed(self.frequencies(time_B)))
        hidden_BCHW, skips = image_BCHW, []
        for level in range(1, self.depth + 1):
            hidden_BCHW = self._step(hidden_BCHW, embedding_BE, f"conv{level}", f"dense{level}", f"gnorm{level}")
            skips.append(hidden_BCHW)
        hidden_BCHW = skips.pop()
        for level in range(self.depth, 1, -1):
            dense = f"dense{2 * self.depth + 1 - level}"
            hidden_BCHW = self._step(hidden_BCHW, embedding_BE, f"tconv{level}", dense, f"tgnorm{level}")
            hidden_BCHW = torch.cat([hidden_BCHW, skips.pop()], dim=1)
        output_BCHW: Tensor = self.tconv1(hidden_BCHW)
        return output_BCHW

    def _step(self, input_BCHW: Tensor, embedding_BE: Tensor, convolution: str, dense: str, norm: str) -> Tensor:
        moved_BCHW = self.get_submodule(convolution)(input_BCHW)
        moved_BCHW = moved_BCHW + self.get_submodule(dense)(embedding_BE)[:, :, None, None]
        return functional.silu(self.get_submodule(norm)(moved_BCHW))


class Frequencies(nn.Module):
    """Sines and cosines of a time at random frequencies (Gaussian Fourier features, Tancik et al. 2020)."""

    weight: Tensor

    def __init__(self, count: int, *, scale: float) -> None:
        super().__init__()
        self.register_buffer("weight", scale * torch.randn(count))

    def forward(self, time_B: Tensor) -> Tensor:
        """Features (batch, 2 * count), sines first."""
        angle_BF = 2 * math.pi * time_B[:, None] * self.weight
        return torch.cat([angle_BF.sin(), angle_BF.cos()], dim=1)
