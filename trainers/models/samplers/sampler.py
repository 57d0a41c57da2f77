"""The Sampler contract: from noise to images in a number of steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainers.registry import Registry

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from trainers.models.diffusion import Diffusion

    #: What the network predicts for noisy images at their timesteps.
    Predict = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Sampler(ABC):
    """A way of drawing. The fields of a subclass are its options in YAML, and any of them can be a knob."""

    @abstractmethod
    def draw(
        self,
        predict: Predict,
        noise_BCHW: Tensor,
        *,
        diffusion: Diffusion,
        steps: int,
        generator: torch.Generator,
    ) -> Tensor:
        """Images of the same shape as the noise, which is standard normal; not clipped at the end.

        Args:
            predict: Of noisy images and their timesteps (B,), whole or not.
            generator: On the CPU; for what noise is needed besides.
        """

    def evaluations(self, steps: int) -> float:
        """Forward passes of the network for one generation, or about how many."""
        return steps

    def scheduler(self, diffusion: Diffusion, steps: int) -> Any | None:
        """Of diffusers, which draws the same when it is told no more than the number of steps; None where none does."""
        return None

    def mistakes(self, diffusion: Diffusion) -> list[str]:
        """Why it cannot draw from this process; empty when it can."""
        if diffusion.preserves_variance:
            return []
        return [
            f"does not draw from the schedule {diffusion.schedule!r}. "
            "Use euler_maruyama, predictor_corrector or ode, or the schedule linear or cosine."
        ]


def steep(diffusion: Diffusion) -> list[str]:
    """Why steps of equal length cannot follow the reverse stochastic equation; empty when they can."""
    if diffusion.schedule != "cosine":
        return []
    return ["the noise of the schedule 'cosine' rises without bound towards t = 1. Use ddim, ddpm, dpm_solver or ode."]


SAMPLERS: Registry[Sampler] = Registry("sampler", folders=("trainers.models.samplers",))
