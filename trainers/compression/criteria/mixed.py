"""Mixed: Diff-Pruning's score with the student's gradient mixed with the teacher's."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from trainers.compression.criteria.criterion import CRITERIA, GradientCriterion, Turn
from trainers.compression.criteria.diff_pruning import DiffPruning

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@CRITERIA.register("mixed")
@dataclass(frozen=True, kw_only=True)
class Mixed(GradientCriterion):
    """sum_k abs(theta_ik * (gamma * sum_t grad_ik LT_t + (1 - gamma) * sum_t grad_ik LS_t)).

    LT is the loss of the teacher, LS that of the student, and each keeps the timesteps of its own that are above the
    threshold (thesis on progressive distillation with pruning, Eq. 4.2). Both are losses on the noise, where the thesis
    also tried the reweighted loss of its training. The student must descend from the teacher, through any prunings.

    As long as the student is the teacher, and where gamma is 0, this is ``diff_pruning``, and one pass over the
    timesteps serves every threshold. Later a threshold that keeps another number of timesteps takes passes of its own,
    and the cache holds one sum of the teacher's gradients, as large as the teacher, for each such number.

    Args:
        threshold: Keeps timesteps from 0 upwards while L_t / L_max is above it; 0 keeps all.
        gamma: Share of the teacher at the first ``prune`` stage. Left out, the thesis': 1 when linear, else 0.8.
        schedule: Over the recipe's ``prune`` stages, or the prunings of an iteration of ``progressive``, gamma stays
            ``fixed``; falls ``linear`` to 0 at the last; or is ``exponential``, gamma * exp(-decay * step) with step =
            0, 1 .. (Eq. A.1), where a step of ``progressive`` is a whole iteration.
        decay: Of the exponential schedule.
    """

    threshold: Annotated[float, Field(ge=0, lt=1)] = 0.05
    gamma: Annotated[float, Field(ge=0, le=1)] | None = None
    schedule: Literal["fixed", "linear", "exponential"] = "linear"
    decay: Annotated[float, Field(ge=0)] = 0.75

    def score(self, weight_CK: Tensor, gradient_CK: Tensor | None, generator: torch.Generator) -> Tensor:
        assert gradient_CK is not None
        return (weight_CK * gradient_CK).abs().sum(dim=1)

    def alone(self) -> DiffPruning:
        return DiffPruning(**{field.name: getattr(self, field.name) for field in fields(DiffPruning)})

    def teacher_share(self, turn: Turn) -> float:
        first = self.gamma if self.gamma is not None else 1.0 if self.schedule == "linear" else 0.8
        match self.schedule:
            case "fixed":
                return first
            case "linear":
                return first * (1 - turn.occurrence / max(1, turn.occurrences - 1))
            case "exponential":
                step = turn.occurrence if turn.iteration is None else turn.iteration
                return first * math.exp(-self.decay * step)
