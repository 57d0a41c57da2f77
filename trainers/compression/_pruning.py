"""Removing channels from a spec and from weights, by one plan, so that computed and built sizes agree."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from trainers.compression._asked import Loss, Rules, asked_ratios, loss_of
from trainers.compression._masking import with_counted_zeros
from trainers.compression._norm_groups import thinned, thinned_evenly
from trainers.compression.channels import CoupledGroup, Side, coupled_groups, removal_indices
from trainers.errors import UserError
from trainers.models import float16
from trainers.models.arch_spec import ArchSpec, Layer
from trainers.models.building import assembled

if TYPE_CHECKING:
    from trainers.compression.prune import Prune
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run


def planned(stage: Prune, spec: ArchSpec) -> ArchSpec:
    """The spec after pruning; which channels go does not matter for its sizes.

    With the ``flexible`` rule the sizes of norm groups are known only once channels are scored; until then they are
    written as even as they can be.
    """
    _check_prunable(spec)
    groups = coupled_groups(spec)
    losses = _losses(stage, groups, asked_ratios(spec, groups, stage.ratio))
    lost: dict[Side, dict[str, int]] = {"in": {}, "out": {}}
    for group in groups:
        if count := losses[group.name].count:
            for member in group.members:
                of_side = lost[member.side]
                of_side[member.layer] = of_side.get(member.layer, 0) + count
    changed = {}
    for name in lost["in"] | lost["out"]:
        layer = spec.layers[name]
        inputs, outputs = layer.inputs - lost["in"].get(name, 0), layer.outputs - lost["out"].get(name, 0)
        if layer.is_norm:
            changed[name] = thinned_evenly(layer, outputs, **_norm_rules(stage))
        else:
            changed[name] = layer.but(inputs=inputs, outputs=outputs)
    return _with_heads(spec.with_layers(changed), groups, losses)


def pruned(stage: Prune, model: DiffusionModel, run: Run) -> DiffusionModel:
    """The model without the channels that the criterion scores lowest."""
    _check_prunable(model.spec)
    groups = coupled_groups(model.spec)
    losses = _losses(stage, groups, asked_ratios(model.spec, groups, stage.ratio))
    losing = [group for group in groups if losses[group.name].count]
    rounds = [[group] for group in losing] if stage.greedy else [losing] if losing else []
    smaller = model
    for names in rounds:
        smaller = _without_lowest(stage, smaller, run, [group.name for group in names], losses)
    said = notes(stage, start=model.spec, now=smaller.spec)
    return model.after(stage, net=smaller.net, spec=smaller.spec, notes=said, survivors=smaller.survivors)


def part(stage: Prune, share: float, *, start: ArchSpec, now: ArchSpec, after: Sequence[Prune]) -> Prune:
    """The stage with, for each group, the ratio that takes its width in ``now`` to the share of what ``start`` loses.

    Counted from the start, so that small parts of few channels do not all round down to none.

    Raises:
        UserError: when a group would lose all its channels.
    """
    groups = coupled_groups(start)
    asked = _asked_together(stage, share, groups=groups, start=start, after=after)
    if too_much := next((name for name in asked if asked[name] >= 1), None):
        raise UserError(
            f"ratio: {too_much} would lose {asked[too_much]:.4g} of its channels in {len(after) + 1} iterations "
            "together, and must lose less than 1. Use smaller ratios or fewer halvings."
        )
    losses = _losses(stage, groups, asked)
    width_before = {group.name: group.width for group in groups}
    return replace(
        stage,
        ratio={
            group.name: max(0, losses[group.name].count - (width_before[group.name] - group.width)) / group.width
            for group in coupled_groups(now)
        },
    )


def notes(
    stage: Prune, *, start: ArchSpec, now: ArchSpec, after: Sequence[Prune] = ()
) -> tuple[Mapping[str, Any], ...]:
    """The ratio asked of each group of ``start``, by all these stages together, and that achieved in ``now``."""
    groups = coupled_groups(start)
    asked = _asked_together(stage, 1.0, groups=groups, start=start, after=after)
    losses = _losses(stage, groups, asked)
    left = {group.name: group.width for group in coupled_groups(now)}
    return tuple(
        _note(group, asked[group.name], left[group.name], losses[group.name].reason)
        for group in groups
        if asked[group.name]
    )


def _asked_together(
    stage: Prune, share: float, *, groups: Sequence[CoupledGroup], start: ArchSpec, after: Sequence[Prune]
) -> dict[str, float]:
    """Group name -> what a share of the stage takes of ``start``, and all of those it comes after."""
    parts = [(1.0, asked_ratios(start, groups, earlier.ratio)) for earlier in after]
    parts.append((share, asked_ratios(start, groups, stage.ratio)))
    return {group.name: sum(taken * ratios[group.name] for taken, ratios in parts) for group in groups}


def _without_lowest(
    stage: Prune, model: DiffusionModel, run: Run, names: list[str], losses: Mapping[str, Loss]
) -> DiffusionModel:
    """The model after these groups lost their lowest channels, all scored on the model as it is now."""
    from trainers.compression._scoring import group_scores

    groups = coupled_groups(model.spec)
    losing = [group for group in groups if group.name in names]
    scores = group_scores(model, run, criterion=stage.criterion, groups=losing)
    kept = {name: kept_channels(score_C, losses[name]) for name, score_C in scores.items()}
    spec, state = without(model.spec, model.net.state_dict(), groups, kept, **_norm_rules(stage))
    spec = with_counted_zeros(_with_heads(spec, groups, {name: losses[name] for name in kept}), state)
    survivors = dict(model.survivors)
    for group in losing:
        before = survivors.get(group.name, range(group.width))
        survivors[group.name] = tuple(before[index] for index in kept[group.name].tolist())
    return replace(model, net=assembled(spec, state), spec=spec, survivors=survivors)


def without(
    spec: ArchSpec,
    state: Mapping[str, Tensor],
    groups: tuple[CoupledGroup, ...],
    kept: Mapping[str, Tensor],
    *,
    keeps_count: bool,
    is_zeroed: bool = False,
) -> tuple[ArchSpec, dict[str, Tensor]]:
    """Spec and weights with only the ``kept`` channels of each group; for the norms' groups see ``thinned``."""
    indices = removal_indices(groups, kept, spec)
    state = {name: tensor.detach() for name, tensor in state.items()}
    layers = {}
    for name in dict.fromkeys(layer for layer, _ in indices):
        layer = spec.layers[name]
        outputs, inputs = indices.get((name, "out")), indices.get((name, "in"))
        weight = state[f"{name}.weight"]
        if outputs is not None:
            weight = weight.index_select(layer.output_axis, outputs.to(weight.device))
            if layer.bias:
                state[f"{name}.bias"] = state[f"{name}.bias"].index_select(0, outputs.to(weight.device))
        if inputs is not None:
            weight = weight.index_select(1 - layer.output_axis, inputs.to(weight.device))
        state[f"{name}.weight"] = weight.contiguous()
        if layer.is_norm:
            assert outputs is not None
            layers[name] = thinned(layer, outputs, keeps_count=keeps_count, is_zeroed=is_zeroed)
        else:
            layers[name] = _smaller(layer, inputs, outputs)
    _keep_softmax_scale(groups, kept, state)
    spec = spec.with_layers(layers)
    # Scaled queries need rounding again where they are stored in 16 bits.
    return spec, float16.rounded(spec, state)


def kept_channels(score_C: Tensor, loss: Loss) -> Tensor:
    """The channels that stay, sorted: the best of each part, in whole units."""
    score_PU = score_C.view(loss.parts, -1, loss.unit).sum(dim=2)
    stays_PU = torch.ones_like(score_PU, dtype=torch.bool)
    lowest_PU = score_PU.argsort(dim=1, stable=True)[:, : loss.count // loss.parts // loss.unit]
    stays_PU.scatter_(1, lowest_PU, False)
    return stays_PU[:, :, None].expand(-1, -1, loss.unit).flatten().nonzero().flatten()


def _keep_softmax_scale(groups: tuple[CoupledGroup, ...], kept: Mapping[str, Tensor], state: dict[str, Tensor]) -> None:
    """Attention divides by the root of its head width; a narrower head would sharpen it, so queries make up for it."""
    for group in groups:
        if group.heads and group.name in kept:
            head = kept[group.name] // (group.width // group.heads)
            width = int((head == head[0]).sum())
            if width * group.heads != group.width:
                for part in ("weight", "bias"):
                    if f"{group.name}.{part}" in state:
                        name = f"{group.name}.{part}"
                        state[name] = state[name] * math.sqrt(width * group.heads / group.width)


def _with_heads(spec: ArchSpec, groups: tuple[CoupledGroup, ...], losses: Mapping[str, Loss]) -> ArchSpec:
    """Attentions that lost whole heads have fewer."""
    lost = {
        group.name: losses[group.name].count // losses[group.name].unit
        for group in groups
        if group.heads and group.name in losses and losses[group.name].unit > 1
    }
    if not lost:
        return spec
    return replace(
        spec,
        attentions=tuple(
            replace(attention, heads=attention.heads - lost.get(attention.query, 0)) for attention in spec.attentions
        ),
    )


def _smaller(layer: Layer, inputs: Tensor | None, outputs: Tensor | None) -> Layer:
    return layer.but(
        inputs=layer.inputs if inputs is None else len(inputs),
        outputs=layer.outputs if outputs is None else len(outputs),
    )


def _losses(stage: Prune, groups: tuple[CoupledGroup, ...], asked: Mapping[str, float]) -> dict[str, Loss]:
    keeps_count = _norm_rules(stage)["keeps_count"]
    rules = Rules(rule=stage.rule, round_to=stage.round_to, heads=stage.heads, keeps_count=keeps_count)
    return {group.name: loss_of(group, asked[group.name], rules) for group in groups}


def _norm_rules(stage: Prune) -> dict[str, bool]:
    is_shifted = stage.rule == "paper" or stage.statistics == "shifted"
    return {"keeps_count": is_shifted, "is_zeroed": stage.statistics == "zeroed"}


def _check_prunable(spec: ArchSpec) -> None:
    reshaped = [name for name, layer in spec.layers.items() if layer.groups > 1 or layer.is_quantised]
    if reshaped:
        raise UserError(f"{reshaped[0]} is grouped or quantised already. Put prune before group and quantize.")


def _note(group: CoupledGroup, asked: float, left: int, reason: str) -> dict[str, Any]:
    note = {"what": f"prune {group.name}", "asked": asked, "achieved": round(1 - left / group.width, 6)}
    return note | ({"note": reason} if reason and left == group.width else {})
