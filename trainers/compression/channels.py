"""Which channels belong together: the only file that knows torch_pruning's dependency graph.

A skip connection, a concatenation, a time embedding or an attention ties the output channels of some layers to the
input channels of others. Such a coupled group can only lose a channel in all of its members at once.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor, nn

    from trainers.models.arch_spec import ArchSpec
    from trainers.models.network import Network

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
        macro_block: Its macro-block: ``I``, ``D0``, ``M1``, ``U0``, ``O``.
        width: Number of channels.
        norm_groups: The most equal groups that a norm over these channels has; 1 without a norm, or when each of
            them kept its own channels and so may be uneven.
        heads: Of an attention, when these are its query, key and value widths; else 0.
    """

    name: str
    block: str
    macro_block: str
    width: int
    norm_groups: int
    heads: int
    members: tuple[Member, ...]


def coupled_groups(spec: ArchSpec) -> tuple[CoupledGroup, ...]:
    """All groups that may lose channels, in the order in which the network produces them.

    The channels of the images, of the timestep's encoding and of a condition are in none of them. Traced once per
    network, on the meta device; pruning changes widths and offsets but never who belongs together.
    """
    key = spec.structure()
    if key not in _known:
        if len(_known) >= _MOST_KNOWN:
            # Of a recipe that prunes twice, every candidate has a structure of its own.
            _known.clear()
        _known[key] = _at_present(spec)
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
_MOST_KNOWN = 256


def _at_present(spec: ArchSpec) -> tuple[CoupledGroup, ...]:
    """The groups of the network with the widths that are left of them.

    On each side of a layer the runs of channels keep their order, so a run begins where those before it now end.
    """
    traced, layers = _traced(spec.network), spec.layers
    widths = [layers[group.name].outputs // group.multiple for group in traced]
    lost = [group.width - width for group, width in zip(traced, widths, strict=True)]
    heads = {attention.query: attention.heads for attention in spec.attentions}
    groups = []
    for group, width in zip(traced, widths, strict=True):
        counts = [layers[norm].norm_groups for norm in group.norms]
        equal = [count for count in counts if isinstance(count, int) and count and width % count == 0]
        groups.append(
            CoupledGroup(
                name=group.name,
                block=group.block,
                macro_block=group.macro_block,
                width=width,
                norm_groups=max(equal, default=1),
                heads=next((heads[layer] for layer in group.outputs if layer in heads), 0),
                members=_moved(group, lost),
            )
        )
    return tuple(groups)


def _moved(group: _Traced, lost: Sequence[int]) -> tuple[Member, ...]:
    """The members of a group, each as far to the front as the groups before it have lost channels."""
    members = list(group.members)
    for place, before in group.behind.items():
        layer, side, offset = members[place].layer, members[place].side, members[place].offset
        members[place] = Member(layer, side, offset - sum(lost[other] for other in before))
    return tuple(members)


class _Traced(NamedTuple):
    """A group of a network before anything is removed.

    Args:
        multiple: How often the width is in the outputs of the layer that names the group.
        norms: Over its channels.
        outputs: Layers that have them as outputs.
        behind: Number of a member -> the places of the groups whose channels lie before it on its side of its layer;
            most members are the first there.
    """

    name: str
    block: str
    macro_block: str
    width: int
    multiple: int
    members: tuple[Member, ...]
    norms: tuple[str, ...]
    outputs: tuple[str, ...]
    behind: Mapping[int, tuple[int, ...]]


@lru_cache(maxsize=64)
def _traced(network: Network) -> tuple[_Traced, ...]:
    import torch
    from torch_pruning import DependencyGraph

    from trainers.models.tracing import example_inputs, spec_of

    spec = spec_of(network, sampling_steps=1)
    with torch.device("meta"):
        net = network.build()
    graph = DependencyGraph()
    graph.build_dependency(
        net,
        example_inputs=example_inputs(network),
        forward_fn=lambda net, inputs: network.call(net, *inputs),
        verbose=False,
    )
    name_of = {module: name for name, module in net.named_modules()}
    order = {name: place for place, name in enumerate(spec.layers)}
    # Its outputs are the image's channels.
    last = max((name for name, layer in spec.layers.items() if layer.is_conv), key=order.__getitem__)
    gated = network.gated(net)
    found: dict[str, tuple[int, int, tuple[Member, ...]]] = {}
    roots = [torch.nn.Conv2d, torch.nn.ConvTranspose2d, torch.nn.Linear]
    for traced in graph.get_all_groups(root_module_types=roots):
        for first, members in _runs(_tied_channels(traced, name_of, spec, gated), spec, order):
            if first == last:
                continue
            own = [member for member in members if (member.layer, member.side) == (first, "out")]
            width, rest = divmod(spec.layers[first].outputs, len(own))
            if first in found or rest:
                raise NotImplementedError(f"the outputs of {first} are tied to different layers; pruning cannot follow")
            found[first] = (width, len(own), members)
    in_order = sorted(found.items(), key=lambda group: order[group[0]])
    runs: dict[tuple[str, Side], list[tuple[int, int]]] = {}
    for place, (_, (_, _, members)) in enumerate(in_order):
        for member in members:
            runs.setdefault((member.layer, member.side), []).append((member.offset, place))

    def before(member: Member) -> tuple[int, ...]:
        return tuple(place for offset, place in runs[member.layer, member.side] if offset < member.offset)

    return tuple(
        _Traced(
            name,
            network.block_of(name),
            network.macro_block_of(name),
            width,
            multiple,
            members,
            norms=tuple(member.layer for member in members if spec.layers[member.layer].is_norm),
            outputs=tuple(member.layer for member in members if member.side == "out"),
            behind={number: places for number, member in enumerate(members) if (places := before(member))},
        )
        for name, (width, multiple, members) in in_order
    )


_Channel = tuple[str, Side, int]


def _tied_channels(
    traced: Any, name_of: Mapping[nn.Module, str], spec: ArchSpec, gated: Collection[str]
) -> list[set[_Channel]]:
    """Channels of layers that can only go together, read off one of torch_pruning's groups."""
    channels_of: dict[int, set[_Channel]] = {}
    for dependency, indices, roots in ((item.dep, item.idxs, item.root_idxs) for item in traced):
        name = name_of.get(dependency.target.module, "")
        if name not in spec.layers:
            continue
        is_one_sided = spec.layers[name].is_norm or spec.layers[name].kind == "embedding"
        side: Side = "out" if is_one_sided or "out" in dependency.handler.__name__ else "in"
        for index, root in zip(indices, roots, strict=True):
            channels_of.setdefault(root, set()).add((name, side, index))
            if name in gated and side == "out":
                # torch_pruning loses the first of two halves that are multiplied.
                half = spec.layers[name].outputs // 2
                channels_of[root].add((name, side, (index + half) % (2 * half)))
    tied: dict[_Channel, set[_Channel]] = {}
    for channels in channels_of.values():
        merged = set(channels).union(*(tied[channel] for channel in channels if channel in tied))
        tied.update(dict.fromkeys(merged, merged))
    return list({id(channels): channels for channels in tied.values()}.values())


def _runs(
    tied: Iterable[set[_Channel]], spec: ArchSpec, order: Mapping[str, int]
) -> Iterator[tuple[str, tuple[Member, ...]]]:
    """First producer and members of each longest run of neighbouring channels that are tied in the same way."""
    placed = []
    for channels in tied:
        producers = [channel for channel in channels if channel[1] == "out" and spec.layers[channel[0]].is_product]
        first, _, index = min(producers, key=lambda channel: (order[channel[0]], channel[2]))
        pattern = sorted((order[layer], side, layer, place - index) for layer, side, place in channels)
        placed.append((order[first], index, first, pattern))
    placed.sort(key=lambda found: found[:2])
    for _, run in itertools.groupby(
        enumerate(placed), key=lambda found: (found[1][2], found[1][3], found[1][1] - found[0])
    ):
        (_, (_, start, first, pattern)), *_ = run
        yield first, tuple(Member(layer, side, start + offset) for _, side, layer, offset in pattern)
