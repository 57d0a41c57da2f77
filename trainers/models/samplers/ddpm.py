"""Ancestral sampling (Ho et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from trainers.models.samplers.sampler import SAMPLERS, Sampler

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from trainers.models.diffusion import Diffusion
    from trainers.models.samplers.sampler import Predict


@SAMPLERS.register("ddpm")
@dataclass(frozen=True, kw_only=True)
class Ddpm(Sampler):
    """Ancestral sampling (Ho et al. 2020, Algorithm 2), also over fewer timesteps than were trained.

    Args:
        variance: Of a step: ``small``, that of q(x_{t-1} | x_t, x_0), or ``large``, beta_t (their section 3.2).
            The last step adds none.
    """

    variance: Literal["small", "large"] = "small"

    def draw(
        self, predict: Predict, noise_BCHW: Tensor, *, diffusion: Diffusion, steps: int, generator: torch.Generator
    ) -> Tensor:
        from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

        from trainers.models.samplers._schedulers import drawn, process

        scheduler = DDPMScheduler(
            **process(diffusion), variance_type=f"fixed_{self.variance}", clip_sample=diffusion.is_clipped
        )
        return drawn(scheduler, predict, noise_BCHW, diffusion.timesteps(steps), options={"generator": generator})
