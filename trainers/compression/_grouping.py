"""Grouped convolutions in a spec and in weights."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from torch import Tensor

from trainers.errors import UserError
from trainers.models.arch_spec import ArchSpec, Layer
from trainers.models.building import assembled

if TYPE_CHECKING:
    from trainers.compression.group import Group
    from trainers.models.diffusion_model import DiffusionModel


def planned(spec: ArchSpec, *, groups: int | Literal["max"]) -> ArchSpec:
    """The spec with every dense convolution split that can be.

    Raises:
        UserError: when no convolution of the uncompressed network divides, or weights are quantised already.
    """
    if groups == 1:
        return spec
    if any(layer.bits != 32 for layer in spec.layers.values()):
        raise UserError("weights are quantised already. Put group before quantize.")
    split = {
        name: replace(layer, groups=count)
        for name, layer in spec.layers.items()
        if (count := _count(layer, groups)) > 1
    }
    if not split and not _divides_originally(spec, groups):
        raise UserError(
            f"groups: {groups} divides both channel counts of no convolution. Use 1, 2, 4, 8 or 16, or 'max'."
        )
    return spec.with_layers(split)


def grouped(stage: Group, model: DiffusionModel, *, groups: int | Literal["max"]) -> DiffusionModel:
    """The model with those convolutions split; each keeps the block diagonal of its dense weights."""
    spec = planned(model.spec, groups=groups)
    convolutions = [name for name, layer in spec.layers.items() if layer.kind == "conv"]
    split = [name for name in convolutions if spec.layers[name].groups != model.spec.layers[name].groups]
    note = {"what": "group convolutions", "asked": len(convolutions), "achieved": len(split)}
    if not split:
        return model.after(stage, notes=(note,) if groups != 1 else ())
    state = dict(model.net.state_dict())
    for name in split:
        state[f"{name}.weight"] = _block_diagonal(state[f"{name}.weight"].detach(), spec.layers[name].groups)
    return model.after(stage, net=assembled(spec, state), spec=spec, notes=(note,))


def _count(layer: Layer, groups: int | Literal["max"]) -> int:
    if layer.kind != "conv" or layer.groups != 1:
        return 1
    common = math.gcd(layer.inputs, layer.outputs)
    if groups == "max":
        return common
    return groups if common % groups == 0 else 1


def _divides_originally(spec: ArchSpec, groups: int | Literal["max"]) -> bool:
    """Whether the network before pruning had a convolution to split: widths that no longer divide are no mistake."""
    from trainers.models.tracing import spec_of

    original = spec_of(spec.network, sampling_steps=1)
    return any(_count(layer, groups) > 1 for layer in original.layers.values())


def _block_diagonal(weight_OIHW: Tensor, groups: int) -> Tensor:
    outputs, inputs = weight_OIHW.shape[0] // groups, weight_OIHW.shape[1] // groups
    parts = weight_OIHW.unflatten(0, (groups, outputs)).unflatten(2, (groups, inputs))
    return parts.diagonal(dim1=0, dim2=2).movedim(-1, 0).flatten(0, 1).contiguous()
