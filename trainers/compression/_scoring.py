"""Scores of coupled groups: the sum over every layer side that would lose the channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from trainers.compression._importance import importance_of
from trainers.compression._sides import Sides, member_sides, side_matrix
from trainers.compression.channels import CoupledGroup

if TYPE_CHECKING:
    from trainers.compression.criteria.criterion import Criterion
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run


def group_scores(
    model: DiffusionModel, run: Run, *, criterion: Criterion, groups: Sequence[CoupledGroup]
) -> dict[str, Tensor]:
    """Group name -> score of each of its channels; the lowest go first."""
    score_of = _side_scores(model, run, criterion=criterion, sides=member_sides(groups))
    return {group.name: _summed(group, score_of, is_additive=criterion.is_additive) for group in groups}


def _side_scores(model: DiffusionModel, run: Run, *, criterion: Criterion, sides: Sides) -> dict[str, Tensor]:
    if criterion.needs_gradient:
        return importance_of(model, run, criterion).scores(criterion.threshold)
    state = model.net.state_dict()
    return {
        f"{layer}:{side}": criterion.score(
            side_matrix(state, model.spec.layers[layer], layer, side), None, run.generator("score", layer, side)
        )
        for layer, side in sides
    }


def _summed(group: CoupledGroup, score_of: dict[str, Tensor], *, is_additive: bool) -> Tensor:
    total_C = torch.zeros(group.width)
    for member in group.members:
        score_C = score_of[f"{member.layer}:{member.side}"][member.offset : member.offset + group.width].cpu()
        total_C += score_C if is_additive else score_C / score_C.mean().clamp_min(1e-12)
    return total_C
