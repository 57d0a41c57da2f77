"""The torch modules of the network ``guided_unet``; all sizes are read off the tensors, so layers may be replaced.

Axes: T tokens (pixels), E embedding, F frequencies.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class GuidedUnetModule(nn.Module):
    """See ``GuidedUnet``."""

    def __init__(
        self,
        *,
        image_channels: int,
        classes: int,
        channels: Sequence[int],
        bottleneck: int,
        heads: int,
        time_dim: int,
        norm_groups: int,
    ) -> None:
        super().__init__()
        self.time_dim = time_dim
        self.halvings = halvings = len(channels) - 1
        self.label_embedding = nn.Embedding(classes, time_dim) if classes else None
        self.inc = DoubleConv(image_channels, channels[0], channels[0], norm_groups=norm_groups)
        for place in range(1, halvings + 1):
            inputs, outputs = channels[place - 1], channels[place]
            convolutions = TimedConvolutions(inputs, outputs, outputs, time_dim=time_dim, norm_groups=norm_groups)
            self.add_module(f"down{place}", convolutions)
            self.add_module(f"sa{place}", SelfAttention(outputs, heads=heads))
        # On the way out each resolution has the width of the skip that it is joined with next.
        widths = (*reversed(channels[:-1]), channels[0])
        self.bot1 = DoubleConv(channels[-1], bottleneck, bottleneck, norm_groups=norm_groups)
        self.bot2 = DoubleConv(bottleneck, bottleneck, bottleneck, norm_groups=norm_groups)
        self.bot3 = DoubleConv(bottleneck, widths[0], widths[0], norm_groups=norm_groups)
        for place in range(1, halvings + 1):
            skip, outputs = widths[place - 1], widths[place]
            convolutions = TimedConvolutions(2 * skip, skip, outputs, time_dim=time_dim, norm_groups=norm_groups)
            self.add_module(f"up{place}", convolutions)
            self.add_module(f"sa{halvings + place}", SelfAttention(outputs, heads=heads))
        self.outc = nn.Conv2d(channels[0], image_channels, 1)

    def forward(self, image_BCHW: Tensor, timestep_B: Tensor, label_B: Tensor | None) -> Tensor:
        """The prediction, shaped like the images; without a label where it is -1, or everywhere for None."""
        embedding_BE = sinusoids(timestep_B, self.time_dim).to(image_BCHW.dtype)
        if label_B is not None:
            embedding_BE = embedding_BE + self._labels(label_B)
        hidden_BCHW = self.inc(image_BCHW)
        skips = []
        for place in range(1, self.halvings + 1):
            skips.append(hidden_BCHW)
            hidden_BCHW = functional.max_pool2d(hidden_BCHW, 2)
            hidden_BCHW = self.get_submodule(f"down{place}")(hidden_BCHW, embedding_BE)
            hidden_BCHW = self.get_submodule(f"sa{place}")(hidden_BCHW)
        hidden_BCHW = self.bot3(self.bot2(self.bot1(hidden_BCHW)))
        for place in range(1, self.halvings + 1):
            hidden_BCHW = functional.interpolate(hidden_BCHW, scale_factor=2, mode="bilinear", align_corners=True)
            hidden_BCHW = torch.cat([skips.pop(), hidden_BCHW], dim=1)
            hidden_BCHW = self.get_submodule(f"up{place}")(hidden_BCHW, embedding_BE)
            hidden_BCHW = self.get_submodule(f"sa{self.halvings + place}")(hidden_BCHW)
        prediction_BCHW: Tensor = self.outc(hidden_BCHW)
        return prediction_BCHW

    def _labels(self, label_B: Tensor) -> Tensor:
        assert self.label_embedding is not None
        embedding_BE = self.label_embedding(label_B.clamp(min=0))
        return embedding_BE.masked_fill((label_B < 0)[:, None], 0.0)


class DoubleConv(nn.Module):
    """Two 3x3 convolutions, each followed by a norm."""

    def __init__(self, inputs: int, middle: int, outputs: int, *, norm_groups: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, middle, 3, padding=1, bias=False)
        self.norm1 = nn.GroupNorm(norm_groups, middle)
        self.conv2 = nn.Conv2d(middle, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(norm_groups, outputs)

    def forward(self, input_BCHW: Tensor) -> Tensor:
        """Without an activation at the end."""
        middle_BCHW = functional.gelu(self.norm1(self.conv1(input_BCHW)))
        output_BCHW: Tensor = self.norm2(self.conv2(middle_BCHW))
        return output_BCHW


class TimedConvolutions(nn.Module):
    """A residual and a plain double convolution; the embedded timestep and label are added to the result."""

    def __init__(self, inputs: int, middle: int, outputs: int, *, time_dim: int, norm_groups: int) -> None:
        super().__init__()
        self.residual = DoubleConv(inputs, inputs, inputs, norm_groups=norm_groups)
        self.plain = DoubleConv(inputs, middle, outputs, norm_groups=norm_groups)
        self.time = nn.Linear(time_dim, outputs)

    def forward(self, input_BCHW: Tensor, embedding_BE: Tensor) -> Tensor:
        """Images of the same size."""
        input_BCHW = functional.gelu(input_BCHW + self.residual(input_BCHW))
        output_BCHW: Tensor = self.plain(input_BCHW)
        return output_BCHW + self.time(functional.silu(embedding_BE))[:, :, None, None]


class SelfAttention(nn.Module):
    """Attention of every pixel to every pixel, then two linear layers, each on normed tokens and with a residual."""

    def __init__(self, width: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.to_q = nn.Linear(width, width)
        self.to_k = nn.Linear(width, width)
        self.to_v = nn.Linear(width, width)
        self.to_out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, width)
        self.linear2 = nn.Linear(width, width)

    def forward(self, input_BCHW: Tensor) -> Tensor:
        """Shaped like the input."""
        token_BTC = input_BCHW.flatten(2).transpose(1, 2)
        normed_BTC = self.norm1(token_BTC)
        query, key, value = (self._in_heads(layer(normed_BTC)) for layer in (self.to_q, self.to_k, self.to_v))
        attended_BTC = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        token_BTC = token_BTC + self.to_out(attended_BTC)
        token_BTC = token_BTC + self.linear2(functional.gelu(self.linear1(self.norm2(token_BTC))))
        return token_BTC.transpose(1, 2).unflatten(2, input_BCHW.shape[2:])

    def _in_heads(self, token_BTC: Tensor) -> Tensor:
        """(batch, heads, tokens, channels per head)."""
        return token_BTC.unflatten(2, (self.heads, -1)).transpose(1, 2)


def sinusoids(timestep_B: Tensor, width: int) -> Tensor:
    """Encoding of the timestep, sines before cosines (Vaswani et al. 2017)."""
    exponent_F = torch.arange(0, width, 2, device=timestep_B.device).float() / width
    angle_BF = timestep_B[:, None].float() / 10_000**exponent_F
    return torch.cat([angle_BF.sin(), angle_BF.cos()], dim=1)
