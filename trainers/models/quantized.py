"""Layers whose weights are stored in 8 or 4 bits and restored when they are used.

The codes are those of bitsandbytes' blockwise functions; restoring them is a table look-up and a product, done here in
plain torch so that a saved model loads and runs where bitsandbytes is not installed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainers.models.arch_spec import Layer
from trainers.models.stored_bits import BLOCK
from trainers.models.value_tables import pair_table, value_table


def quantized_layer(dense: nn.Module, layer: Layer) -> nn.Module:
    """The module for a layer whose weight is stored in 8 or 4 bits.

    Args:
        dense: A layer of the right size to take geometry from; its values are not read.
        layer: How it is stored.
    """
    weight = QuantizedWeight(
        tuple(dense.get_parameter("weight").shape), bits=layer.bits, format=layer.format, is_cached=layer.is_cached
    )
    match dense:
        case nn.Conv2d():
            return QuantizedConv2d(dense, weight)
        case nn.ConvTranspose2d():
            return QuantizedConvTranspose2d(dense, weight)
        case nn.Linear() if layer.format == "llm_int8":
            from trainers.models.int8_linear import Int8Linear

            return Int8Linear(dense, weight)
        case nn.Linear():
            return QuantizedLinear(dense, weight)
    raise ValueError(f"a {type(dense).__name__} cannot be stored in {layer.bits} bits")


class QuantizedWeight(nn.Module):
    """Codes and scales of one weight.

    Args:
        shape: Of the weight that ``restore`` gives back.
        bits: 8 or 4.
        format: ``int8`` (bitsandbytes' dynamic map), ``nf4`` or ``fp4``, in blocks of ``BLOCK`` weights; or
            ``llm_int8``, where each row has one scale, for the largest of its 127 steps.
        is_cached: Restore once, at first use, and keep the dense weight in memory; it is no part of the state.
    """

    code: Tensor
    scale: Tensor

    def __init__(self, shape: tuple[int, ...], *, bits: int, format: str, is_cached: bool = False) -> None:
        super().__init__()
        self.shape = shape
        self.bits = bits
        self.format = format
        self.is_cached = is_cached
        self._dense: Tensor | None = None
        if format == "llm_int8":
            self.register_buffer("code", torch.zeros(shape, dtype=torch.int8))
            self.register_buffer("scale", torch.zeros(shape[0]))
        else:
            count = torch.Size(shape).numel()
            self.register_buffer("code", torch.zeros(-(-count * bits // 8), dtype=torch.uint8))
            self.register_buffer("scale", torch.zeros(-(-count // BLOCK[bits])))

    def restore(self) -> Tensor:
        """The weight in float32; not to be written to."""
        if not self.is_cached:
            return self._restored()
        if self._dense is None:
            # Also a weight that is first used without gradients must serve a training later.
            with torch.inference_mode(False):
                self._dense = self._restored()
        return self._dense

    def _restored(self) -> Tensor:
        if self.format == "llm_int8":
            return self.code.float() * (self.scale / 127)[:, None]
        codes = self.code.int()
        # index_select is eight times faster than table[codes]. Of 4 bits, one look-up gives the two values of a byte,
        # carried as one float64.
        if self.bits == 8:
            value = value_table(self.format, codes.device).index_select(0, codes)
        else:
            value = pair_table(self.format, codes.device).index_select(0, codes).view(torch.float32)
        count, blocks = torch.Size(self.shape).numel(), len(self.scale)
        if len(value) != blocks * BLOCK[self.bits]:
            value = functional.pad(value, (0, blocks * BLOCK[self.bits] - len(value)))
        return (value.view(blocks, -1) * self.scale[:, None]).flatten()[:count].view(self.shape)

    # Other codes, or another device: what was restored from the old ones is forgotten.

    def _load_from_state_dict(self, *args: Any) -> None:
        self._dense = None
        super()._load_from_state_dict(*args)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> QuantizedWeight:
        self._dense = None
        return super()._apply(fn, recurse)


class QuantizedConv2d(nn.Module):
    """``nn.Conv2d`` with a quantised weight.

    Args:
        dense: The layer to take geometry from; its weight is not read.
        weight: Of the same shape.
    """

    def __init__(self, dense: nn.Conv2d, weight: QuantizedWeight) -> None:
        super().__init__()
        assert dense.padding_mode == "zeros"
        self.in_channels, self.out_channels = dense.in_channels, dense.out_channels
        self.kernel_size, self.stride, self.padding = dense.kernel_size, dense.stride, dense.padding
        self.dilation, self.groups = dense.dilation, dense.groups
        self.weight = weight
        self.bias = empty_bias(dense)

    def forward(self, input_BCHW: Tensor) -> Tensor:
        """The convolution, in the input's precision."""
        weight, bias = _as_input(input_BCHW, self.weight, self.bias)
        return functional.conv2d(input_BCHW, weight, bias, self.stride, self.padding, self.dilation, self.groups)


class QuantizedConvTranspose2d(nn.Module):
    """``nn.ConvTranspose2d`` with a quantised weight.

    Args:
        dense: The layer to take geometry from; its weight is not read.
        weight: Of the same shape.
    """

    def __init__(self, dense: nn.ConvTranspose2d, weight: QuantizedWeight) -> None:
        super().__init__()
        self.in_channels, self.out_channels = dense.in_channels, dense.out_channels
        assert isinstance(dense.padding, tuple)
        self.kernel_size, self.stride, self.padding = dense.kernel_size, dense.stride, dense.padding
        self.output_padding, self.dilation, self.groups = dense.output_padding, dense.dilation, dense.groups
        self.weight = weight
        self.bias = empty_bias(dense)

    def forward(self, input_BCHW: Tensor) -> Tensor:
        """The transposed convolution, in the input's precision."""
        weight, bias = _as_input(input_BCHW, self.weight, self.bias)
        return functional.conv_transpose2d(
            input_BCHW, weight, bias, self.stride, self.padding, self.output_padding, self.groups, self.dilation
        )


class QuantizedLinear(nn.Module):
    """``nn.Linear`` with a quantised weight.

    Args:
        dense: The layer to take geometry from; its weight is not read.
        weight: Of the same shape.
    """

    def __init__(self, dense: nn.Linear, weight: QuantizedWeight) -> None:
        super().__init__()
        self.in_features, self.out_features = dense.in_features, dense.out_features
        self.weight = weight
        self.bias = empty_bias(dense)

    def forward(self, input: Tensor) -> Tensor:
        """The product, in the input's precision."""
        weight, bias = _as_input(input, self.weight, self.bias)
        return functional.linear(input, weight, bias)


def empty_bias(dense: nn.Module) -> nn.Parameter | None:
    """A bias like that of ``dense``, all zeros; None without one."""
    return None if dense.bias is None else nn.Parameter(torch.zeros(dense.get_parameter("bias").shape))


def _as_input(input: Tensor, weight: QuantizedWeight, bias: nn.Parameter | None) -> tuple[Tensor, Tensor | None]:
    return weight.restore().to(input.dtype), None if bias is None else bias.to(input.dtype)
