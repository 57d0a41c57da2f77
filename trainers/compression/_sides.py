"""The weights behind each channel of a layer's side, as one matrix with a row per channel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from trainers.compression.channels import CoupledGroup, Side
from trainers.models.arch_spec import Layer

Sides = tuple[tuple[str, Side], ...]


def member_sides(groups: Iterable[CoupledGroup]) -> Sides:
    """Every (layer, side) that the groups touch, once each."""
    return tuple(dict.fromkeys((member.layer, member.side) for group in groups for member in group.members))


def side_matrix(tensors: Mapping[str, Tensor], layer: Layer, name: str, side: Side) -> Tensor:
    """Shape (C, K): all that goes when a channel goes, biases included; ``tensors`` holds weights or gradients."""
    weight = tensors[f"{name}.weight"]
    if layer.kind == "norm":
        return torch.stack((weight, tensors[f"{name}.bias"]), dim=1)
    if layer.kind == "embedding":
        return weight.T
    if side == "in":
        return weight.transpose(0, 1).flatten(1)
    rows = weight.flatten(1)
    return torch.cat((rows, tensors[f"{name}.bias"][:, None]), dim=1) if layer.bias else rows
