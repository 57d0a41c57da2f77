"""Taylor: first-order change of the loss when a channel is removed (Molchanov et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from trainers.compression.criteria.criterion import CRITERIA, Criterion

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@CRITERIA.register("taylor")
@dataclass(frozen=True, kw_only=True)
class Taylor(Criterion):
    """abs(sum_k theta_ik * grad_ik): opposite effects inside a channel cancel.

    Args:
        threshold: Keeps timesteps with L_t / L_max above it; 0 keeps all, which is plain Taylor.
    """

    needs_gradient = True
    is_additive = True
    threshold: Annotated[float, Field(ge=0, lt=1)] = 0.0

    def score(self, weight_CK: Tensor, gradient_CK: Tensor | None, generator: torch.Generator) -> Tensor:
        assert gradient_CK is not None
        return (weight_CK * gradient_CK).sum(dim=1).abs()
