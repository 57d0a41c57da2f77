"""Random channels: the baseline that every criterion has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainers.compression.criteria.criterion import CRITERIA, Criterion

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@CRITERIA.register("random")
@dataclass(frozen=True, kw_only=True)
class Random(Criterion):
    """Uniform scores from the generator of the trial."""

    def score(self, weight_CK: Tensor, gradient_CK: Tensor | None, generator: torch.Generator) -> Tensor:
        import torch

        return torch.rand(len(weight_CK), generator=generator)
