"""Removing channels from a spec and from weights, by one plan, so that computed and built sizes agree."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from trainers.compression.channels import CoupledGroup, Side, coupled_groups, removal_indices
from trainers.errors import UserError
from trainers.models.arch_spec import ArchSpec, Layer
from trainers.models.building import assembled

if TYPE_CHECKING:
    from trainers.compression.criteria.criterion import Criterion
    from trainers.compression.prune import Prune
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run


def planned(spec: ArchSpec, *, ratio: float | Mapping[str, float], rule: str) -> ArchSpec:
    """The spec after pruning; which channels go does not matter for its sizes.

    With the ``flexible`` rule the sizes of uneven norm groups are known only once channels are scored; until then they
    are written as even as they can be.
    """
    groups = _groups(spec)
    counts = _removed_counts(groups, _block_ratios(spec, ratio), rule)
    lost: dict[tuple[str, Side], int] = {}
    for group in groups:
        for member in group.members if counts[group.name] else ():
            side = (member.layer, member.side)
            lost[side] = lost.get(side, 0) + counts[group.name]
    changed = {}
    for name, layer in spec.layers.items():
        inputs, outputs = lost.get((name, "in"), 0), lost.get((name, "out"), 0)
        if inputs or outputs:
            changed[name] = _smaller(layer, inputs, outputs, rule)
    return spec.with_layers(changed)


def pruned(
    stage: Prune,
    model: DiffusionModel,
    run: Run,
    *,
    ratio: float | Mapping[str, float],
    rule: str,
    criterion: Criterion,
) -> DiffusionModel:
    """The model without the channels that ``criterion`` scores lowest."""
    groups = _groups(model.spec)
    ratio_of = _block_ratios(model.spec, ratio)
    counts = _removed_counts(groups, ratio_of, rule)
    notes = tuple(_note(group, ratio_of[group.block], counts[group.name]) for group in groups if ratio_of[group.block])
    if not any(counts.values()):
        return model.after(stage, notes=notes)
    from trainers.compression._scoring import group_scores

    scores = group_scores(model, run, criterion=criterion, groups=[group for group in groups if counts[group.name]])
    kept = {name: _kept(groups_by_name(groups)[name], score_C, counts[name], rule) for name, score_C in scores.items()}
    spec, state = without(model.spec, model.net.state_dict(), groups, kept, rule=rule)
    return model.after(stage, net=assembled(spec, state), spec=spec, notes=notes)


def groups_by_name(groups: tuple[CoupledGroup, ...]) -> dict[str, CoupledGroup]:
    """The groups under their names."""
    return {group.name: group for group in groups}


def without(
    spec: ArchSpec,
    state: Mapping[str, Tensor],
    groups: tuple[CoupledGroup, ...],
    kept: Mapping[str, Tensor],
    *,
    rule: str,
) -> tuple[ArchSpec, dict[str, Tensor]]:
    """Spec and weights with only the ``kept`` channels of each group."""
    indices = removal_indices(groups, kept, spec)
    state = {name: tensor.detach() for name, tensor in state.items()}
    layers = {}
    for name in {layer for layer, _ in indices}:
        layer = spec.layers[name]
        outputs, inputs = indices.get((name, "out")), indices.get((name, "in"))
        weight = state[f"{name}.weight"]
        if outputs is not None and layer.kind == "embedding":
            weight = weight[:, outputs]
        elif outputs is not None:
            weight = weight[outputs]
            if layer.bias:
                state[f"{name}.bias"] = state[f"{name}.bias"][outputs].clone()
        if inputs is not None:
            weight = weight[:, inputs]
        state[f"{name}.weight"] = weight.clone()
        layers[name] = _resized(layer, inputs, outputs, rule)
    smaller = spec.with_layers(layers)
    _keep_softmax_scale(spec, smaller, state)
    return smaller, state


def _keep_softmax_scale(before: ArchSpec, after: ArchSpec, state: dict[str, Tensor]) -> None:
    """Attention divides by the root of its head width; a narrower head would sharpen it, so queries make up for it."""
    for attention in before.attentions:
        widths = [spec.layers[attention.query].outputs for spec in (before, after)]
        if widths[0] != widths[1]:
            for part in ("weight", "bias"):
                if f"{attention.query}.{part}" in state:
                    state[f"{attention.query}.{part}"] *= math.sqrt(widths[1] / widths[0])


def _resized(layer: Layer, inputs: Tensor | None, outputs: Tensor | None, rule: str) -> Layer:
    if layer.kind == "norm":
        assert outputs is not None
        norm_groups = layer.norm_groups if rule == "paper" else _surviving_groups(layer, outputs)
        return replace(layer, inputs=len(outputs), outputs=len(outputs), norm_groups=norm_groups)
    return replace(
        layer,
        inputs=layer.inputs if inputs is None else len(inputs),
        outputs=layer.outputs if outputs is None else len(outputs),
    )


def _surviving_groups(layer: Layer, kept_C: Tensor) -> int | tuple[int, ...]:
    """Sizes of the norm groups after pruning; their number when they are equal. Groups that lost all are gone."""
    edges = (0, *itertools.accumulate(_sizes(layer)))
    sizes = tuple(
        size for first, last in itertools.pairwise(edges) if (size := int(((kept_C >= first) & (kept_C < last)).sum()))
    )
    return len(sizes) if len(set(sizes)) == 1 else sizes


def _sizes(layer: Layer) -> tuple[int, ...]:
    if isinstance(layer.norm_groups, tuple):
        return layer.norm_groups
    return (layer.outputs // layer.norm_groups,) * layer.norm_groups


def _smaller(layer: Layer, inputs: int, outputs: int, rule: str) -> Layer:
    if layer.kind != "norm":
        return replace(layer, inputs=layer.inputs - inputs, outputs=layer.outputs - outputs)
    width = layer.outputs - outputs
    norm_groups = layer.norm_groups
    if rule == "flexible":
        count = min(width, norm_groups if isinstance(norm_groups, int) else len(norm_groups))
        norm_groups = tuple(width // count + (place < width % count) for place in range(count))
    return replace(layer, inputs=width, outputs=width, norm_groups=norm_groups)


def _groups(spec: ArchSpec) -> tuple[CoupledGroup, ...]:
    reshaped = [name for name, layer in spec.layers.items() if layer.groups > 1 or layer.bits != 32]
    if reshaped:
        raise UserError(f"{reshaped[0]} is grouped or quantised already. Put prune before group and quantize.")
    return coupled_groups(spec)


def _block_ratios(spec: ArchSpec, ratio: float | Mapping[str, float]) -> dict[str, float]:
    blocks = spec.network.blocks()
    if not isinstance(ratio, Mapping):
        return dict.fromkeys(blocks, ratio)
    from trainers.registry import suggestion

    unknown = [block for block in ratio if block not in blocks]
    if unknown:
        raise UserError(
            "\n".join(f"ratio: this network has no block {block!r}. {suggestion(block, blocks)}" for block in unknown)
        )
    return dict.fromkeys(blocks, 0.0) | dict(ratio)


def _removed_counts(groups: tuple[CoupledGroup, ...], ratio_of: Mapping[str, float], rule: str) -> dict[str, int]:
    counts = {}
    for group in groups:
        # The tolerance keeps 0.29999999999999998 * 10 from losing a channel that was asked for.
        sections = group.sections if rule == "paper" or group.is_attention else 1
        per_section = math.floor(ratio_of[group.block] * (group.width // sections) + 1e-9)
        counts[group.name] = sections * min(per_section, group.width // sections - 1)
    return counts


def _kept(group: CoupledGroup, score_C: Tensor, count: int, rule: str) -> Tensor:
    """Channels that stay: the best of each section where sections stay equal, else the best of all."""
    sections = group.sections if rule == "paper" or group.is_attention else 1
    score_SN = score_C.view(sections, -1)
    stays_SN = torch.ones_like(score_SN, dtype=torch.bool)
    lowest_SN = score_SN.argsort(dim=1, stable=True)[:, : count // sections]
    stays_SN.scatter_(1, lowest_SN, False)
    return stays_SN.flatten().nonzero().flatten()


def _note(group: CoupledGroup, asked: float, count: int) -> dict[str, Any]:
    note: dict[str, Any] = {"what": f"prune {group.name}", "asked": asked, "achieved": round(count / group.width, 6)}
    if asked and not count:
        note["note"] = f"kept whole: {group.width} channels in {group.sections} equal sections cannot lose so few"
    return note
