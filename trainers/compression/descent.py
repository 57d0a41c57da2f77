"""A model beside one that it descends from: the weights of the ancestor that the model still has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from trainers.compression.channels import Side, coupled_groups, removal_indices
from trainers.stage import STAGES

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.models.arch_spec import ArchSpec
    from trainers.models.diffusion_model import DiffusionModel


class NotDescendedError(ValueError):
    """A model is not its supposed ancestor with channels removed; the text says what it is or has instead."""


def inherited(tensors: Mapping[str, Tensor], model: DiffusionModel, ancestor: DiffusionModel) -> dict[str, Tensor]:
    """``tensors``, shaped like the parameters of ``ancestor``, with only the channels that ``model`` still has.

    Raises:
        NotDescendedError: when the parameters of ``model`` are not shaped like the result, or are new.
    """
    smaller = _restricted(tensors, surviving(model, ancestor), ancestor.spec)
    shapes = {name: tensor.shape for name, tensor in smaller.items()}
    if shapes != {name: parameter.shape for name, parameter in model.net.named_parameters()}:
        raise NotDescendedError("has other widths than its list of surviving channels says")
    return smaller


def surviving(model: DiffusionModel, ancestor: DiffusionModel) -> dict[tuple[str, Side], Tensor]:
    """(Layer, side) -> the channels of ``ancestor`` that ``model`` still has there; what lost none is left out.

    Raises:
        NotDescendedError: when ``model`` is another network, or has new weights.
    """
    if model.spec.network != ancestor.spec.network:
        raise NotDescendedError("is another network")
    if stage := _begun_anew(model, ancestor):
        raise NotDescendedError(f"has new weights since {stage}")
    return removal_indices(coupled_groups(ancestor.spec), _survivors(model, ancestor), ancestor.spec)


def query_scales(ancestor: ArchSpec, spec: ArchSpec) -> dict[str, float]:
    """Query layer -> what pruning multiplied its weights by: attention divides by the root of its head width."""
    widths = [
        {each.query: held.layers[each.query].outputs / each.heads for each in held.attentions}
        for held in (ancestor, spec)
    ]
    return {query: math.sqrt(widths[1][query] / width) for query, width in widths[0].items()}


def check_survivors(model: DiffusionModel) -> None:
    """Make sure that each list of surviving channels is of a group that the model has, and as long as that is wide.

    Raises:
        NotDescendedError: when one is not.
    """
    if not model.survivors:
        return
    widths = {group.name: group.width for group in coupled_groups(model.spec)}
    for name, channels in model.survivors.items():
        width = widths.get(name)
        if width != len(channels):
            raise NotDescendedError(f"lists {len(channels)} surviving channels of {name!r}, which has {width}")


def _begun_anew(model: DiffusionModel, ancestor: DiffusionModel) -> str:
    """The stage that gave the model new weights since it was the ancestor, by its log; empty for none."""
    begins_anew = {name for name, stage in STAGES if stage.begins_anew}
    for entry in model.log[len(ancestor.log) :]:
        # The name of a stage, or an object with that name as its key; in a stranger's log it may be anything.
        names = {entry} if isinstance(entry, str) else set(entry) if isinstance(entry, dict) else set()
        if found := begins_anew & names:
            return found.pop()
    return ""


def _restricted(
    tensors: Mapping[str, Tensor], surviving: Mapping[tuple[str, Side], Tensor], spec: ArchSpec
) -> dict[str, Tensor]:
    """Tensors shaped like the parameters of ``spec``, with only the channels that survive."""
    smaller = dict(tensors)
    for (name, side), stays in surviving.items():
        layer, weight = spec.layers[name], smaller[f"{name}.weight"]
        stays = stays.to(weight.device)
        axis = layer.output_axis if side == "out" else 1 - layer.output_axis
        smaller[f"{name}.weight"] = weight.index_select(axis, stays)
        if side == "out" and layer.bias:
            smaller[f"{name}.bias"] = smaller[f"{name}.bias"].index_select(0, stays)
    return smaller


def _survivors(model: DiffusionModel, ancestor: DiffusionModel) -> dict[str, Tensor]:
    """The model's surviving channels by group, counted in the channels of ``ancestor``, which may be pruned itself."""
    import torch

    widths = {group.name: group.width for group in coupled_groups(ancestor.spec)}
    found = {}
    for name, channels in model.survivors.items():
        width = widths.get(name, 0)
        left = ancestor.survivors.get(name, range(width))
        if len(left) != width:
            raise NotDescendedError(f"descends from a model that lists {len(left)} channels of {name}, and has {width}")
        place_of = {channel: place for place, channel in enumerate(left)}
        if not place_of.keys() >= set(channels):
            raise NotDescendedError(f"has channels of {name} that the other lacks")
        found[name] = torch.tensor([place_of[channel] for channel in channels])
    return found
