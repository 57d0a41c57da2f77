"""Scores of coupled groups: the sum over every layer side that would lose the channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from trainers.compression._gradients import kept_sums
from trainers.compression._importance import importance_of
from trainers.compression._mixing import mixed_gradients
from trainers.compression._sides import Place, member_places, norm_places, parts_of, side_matrix
from trainers.compression.channels import CoupledGroup
from trainers.compression.criteria.criterion import Criterion, GradientCriterion

if TYPE_CHECKING:
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run


def group_scores(
    model: DiffusionModel, run: Run, *, criterion: Criterion, groups: Sequence[CoupledGroup]
) -> dict[str, Tensor]:
    """Group name -> score of each of its channels; the lowest go first.

    Raises:
        FloatingPointError: when a score is NaN or infinite, which sorting would take for the highest.
    """
    score_of = _part_scores(model, run, criterion=criterion, groups=groups)
    scores = {}
    for group in groups:
        leading = norm_places(group, model.spec) if criterion.led_by_norm else []
        places = leading or member_places(group)
        scores[group.name] = _summed(places, score_of, width=group.width, is_additive=criterion.is_additive)
        if not torch.isfinite(scores[group.name]).all():
            raise FloatingPointError(f"the model's scores of {group.name} are not finite; it has diverged")
    return scores


def prepare(run: Run, criterion: Criterion) -> None:
    """Compute what ``criterion`` needs of the teacher at the first pruning; trials then find it in the cache."""
    if isinstance(criterion, GradientCriterion):
        importance_of(run.teacher, run, criterion.alone())
        if criterion.teacher_share(run):
            # For a stage that trains before it prunes: its student is no longer the teacher.
            kept_sums(run.teacher, run, criterion)


def _part_scores(
    model: DiffusionModel, run: Run, *, criterion: Criterion, groups: Sequence[CoupledGroup]
) -> dict[str, Tensor]:
    """``layer:part`` -> score of each channel."""
    gradients: Mapping[str, Tensor] | None = None
    if isinstance(criterion, GradientCriterion):
        # A student that is the teacher has no second gradient to mix.
        if not criterion.teacher_share(run) or model.fingerprint() == run.teacher.fingerprint():
            return importance_of(model, run, criterion.alone()).scores(criterion.threshold)
        gradients = mixed_gradients(model, run, criterion)
    weights, layers = model.net.state_dict(), model.spec.layers
    scores = {}
    for name, part in parts_of(groups, model.spec):
        weight_CK = side_matrix(weights, layers[name], name, part)
        gradient_CK = side_matrix(gradients, layers[name], name, part) if gradients is not None else None
        scores[f"{name}:{part}"] = criterion.score(weight_CK, gradient_CK, run.generator("score", name, part))
    return scores


def _summed(places: Sequence[Place], score_of: Mapping[str, Tensor], *, width: int, is_additive: bool) -> Tensor:
    total_C = torch.zeros(width)
    for layer, part, offset in places:
        score_C = score_of[f"{layer}:{part}"][offset : offset + width].cpu()
        total_C += score_C if is_additive else score_C / score_C.mean().clamp_min(1e-12)
    return total_C
