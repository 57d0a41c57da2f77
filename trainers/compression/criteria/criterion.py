"""The Criterion contract: which channels a network can lose; the lowest scores go first."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Protocol

from pydantic import Field

from trainers.bounds import Steps
from trainers.registry import Registry

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Criterion(ABC):
    """Scores the channels of one weight. The fields of a subclass are its options in YAML.

    A coupled group (channels that must go together, in every layer they touch) has the sum of its members' scores.

    Args:
        led_by_norm: A group with norms is scored by their weights gamma alone, several norms added up, and not by the
            layers around them (after network slimming, Liu et al. 2017); a group without a norm as ever. The thesis
            that prunes during distillation does so for the first convolutions and the time embeddings of residual
            blocks only; here the widths between blocks follow their norms as well.
    """

    #: True for criteria that read the gradient of the loss.
    needs_gradient: ClassVar[bool] = False
    #: True when scores of different layers are in one unit (a change of the loss) and can be added as they are;
    #: otherwise each layer's scores are divided by their mean first, so that no layer outvotes the others.
    is_additive: ClassVar[bool] = False

    led_by_norm: bool = False

    def preparation(self) -> Hashable:
        """Criteria with equal values need the same of the teacher."""
        return type(self)

    @abstractmethod
    def score(self, weight_CK: Tensor, gradient_CK: Tensor | None, generator: torch.Generator) -> Tensor:
        """One score per channel, shape (C,), from its K weights and their gradients."""


class Turn(Protocol):
    """Which of the prunings this is, as a ``Run`` and a ``Place`` say it."""

    @property
    def occurrence(self) -> int: ...

    @property
    def occurrences(self) -> int: ...

    @property
    def iteration(self) -> int | None: ...


@dataclass(frozen=True, kw_only=True)
class GradientCriterion(Criterion):
    """Scores from the loss gradients of several timesteps, summed (Diff-Pruning, Fang et al. 2023, Algorithm 1).

    ``score`` depends on weights, the summed gradient and options that a subclass adds, never on those below: one pass
    over the timesteps then serves every criterion and every threshold, where there is one gradient (see ``alone``).

    Args:
        threshold: Keeps timesteps from 0 upwards while L_t / L_max is above it; 0 keeps all.
        timesteps: Size of the grid of timesteps, evenly spaced from the first to the last.
        images: Training images behind each gradient.
    """

    needs_gradient = True
    is_additive = True

    threshold: Annotated[float, Field(ge=0, lt=1)] = 0.0
    timesteps: Steps = 50
    images: Annotated[int, Field(ge=1, le=10_000_000)] = 64

    def preparation(self) -> Hashable:
        return type(self), self.timesteps, self.images

    def teacher_share(self, turn: Turn) -> float:
        """The share of the teacher's gradient in the gradient that is scored; the rest is the model's own."""
        return 0.0

    def alone(self) -> GradientCriterion:
        """What this criterion is where there is one gradient only, the model's own."""
        return self


CRITERIA: Registry[Criterion] = Registry("pruning criterion", folders=("trainers.compression.criteria",))
