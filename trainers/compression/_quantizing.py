"""Quantised storage in a spec and in weights, through bitsandbytes' functions."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from trainers.errors import UserError
from trainers.models import float16
from trainers.models.arch_spec import ArchSpec, Layer
from trainers.models.building import assembled
from trainers.models.stored_bits import BLOCK
from trainers.models.value_tables import value_table
from trainers.registry import suggestion

if TYPE_CHECKING:
    from trainers.compression.quantize import Quantize
    from trainers.models.diffusion_model import DiffusionModel


def planned(stage: Quantize, spec: ArchSpec) -> ArchSpec:
    """The spec with its storage changed.

    Raises:
        UserError: when a pattern names nothing, options contradict each other, or nothing would change.
    """
    if stage.bits == 32:
        return spec
    if stage.activations == 8 and stage.bits != 8:
        raise UserError(
            f"activations: 8-bit activations go with 8-bit weights, found bits: {stage.bits}. "
            "Set bits: 8, or leave 'activations' out."
        )
    named = _named("where", stage.where, spec)
    skipped = _named("skip", stage.skip, spec)
    stored = spec.map_layers(
        lambda name, layer: layer if name in skipped else _stored(stage, layer, is_named=name in named)
    )
    if stored == spec:
        raise UserError(
            f"bits: no weight is left to store in {stage.bits} bits: what `layers`, `where` and `skip` leave is stored "
            "in fewer bits already, or has no such weights. Remove this stage, or name other layers."
        )
    return stored


def quantized(stage: Quantize, model: DiffusionModel) -> DiffusionModel:
    """The model with its weights stored in fewer bits."""
    spec = planned(stage, model.spec)
    if spec is model.spec:
        return model.after(stage)
    state = dict(model.net.state_dict())
    for name, layer in spec.layers.items():
        if layer.is_quantised and layer.bits != model.spec.layers[name].bits:
            weight = state.pop(f"{name}.weight").detach()
            state |= {f"{name}.weight.{part}": tensor for part, tensor in _encoded(name, weight, layer).items()}
    return model.after(stage, net=assembled(spec, float16.rounded(spec, state)), spec=spec)


def _stored(stage: Quantize, layer: Layer, *, is_named: bool) -> Layer:
    """A layer as the stage stores it; what is stored in fewer bits already stays so."""
    if layer.kind == "constant":
        return layer
    is_meant = is_named and _can_hold(layer, stage)
    is_rest_in_half = stage.rest == 16 or (is_meant and stage.bits == 16)
    if layer.bits == 32 and is_meant and stage.bits < 16:
        format = _format(stage, layer)
        is_cached = stage.dequantise_once and format != "llm_int8"
        layer = layer.but(bits=stage.bits, format=format, is_cached=is_cached)
    elif layer.bits == 32 and is_rest_in_half:
        layer = layer.but(bits=16, format="fp16")
    return layer.but(bias_bits=16) if layer.bias and is_rest_in_half else layer


def _format(stage: Quantize, layer: Layer) -> str:
    if stage.bits == 4:
        return stage.format
    # Of a single input torch's int8 product on a CPU is whatever lay in memory.
    return "llm_int8" if stage.activations == 8 and layer.kind == "linear" and layer.inputs > 1 else "int8"


def _can_hold(layer: Layer, stage: Quantize) -> bool:
    if stage.layers == "linear":
        return layer.kind == "linear"
    return stage.bits == 16 or layer.is_product


def _named(option: str, patterns: str | tuple[str, ...], spec: ArchSpec) -> set[str]:
    """Layers that one of the patterns names, themselves or with their block.

    Raises:
        UserError: when a pattern names none.
    """
    named = set()
    for pattern in (patterns,) if isinstance(patterns, str) else patterns:
        found = {
            name
            for name in spec.layers
            if fnmatchcase(name, pattern) or fnmatchcase(spec.network.block_of(name), pattern)
        }
        if not found:
            raise UserError(f"{option}: {pattern!r} names no layer. {_allowed(pattern, spec)}")
        named |= found
    return named


def _allowed(pattern: str, spec: ArchSpec) -> str:
    blocks = spec.network.blocks()
    near = suggestion(pattern, [*blocks, *spec.layers])
    hint = f"{near} " if near.startswith("Did you mean") else ""
    return f"{hint}Blocks: {', '.join(blocks)}; a layer is named like {next(iter(spec.layers))!r}."


def _encoded(name: str, weight: Tensor, layer: Layer) -> Mapping[str, Tensor]:
    from bitsandbytes import functional

    if layer.format == "llm_int8":
        code, scale, _ = functional.int8_vectorwise_quant(float16.halved(f"{name}.weight", weight))
        # A row of zeros is divided by its scale of 0: whatever code that gives on this device, it means 0.
        return {"code": torch.where(scale[:, None] == 0, 0, code).to(torch.int8), "scale": scale.float()}
    flat = weight.float().contiguous().flatten()
    if layer.bits == 8:
        code, quantised = functional.quantize_blockwise(flat, blocksize=BLOCK[8])
        # On a CPU it gives zeros the code of the smallest value above zero; zeros that a mask set must stay zeros.
        code[flat == 0] = value_table("int8", torch.device("cpu")).tolist().index(0.0)
    else:
        code, quantised = functional.quantize_4bit(flat, blocksize=BLOCK[4], quant_type=layer.format)
    return {"code": code.flatten(), "scale": quantised.absmax.flatten().float()}
