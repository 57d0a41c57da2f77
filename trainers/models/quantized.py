"""Layers whose weights are stored in 8 or 4 bits and restored at each call.

The codes are those of bitsandbytes' blockwise functions; restoring them is a table look-up and a product, done here in
plain torch so that a saved model loads and runs where bitsandbytes is not installed.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

BLOCK = {8: 256, 4: 64}
"""Weights that share one scale, by bits."""


def stored_bytes(weights: int, bits: int) -> int:
    """Bytes of that many weights with their scales: codes, and one float32 per block."""
    if bits == 32:
        return 4 * weights
    return -(-weights * bits // 8) + 4 * -(-weights // BLOCK[bits])


class QuantizedWeight(nn.Module):
    """Codes and scales of one weight.

    Args:
        shape: Of the weight that ``restore`` gives back.
        bits: 8 or 4.
        format: ``int8`` (bitsandbytes' dynamic map), ``nf4`` or ``fp4``.
    """

    code: Tensor
    scale: Tensor

    def __init__(self, shape: tuple[int, ...], *, bits: int, format: str) -> None:
        super().__init__()
        self.shape = shape
        self.bits = bits
        self.format = format
        count = torch.Size(shape).numel()
        self.register_buffer("code", torch.zeros(-(-count * bits // 8), dtype=torch.uint8))
        self.register_buffer("scale", torch.zeros(-(-count // BLOCK[bits])))

    def restore(self) -> Tensor:
        """The weight in float32."""
        codes = self.code.int()
        # index_select is eight times faster than table[codes]. Of 4 bits, one look-up gives the two values of a byte,
        # carried as one float64.
        if self.bits == 8:
            value = value_table(self.format, codes.device).index_select(0, codes)
        else:
            value = _pair_table(self.format, codes.device).index_select(0, codes).view(torch.float32)
        count, blocks = torch.Size(self.shape).numel(), len(self.scale)
        if len(value) != blocks * BLOCK[self.bits]:
            value = functional.pad(value, (0, blocks * BLOCK[self.bits] - len(value)))
        return (value.view(blocks, -1) * self.scale[:, None]).flatten()[:count].view(self.shape)


class QuantizedConv2d(nn.Module):
    """``nn.Conv2d`` with a quantised weight.

    Args:
        dense: The layer to take geometry from; its weight is not read.
        bits, format: See ``QuantizedWeight``.
    """

    def __init__(self, dense: nn.Conv2d, *, bits: int, format: str) -> None:
        super().__init__()
        self.in_channels, self.out_channels = dense.in_channels, dense.out_channels
        self.stride, self.padding, self.dilation, self.groups = (
            dense.stride,
            dense.padding,
            dense.dilation,
            dense.groups,
        )
        self.weight = QuantizedWeight(tuple(dense.weight.shape), bits=bits, format=format)
        self.bias = None if dense.bias is None else nn.Parameter(torch.zeros(dense.out_channels))

    def forward(self, input_BCHW: Tensor) -> Tensor:
        """The convolution, in the input's precision."""
        weight = self.weight.restore().to(input_BCHW.dtype)
        bias = None if self.bias is None else self.bias.to(input_BCHW.dtype)
        padding = self.padding if isinstance(self.padding, tuple) else (0, 0)
        return functional.conv2d(input_BCHW, weight, bias, self.stride, padding, self.dilation, self.groups)


class QuantizedLinear(nn.Module):
    """``nn.Linear`` with a quantised weight.

    Args:
        dense: The layer to take geometry from; its weight is not read.
        bits, format: See ``QuantizedWeight``.
    """

    def __init__(self, dense: nn.Linear, *, bits: int, format: str) -> None:
        super().__init__()
        self.in_features, self.out_features = dense.in_features, dense.out_features
        self.weight = QuantizedWeight(tuple(dense.weight.shape), bits=bits, format=format)
        self.bias = None if dense.bias is None else nn.Parameter(torch.zeros(dense.out_features))

    def forward(self, input: Tensor) -> Tensor:
        """The product, in the input's precision."""
        bias = None if self.bias is None else self.bias.to(input.dtype)
        return functional.linear(input, self.weight.restore().to(input.dtype), bias)


@lru_cache(maxsize=8)
def value_table(format: str, device: torch.device) -> Tensor:
    """The value in [-1, 1] of each code.

    ``int8``: 8-bit dynamic map with a sign (Dettmers et al. 2022, section 1.3); ``nf4``: Dettmers et al. 2023,
    appendix E; ``fp4``: sign, 2-bit exponent, 1-bit mantissa. A test holds them against bitsandbytes' own.
    """
    tables = {"int8": _dynamic_map, "nf4": lambda: _NF4, "fp4": lambda: _FP4}
    return torch.tensor(tables[format](), dtype=torch.float32, device=device)


@lru_cache(maxsize=8)
def _pair_table(format: str, device: torch.device) -> Tensor:
    """For each byte, the values of its upper and lower half, as the bits of one float64."""
    table = value_table(format, device)
    byte = torch.arange(256, device=device)
    return torch.stack((table[byte >> 4], table[byte & 15]), dim=1).view(torch.float64).flatten()


def _dynamic_map() -> list[float]:
    """256 sorted values: 7 powers of ten, each split evenly into twice as many as the one below."""
    values = [0.0, 1.0]
    for power in range(7):
        edge_count = 2**power + 1
        edges = torch.linspace(0.1, 1, edge_count)
        mean_ = (edges[:-1] + edges[1:]) / 2
        for value in (10.0 ** (power - 6) * mean_).tolist():
            values += [value, -value]
    return sorted(values)


_NF4 = [
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
]  # fmt: skip
_FP4 = [0.0, 0.0052083333, 2 / 3, 1.0, 1 / 3, 0.5, 1 / 6, 0.25]
_FP4 += [-value for value in _FP4]
