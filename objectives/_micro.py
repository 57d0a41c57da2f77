"""Single layers to time when a device is calibrated: several sizes of each kind, with what their time depends on."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from objectives._layer_terms import attention_terms, layer_terms
from trainers.models.arch_spec import Attention, Layer
from trainers.models.group_norm import group_norm
from trainers.models.quantized import QuantizedWeight, quantized_layer

Case = tuple[str, list[float], Callable[[], object]]
"""Kind, terms, and the call to time."""


def cases(device: torch.device) -> Iterator[Case]:
    """All of them; small sizes first within a kind."""
    for inputs, outputs, size, kernel in _CONVS:
        for groups in (1, 2, 4):
            if inputs % groups == 0 and outputs % groups == 0:
                yield _conv(inputs, outputs, size, kernel, groups, device)
    for inputs, outputs, size in ((16, 8, 4), (32, 16, 5), (64, 32, 6), (128, 64, 12), (256, 128, 3)):
        for groups in (1, 2):
            yield _conv_transposed(inputs, outputs, size, groups, device)
    for width, tokens in ((16, 1), (64, 1), (256, 1), (16, 64), (64, 16), (64, 256), (256, 64)):
        yield _linear(width, tokens, device)
        yield _linear_int8(width, tokens, device)
        yield _layer_norm(width, tokens, device)
    for width, size in itertools.product((8, 32, 128), (4, 8, 16)):
        quarter = width // 4
        yield _norm(width, size, 4, device)
        yield _norm(width, size, (quarter + 1, quarter - 1, quarter, quarter), device)
    for bits, weights in itertools.product((8, 4), (256, 270, 2_304, 2_500, 9_216, 10_000, 147_456)):
        yield _restoring(bits, weights, device)
    for width, tokens in ((16, 16), (32, 64), (64, 64), (64, 256)):
        yield _attending(width, tokens, device)


#: Inputs, outputs, height and width, kernel width. Pruned widths are seldom multiples of 8, where oneDNN is faster.
_CONVS = (
    (1, 16, 8, 3),
    (8, 8, 4, 3),
    (12, 12, 8, 3),
    (20, 20, 8, 3),
    (28, 20, 4, 3),
    (40, 20, 8, 1),
    (16, 16, 8, 3),
    (32, 32, 4, 3),
    (32, 32, 8, 3),
    (64, 64, 8, 3),
    (128, 64, 8, 3),
    (64, 16, 4, 1),
    (64, 32, 8, 1),
    (128, 128, 8, 1),
    (128, 64, 16, 3),
    (128, 128, 16, 3),
    (256, 128, 16, 1),
    (32, 32, 32, 3),
    (256, 256, 16, 3),
)


def _conv(inputs: int, outputs: int, size: int, kernel: int, groups: int, device: torch.device) -> Case:
    module = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, device=device)
    layer = Layer(kind="conv", inputs=inputs, outputs=outputs, kernel=kernel**2, groups=groups, positions=size**2)
    return _timed_module(layer, module, torch.randn(1, inputs, size, size, device=device))


def _conv_transposed(inputs: int, outputs: int, size: int, groups: int, device: torch.device) -> Case:
    module = nn.ConvTranspose2d(inputs, outputs, 3, stride=2, groups=groups, device=device)
    layer = Layer(kind="conv_transpose", inputs=inputs, outputs=outputs, kernel=9, groups=groups, positions=size**2)
    return _timed_module(layer, module, torch.randn(1, inputs, size, size, device=device))


def _linear(width: int, tokens: int, device: torch.device) -> Case:
    layer = Layer(kind="linear", inputs=width, outputs=width, positions=tokens)
    return _timed_module(layer, nn.Linear(width, width, device=device), torch.randn(1, tokens, width, device=device))


def _linear_int8(width: int, tokens: int, device: torch.device) -> Case:
    layer = Layer(kind="linear", inputs=width, outputs=width, positions=tokens, bits=8, format="llm_int8")
    module = quantized_layer(nn.Linear(width, width), layer).to(device)
    return _timed_module(layer, module, torch.randn(1, tokens, width, device=device))


def _layer_norm(width: int, tokens: int, device: torch.device) -> Case:
    layer = Layer(kind="layer_norm", inputs=width, outputs=width, positions=tokens)
    return _timed_module(layer, nn.LayerNorm(width, device=device), torch.randn(1, tokens, width, device=device))


def _norm(width: int, size: int, groups: int | tuple[int, ...], device: torch.device) -> Case:
    layer = Layer(kind="norm", inputs=width, outputs=width, norm_groups=groups, positions=size**2)
    module = group_norm(groups, width, eps=1e-6).to(device)
    return _timed_module(layer, module, torch.randn(1, width, size, size, device=device))


def _restoring(bits: int, weights: int, device: torch.device) -> Case:
    weight = QuantizedWeight((weights,), bits=bits, format="int8" if bits == 8 else "nf4").to(device)
    ((_, _), (kind, values)) = layer_terms(replace(Layer(kind="linear", inputs=weights, outputs=1), bits=bits))
    return kind, values, weight.restore


def _attending(width: int, tokens: int, device: torch.device) -> Case:
    query_BHTC = torch.randn(1, 1, tokens, width, device=device)
    kind, values = attention_terms(Attention(query="", tokens=tokens, heads=1), width=width)
    return kind, values, lambda: functional.scaled_dot_product_attention(query_BHTC, query_BHTC, query_BHTC)


def _timed_module(layer: Layer, module: nn.Module, input: Tensor) -> Case:
    ((kind, values),) = layer_terms(layer)
    return kind, values, lambda: module(input)
