"""Scores of the gradient criteria for every threshold, from one pass over the timesteps.

After each timestep every criterion reduces the gradients summed so far to one score per channel. A threshold on
L_t / L_max then only picks a row, and memory holds one sum of gradients however many timesteps there are.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from trainers.compression._gradients import cache_key, computed_once, kept_prefix, running_sums, timestep_grid
from trainers.compression._sides import parts_of, side_matrix
from trainers.compression.channels import coupled_groups
from trainers.compression.criteria.criterion import CRITERIA, Criterion, GradientCriterion

if TYPE_CHECKING:
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run


@dataclass(frozen=True)
class Importance:
    """Scores for every prefix of the timestep grid.

    Args:
        timestep_G: The grid, rising.
        loss_G: Mean denoising error at each.
        score_GC: For each part of a layer, ``layer:in``, ``layer:out`` or ``layer:scale``, scores after keeping the
            first 1 .. G timesteps.
    """

    timestep_G: Tensor
    loss_G: Tensor
    score_GC: dict[str, Tensor]

    def kept(self, threshold: float) -> int:
        """How many timesteps stay: from 0 upwards while L_t / L_max > threshold, at least one."""
        return kept_prefix(self.loss_G, threshold)

    def scores(self, threshold: float) -> dict[str, Tensor]:
        """Scores of each part with the timesteps that this threshold keeps."""
        row = self.kept(threshold) - 1
        return {part: score_GC[row] for part, score_GC in self.score_GC.items()}


def importance_of(model: DiffusionModel, run: Run, criterion: GradientCriterion) -> Importance:
    """The importance of all channels of ``model``; of the teacher, from the cache when it was computed before.

    One pass serves every registered criterion that scores the teacher's own gradients: the others find it there.
    """
    together = _scored_together(criterion)
    key = {**cache_key(model, run, criterion), "criteria": sorted(together)}
    tensors = computed_once("importance", key, run, lambda: _computed(model, run, criterion, together))
    mine = f"score:{_label(criterion)}:"
    scores = {name.removeprefix(mine): tensor for name, tensor in tensors.items() if name.startswith(mine)}
    return Importance(tensors["timestep"], tensors["loss"], scores)


def _computed(
    model: DiffusionModel, run: Run, asked: GradientCriterion, together: dict[str, GradientCriterion]
) -> dict[str, Tensor]:
    weights, layers = model.net.state_dict(), model.spec.layers
    parts = parts_of(coupled_groups(model.spec), model.spec)
    # One generator each, with a fixed seed: no trial and no other criterion has a say in the scores.
    generators = {label: torch.Generator().manual_seed(0) for label in together}
    losses: list[Tensor] = []
    rows: dict[str, list[Tensor]] = {}
    for loss, gradients in running_sums(model, run, asked):
        losses.append(loss)
        for name, part in parts:
            weight_CK, gradient_CK = (side_matrix(held, layers[name], name, part) for held in (weights, gradients))
            for label, criterion in together.items():
                score_C = criterion.score(weight_CK, gradient_CK, generators[label])
                rows.setdefault(f"score:{label}:{name}:{part}", []).append(score_C)
    stacked = {place: torch.stack(scores) for place, scores in rows.items()}
    return {"timestep": timestep_grid(model, asked), "loss": torch.stack(losses), **stacked}


def _scored_together(asked: GradientCriterion) -> dict[str, GradientCriterion]:
    """The criterion that was asked for and every other at its defaults, by label; without those that mix gradients."""
    pieces = [piece for _, piece in CRITERIA if issubclass(piece, GradientCriterion) and _has_defaults(piece)]
    others = [piece() for piece in pieces if piece.teacher_share is GradientCriterion.teacher_share]
    return {_label(criterion): criterion for criterion in (*others, asked)}


def _label(criterion: GradientCriterion) -> str:
    """The criterion without the options that say which gradients are summed and which members count.

    These do not change how a gradient becomes a score.
    """
    common: dict[str, Any] = {field.name: field.default for field in fields(GradientCriterion)}
    written = CRITERIA.written(replace(criterion, **common))
    return written if isinstance(written, str) else json.dumps(written, sort_keys=True)


def _has_defaults(piece: type[Criterion]) -> bool:
    missing = dataclasses.MISSING
    return all(field.default is not missing or field.default_factory is not missing for field in fields(piece))
