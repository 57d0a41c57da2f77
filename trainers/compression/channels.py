"""Which channels belong together: the only file that knows torch_pruning's dependency graph.

A skip connection, a concatenation, a time embedding or an attention ties the output channels of some layers to the
input channels of others. Such a coupled group can only lose a channel in all of its members at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import Tensor, nn

    from trainers.models.arch_spec import ArchSpec

Side = Literal["in", "out"]


@dataclass(frozen=True)
class Member:
    """A run of channels of one layer: channel i of the group is channel ``offset + i`` on this side of the layer.

    A norm or an embedding has only an ``out`` side.
    """

    layer: str
    side: Side
    offset: int


@dataclass(frozen=True)
class CoupledGroup:
    """Channels that can only be removed in all members at once.

    Args:
        name: The layer that first produces them.
        block: The block of that layer: ``down_0``, ``mid``, ``up_1``, ``time``.
        width: Number of channels.
        sections: Equal parts that must stay equal under the ``paper`` rule (norm groups), or under any rule when
            ``is_attention`` (heads).
        is_attention: Whether these are the query, key and value widths of an attention.
    """

    name: str
    block: str
    width: int
    sections: int
    is_attention: bool
    members: tuple[Member, ...]


def coupled_groups(spec: ArchSpec) -> tuple[CoupledGroup, ...]:
    """All groups that may lose channels, in the order in which the network produces them.

    The channels of the images are in none of them. Traced on the meta device, once per structure.
    """
    key = spec.structure()
    if key not in _known:
        _known[key] = _traced(spec)
    return _known[key]


def removal_indices(
    groups: Iterable[CoupledGroup], kept: Mapping[str, Tensor], spec: ArchSpec
) -> dict[tuple[str, Side], Tensor]:
    """For each side of a layer that loses channels, the channels that stay, in their order.

    Args:
        groups: Of the spec.
        kept: Group name -> sorted channels that stay; groups that are not named keep all.
        spec: Before anything is removed.
    """
    import torch

    masks: dict[tuple[str, Side], Tensor] = {}
    for group in groups:
        if group.name not in kept:
            continue
        is_kept_C = torch.zeros(group.width, dtype=torch.bool)
        is_kept_C[kept[group.name]] = True
        for member in group.members:
            layer = spec.layers[member.layer]
            side = (member.layer, member.side)
            if side not in masks:
                masks[side] = torch.ones(layer.outputs if member.side == "out" else layer.inputs, dtype=torch.bool)
            masks[side][member.offset : member.offset + group.width] = is_kept_C
    return {side: mask.nonzero().flatten() for side, mask in masks.items()}


_known: dict[Any, tuple[CoupledGroup, ...]] = {}


def _traced(spec: ArchSpec) -> tuple[CoupledGroup, ...]:
    import torch
    from torch_pruning import DependencyGraph

    from trainers.models.building import empty
    from trainers.models.tracing import example_inputs

    net = empty(spec)
    graph = DependencyGraph()
    graph.build_dependency(
        net,
        example_inputs=example_inputs(spec.network),
        forward_fn=lambda net, inputs: spec.network.call(net, *inputs),
        verbose=False,
    )
    name_of = {module: name for name, module in net.named_modules()}
    order = {name: place for place, name in enumerate(spec.layers)}
    last = _image_layers(spec, order)
    groups = []
    for traced in graph.get_all_groups(root_module_types=[torch.nn.Conv2d, torch.nn.Linear]):
        members = _members(traced, name_of, spec)
        producers = [member.layer for member in members if member.side == "out" and _produces(spec, member.layer)]
        if not last.isdisjoint(producers):
            continue
        first = min(producers, key=order.__getitem__)
        groups.append(_group(spec, first, members))
    return tuple(sorted(groups, key=lambda group: order[group.name]))


def _group(spec: ArchSpec, first: str, members: tuple[Member, ...]) -> CoupledGroup:
    width = spec.layers[first].outputs
    heads = {attention.query: attention.heads for attention in spec.attentions}
    head_counts = [heads[member.layer] for member in members if member.side == "out" and member.layer in heads]
    norms = [spec.layers[member.layer] for member in members if spec.layers[member.layer].kind == "norm"]
    counts = [norm.norm_groups for norm in norms if isinstance(norm.norm_groups, int)]
    sections = head_counts[0] if head_counts else max(counts, default=1)
    return CoupledGroup(
        name=first,
        block=spec.network.block_of(first),
        width=width,
        sections=sections if width % sections == 0 else 1,
        is_attention=bool(head_counts),
        members=members,
    )


def _members(traced: Any, name_of: Mapping[nn.Module, str], spec: ArchSpec) -> tuple[Member, ...]:
    members = []
    for dependency, indices, roots in ((item.dep, item.idxs, item.root_idxs) for item in traced):
        name = name_of.get(dependency.target.module, "")
        if name not in spec.layers:
            continue
        is_norm = spec.layers[name].kind == "norm"
        side: Side = "out" if is_norm or "out" in dependency.handler.__name__ else "in"
        offsets: dict[int, int] = {}
        for index, root in zip(indices, roots, strict=True):
            offsets[index - root] = offsets.get(index - root, 0) + 1
        width = max(roots) + 1
        if any(count != width for count in offsets.values()):
            raise NotImplementedError(f"the channels of {name} are not tied in one run; pruning cannot follow them")
        members += [Member(name, side, offset) for offset in sorted(offsets)]
    return tuple(dict.fromkeys(members))


def _produces(spec: ArchSpec, layer: str) -> bool:
    return spec.layers[layer].kind != "norm"


def _image_layers(spec: ArchSpec, order: Mapping[str, int]) -> set[str]:
    """The layer that draws the image; its outputs are the image's channels."""
    return {max((name for name in order if spec.layers[name].kind.startswith("conv")), key=order.__getitem__)}
