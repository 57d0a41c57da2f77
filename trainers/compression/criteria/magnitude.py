"""Magnitude: a channel with small weights matters little (Li et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from trainers.compression.criteria.criterion import CRITERIA, Criterion

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@CRITERIA.register("magnitude")
@dataclass(frozen=True, kw_only=True)
class Magnitude(Criterion):
    """The norm of a channel's weights.

    Args:
        norm: ``l1``, the sum of absolute values, as in the paper; or ``l2``.
    """

    norm: Literal["l1", "l2"] = "l2"

    def score(self, weight_CK: Tensor, gradient_CK: Tensor | None, generator: torch.Generator) -> Tensor:
        return weight_CK.norm(p={"l1": 1, "l2": 2}[self.norm], dim=1)
