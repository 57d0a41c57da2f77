"""The weights behind each channel of a layer, as one matrix with a row per channel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor

from trainers.compression.channels import CoupledGroup
from trainers.models.arch_spec import ArchSpec, Layer

Part = Literal["in", "out", "scale"]
"""What of a layer is looked at: a side, or of a norm its weights without its biases."""
Place = tuple[str, Part, int]
"""Layer, part, and which of its channels is the group's first."""


def member_places(group: CoupledGroup) -> list[Place]:
    """All that goes when a channel of the group goes."""
    return [(member.layer, member.side, member.offset) for member in group.members]


def norm_places(group: CoupledGroup, spec: ArchSpec) -> list[Place]:
    """The weights of the norms over the group's channels; empty without a norm."""
    return [(member.layer, "scale", member.offset) for member in group.members if spec.layers[member.layer].is_norm]


def parts_of(groups: Iterable[CoupledGroup], spec: ArchSpec) -> tuple[tuple[str, Part], ...]:
    """Every (layer, part) that a score of these groups can need, once each."""
    places = (place for group in groups for place in (*member_places(group), *norm_places(group, spec)))
    return tuple(dict.fromkeys((layer, part) for layer, part, _ in places))


def side_matrix(tensors: Mapping[str, Tensor], layer: Layer, name: str, part: Part) -> Tensor:
    """Shape (C, K): all that goes when a channel goes, biases included; ``tensors`` holds weights or gradients."""
    weight = tensors[f"{name}.weight"]
    if part == "in":
        return weight.movedim(1 - layer.output_axis, 0).flatten(1)
    rows = weight[:, None] if layer.is_norm else weight.movedim(layer.output_axis, 0).flatten(1)
    return torch.cat((rows, tensors[f"{name}.bias"][:, None]), dim=1) if layer.bias and part == "out" else rows
