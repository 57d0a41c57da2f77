"""Taylor: first-order change of the loss when a channel is removed (Molchanov et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainers.compression.criteria.criterion import CRITERIA, GradientCriterion

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@CRITERIA.register("taylor")
@dataclass(frozen=True, kw_only=True)
class Taylor(GradientCriterion):
    """abs(sum_k theta_ik * grad_ik): opposite effects inside a channel cancel. Threshold 0 is plain Taylor."""

    def score(self, weight_CK: Tensor, gradient_CK: Tensor | None, generator: torch.Generator) -> Tensor:
        assert gradient_CK is not None
        return (weight_CK * gradient_CK).sum(dim=1).abs()
