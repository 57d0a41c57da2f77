"""What is stored of a layer: the names, types, shapes and bytes of its tensors. Plain arithmetic, without torch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainers.models.arch_spec import ArchSpec, Layer

BLOCK = {8: 256, 4: 64}
"""Weights that share one scale, by bits; rows of ``llm_int8`` have one each, however long they are."""

_FLOAT_BYTES = 4
_CODES_OF_4_BITS = 16
_TYPE_BYTES = {"F32": 4, "F16": 2, "I8": 1, "U8": 1}
_FLOAT_TYPE = {32: "F32", 16: "F16"}


@dataclass(frozen=True)
class StoredTensor:
    """One tensor in a file.

    Args:
        name: In the state dict.
        type: As safetensors names it: ``F32``, ``F16``, ``I8`` or ``U8``.
        shape: Its size along each axis.
    """

    name: str
    type: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of its values."""
        return math.prod(self.shape) * _TYPE_BYTES[self.type]


def weight_bytes(layer: Layer) -> int:
    """Bytes of the weight, without scales; of a constant, of its numbers."""
    if layer.kind == "constant":
        return _FLOAT_BYTES * layer.outputs
    return -(-layer.weights * layer.bits // 8)


def bias_bytes(layer: Layer) -> int:
    """Bytes of the bias; 0 without one."""
    return layer.outputs * layer.bias_bits // 8 if layer.bias else 0


def scale_bytes(layer: Layer) -> int:
    """Bytes of the scales by which codes are restored, float32 each; 0 of weights that are not quantised."""
    return 0 if layer.bits > 8 else _FLOAT_BYTES * _scales(layer)


def state_bytes(layer: Layer) -> int:
    """Bytes that a file holds to restore the weight: scales, and of 4-bit linear layers their table and description."""
    described = _FLOAT_BYTES * _CODES_OF_4_BITS + len(description(layer)) if is_described(layer) else 0
    return scale_bytes(layer) + described


def is_described(layer: Layer) -> bool:
    """Whether a file holds the layer as bitsandbytes' ``Linear4bit`` does (see ``linear4bit``)."""
    return layer.kind == "linear" and layer.bits == 4


def description(layer: Layer) -> str:
    """What bitsandbytes is told of a 4-bit weight beside its table of values."""
    # Written by hand: a search asks for its length at every candidate, and json.dumps takes ten times as long.
    shape = f"[{layer.outputs}, {layer.inputs}]"
    return f'{{"quant_type": "{layer.format}", "blocksize": {BLOCK[4]}, "dtype": "float32", "shape": {shape}}}'


def described_name(weight: str, layer: Layer) -> str:
    """The tensor that holds the description of the weight of this name."""
    return f"{weight}.quant_state.bitsandbytes__{layer.format}"


def stored_tensors(spec: ArchSpec) -> Iterator[StoredTensor]:
    """Every tensor that a file with this architecture holds, layer by layer."""
    for name, layer in spec.layers.items():
        if layer.kind == "constant":
            yield StoredTensor(f"{name}.weight", "F32", (layer.outputs,))
        elif layer.bits > 8:
            yield StoredTensor(f"{name}.weight", _FLOAT_TYPE[layer.bits], weight_shape(layer))
        elif is_described(layer):
            yield StoredTensor(f"{name}.weight", "U8", (weight_bytes(layer), 1))
            yield StoredTensor(f"{name}.weight.absmax", "F32", (_scales(layer),))
            yield StoredTensor(f"{name}.weight.quant_map", "F32", (_CODES_OF_4_BITS,))
            yield StoredTensor(described_name(f"{name}.weight", layer), "U8", (len(description(layer)),))
        else:
            rows = layer.format == "llm_int8"
            shape = weight_shape(layer) if rows else (weight_bytes(layer),)
            yield StoredTensor(f"{name}.weight.code", "I8" if rows else "U8", shape)
            yield StoredTensor(f"{name}.weight.scale", "F32", (_scales(layer),))
        if layer.bias:
            yield StoredTensor(f"{name}.bias", _FLOAT_TYPE[layer.bias_bits], (layer.outputs,))


def weight_shape(layer: Layer) -> tuple[int, ...]:
    """Axes of a weight as torch holds it; kernels are square."""
    width = math.isqrt(layer.kernel)
    match layer.kind:
        case "conv":
            return (layer.outputs, layer.inputs // layer.groups, width, width)
        case "conv_transpose":
            return (layer.inputs, layer.outputs // layer.groups, width, width)
        case "linear":
            return (layer.outputs, layer.inputs)
        case "embedding":
            return (layer.inputs, layer.outputs)
    return (layer.outputs,)


def _scales(layer: Layer) -> int:
    return layer.outputs if layer.format == "llm_int8" else -(-layer.weights // BLOCK[layer.bits])
