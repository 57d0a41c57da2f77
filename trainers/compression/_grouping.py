"""Grouped convolutions in a spec and in weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from trainers.compression._masking import with_counted_zeros
from trainers.errors import UserError
from trainers.models import float16
from trainers.models.arch_spec import ArchSpec, Layer
from trainers.models.building import assembled

if TYPE_CHECKING:
    from trainers.compression.group import Group
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run


def planned(spec: ArchSpec, *, groups: int | Literal["max"], init: str) -> ArchSpec:
    """The spec with every dense convolution split that can be.

    Raises:
        UserError: when no convolution of the uncompressed network divides, or weights are quantised already.
    """
    if groups == 1:
        return spec
    if any(layer.is_quantised for layer in spec.layers.values()):
        raise UserError("weights are quantised already. Put group before quantize.")
    split = {
        # Fresh weights have no zeros to keep.
        name: layer.but(groups=count, zeros=layer.zeros if init == "dense" else 0.0)
        for name, layer in spec.layers.items()
        if (count := _count(layer, groups)) > 1
    }
    if not split and not _divides_originally(spec, groups):
        raise UserError(
            f"groups: {groups} divides both channel counts of no convolution. Use 1, 2, 4, 8 or 16, or 'max'."
        )
    return spec.with_layers(split)


def grouped(stage: Group, model: DiffusionModel, run: Run) -> DiffusionModel:
    """The model with those convolutions split."""
    spec = planned(model.spec, groups=stage.groups, init=stage.init)
    convolutions = [name for name, layer in spec.layers.items() if layer.is_conv]
    split = [name for name in convolutions if spec.layers[name].groups != model.spec.layers[name].groups]
    note: dict[str, Any] = {"what": "group convolutions", "asked": len(convolutions), "achieved": len(split)}
    if not split:
        note["note"] = f"none split: no two channel counts are both divisible by {stage.groups} any more"
        return model.after(stage, notes=(note,) if stage.groups != 1 else ())
    state = dict(model.net.state_dict())
    for name in split:
        layer = spec.layers[name]
        weight = state[f"{name}.weight"].detach()
        state[f"{name}.weight"] = _block_diagonal(weight, layer)
        if stage.init == "scratch":
            generator = run.generator("scratch", name)
            state |= {f"{name}.{part}": fresh.to(weight) for part, fresh in _fresh(layer, weight, generator).items()}
    state = float16.rounded(spec, state)
    return model.after(stage, net=assembled(spec, state), spec=with_counted_zeros(spec, state), notes=(note,))


def _count(layer: Layer, groups: int | Literal["max"]) -> int:
    if not layer.is_conv or layer.groups != 1:
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


def _block_diagonal(weight: Tensor, layer: Layer) -> Tensor:
    """The weights between channels of one group: (outputs, inputs / groups, H, W), inputs first when transposed."""
    rows, columns = (count // layer.groups for count in weight.shape[:2])
    blocks = weight.unflatten(0, (layer.groups, rows)).unflatten(2, (layer.groups, columns))
    return blocks.diagonal(dim1=0, dim2=2).movedim(-1, 0).flatten(0, 1).contiguous()


def _fresh(layer: Layer, weight: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """What torch's own initialisation gives: uniform within 1 / sqrt(weights that one output reads)."""
    # Of a transposed convolution, too, torch counts the second axis, which holds its outputs.
    counted = layer.outputs if layer.kind == "conv_transpose" else layer.inputs
    bound = 1 / math.sqrt(counted // layer.groups * layer.kernel)
    shape = (weight.shape[0], weight.shape[1] // layer.groups, *weight.shape[2:])
    fresh = {"weight": torch.rand(shape, generator=generator) * 2 * bound - bound}
    if layer.bias:
        fresh["bias"] = torch.rand(layer.outputs, generator=generator) * 2 * bound - bound
    return fresh
