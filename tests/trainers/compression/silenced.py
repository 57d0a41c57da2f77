"""The dense network with some channels silenced: the slow way to say what pruning must compute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from trainers.compression.channels import coupled_groups, removal_indices
from trainers.models.arch_spec import Layer
from trainers.models.building import assembled
from trainers.models.diffusion_model import DiffusionModel


def silenced(model: DiffusionModel, kept: Mapping[str, Tensor], *, is_zeroed: bool = False) -> DiffusionModel:
    """``model`` with all weights of the other channels at zero, and norms over the kept ones.

    Args:
        kept: Group name -> channels that stay.
        is_zeroed: Norms keep counting the silent channels, as plain norms of a sparse network do.
    """
    indices = removal_indices(coupled_groups(model.spec), kept, model.spec)
    net = assembled(model.spec, {name: tensor.clone() for name, tensor in model.net.state_dict().items()})
    for (name, side), stays in indices.items():
        module, layer = net.get_submodule(name), model.spec.layers[name]
        is_gone = torch.ones(layer.outputs if side == "out" else layer.inputs, dtype=torch.bool)
        is_gone[stays] = False
        with torch.no_grad():
            axis = layer.output_axis if side == "out" else 1 - layer.output_axis
            module.weight.index_fill_(axis, is_gone.nonzero().flatten(), 0.0)
            if side == "out" and layer.bias:
                module.bias[is_gone] = 0
        if layer.is_norm and (layer.kind == "layer_norm" or not is_zeroed):
            holder, _, attribute = name.rpartition(".")
            setattr(net.get_submodule(holder), attribute, SurvivorsNorm(module, layer, stays))
    return replace(model, net=net)


class SurvivorsNorm(nn.Module):
    """Normalises the kept channels, group by group, in float64; the others come out as zero."""

    def __init__(self, norm: nn.Module, layer: Layer, stays: Tensor) -> None:
        super().__init__()
        self.norm, self.kind = norm, layer.kind
        count = layer.norm_groups if layer.kind == "norm" else 1
        assert isinstance(count, int)
        group = stays // (layer.outputs // count)
        self.parts = [stays[group == index] for index in group.unique()]

    def forward(self, input: Tensor) -> Tensor:
        """The same shape as the input."""
        channels_first = input.movedim(-1, 1) if self.kind == "layer_norm" else input
        flat = channels_first.double()
        out = torch.zeros_like(flat)
        # A layer norm has statistics of its own for each token.
        axes = 1 if self.kind == "layer_norm" else tuple(range(1, flat.ndim))
        shape = (-1, *(1 for _ in range(flat.ndim - 2)))
        for stays in self.parts:
            part = flat[:, stays]
            mean, variance = part.mean(axes, keepdim=True), part.var(axes, correction=0, keepdim=True)
            scaled = (part - mean) / (variance + self.norm.eps).sqrt()
            out[:, stays] = scaled * self.norm.weight[stays].view(shape) + self.norm.bias[stays].view(shape)
        out = out.to(input.dtype)
        return out.movedim(1, -1) if self.kind == "layer_norm" else out
