"""The Criterion contract: which channels a network can lose; the lowest scores go first."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from trainers.registry import Registry

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Criterion(ABC):
    """Scores the channels of one weight. The fields of a subclass are its options in YAML.

    A coupled group (channels that must go together, in every layer they touch) has the sum of its members' scores.
    """

    #: True when ``score`` reads the gradient, summed over the timesteps kept.
    needs_gradient: ClassVar[bool] = False
    #: True when scores of different layers are in one unit (a change of the loss) and can be added as they are;
    #: otherwise each layer's scores are divided by their mean first, so that no layer outvotes the others.
    is_additive: ClassVar[bool] = False
    #: Timesteps t with L_t / L_max above this are kept, from t = 0 upwards; 0 keeps all.
    threshold: float = 0.0

    @abstractmethod
    def score(self, weight_CK: Tensor, gradient_CK: Tensor | None, generator: torch.Generator) -> Tensor:
        """One score per channel, shape (C,), from its K weights and their gradients."""


CRITERIA: Registry[Criterion] = Registry("pruning criterion", folders=("trainers.compression.criteria",))
