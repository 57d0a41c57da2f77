"""Magnitude: a channel with small weights matters little (Li et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainers.compression.criteria.criterion import CRITERIA, Criterion

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@CRITERIA.register("magnitude")
@dataclass(frozen=True, kw_only=True)
class Magnitude(Criterion):
    """L2 norm of a channel's weights."""

    def score(self, weight_CK: Tensor, gradient_CK: Tensor | None, generator: torch.Generator) -> Tensor:
        return weight_CK.square().sum(dim=1).sqrt()
