"""Diff-Pruning: Taylor importance over the timesteps that still teach something (Fang et al. 2023, Eq. 10)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from trainers.compression.criteria.criterion import CRITERIA, GradientCriterion

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@CRITERIA.register("diff_pruning")
@dataclass(frozen=True, kw_only=True)
class DiffPruning(GradientCriterion):
    """sum_k abs(theta_ik * sum over kept t of grad_ik L_t): the absolute value is inside the sum over k.

    Args:
        threshold: Keeps timesteps from 0 upwards while L_t / L_max is above it; 0 keeps all.
    """

    threshold: Annotated[float, Field(ge=0, lt=1)] = 0.05

    def score(self, weight_CK: Tensor, gradient_CK: Tensor | None, generator: torch.Generator) -> Tensor:
        assert gradient_CK is not None
        return (weight_CK * gradient_CK).abs().sum(dim=1)
