"""Quantised storage in a spec and in weights, through bitsandbytes' blockwise functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatch
from typing import TYPE_CHECKING

from torch import Tensor

from trainers.models.arch_spec import ArchSpec, Layer
from trainers.models.building import assembled
from trainers.models.quantized import BLOCK

if TYPE_CHECKING:
    from trainers.compression.quantize import Quantize
    from trainers.models.diffusion_model import DiffusionModel


def planned(spec: ArchSpec, *, bits: int, format: str, skip: tuple[str, ...]) -> ArchSpec:
    """The spec with the storage of every convolution and linear layer changed, but for those that ``skip`` names."""
    if bits == 32:
        return spec

    def stored(name: str, layer: Layer) -> Layer:
        if layer.kind not in ("conv", "linear") or any(fnmatch(name, pattern) for pattern in skip):
            return layer
        return replace(layer, bits=bits, format="int8" if bits == 8 else format)

    return spec.map_layers(stored)


def quantized(
    stage: Quantize, model: DiffusionModel, *, bits: int, format: str, skip: tuple[str, ...]
) -> DiffusionModel:
    """The model with its weights stored in ``bits`` bits."""
    spec = planned(model.spec, bits=bits, format=format, skip=skip)
    if spec is model.spec:
        return model.after(stage)
    state = dict(model.net.state_dict())
    for name, layer in spec.layers.items():
        if layer.bits != model.spec.layers[name].bits:
            weight = state.pop(f"{name}.weight").detach()
            state |= {f"{name}.weight.{part}": tensor for part, tensor in _encoded(weight, layer).items()}
    return model.after(stage, net=assembled(spec, state), spec=spec)


def _encoded(weight: Tensor, layer: Layer) -> Mapping[str, Tensor]:
    from bitsandbytes import functional

    flat = weight.float().contiguous().flatten()
    if layer.bits == 8:
        code, quantised = functional.quantize_blockwise(flat, blocksize=BLOCK[8])
    else:
        code, quantised = functional.quantize_4bit(flat, blocksize=BLOCK[4], quant_type=layer.format)
    return {"code": code.flatten(), "scale": quantised.absmax.flatten().float()}
