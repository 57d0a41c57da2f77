"""Ancestral sampling (Ho et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

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
        from trainers.models.samplers._schedulers import drawn

        timestep_S = diffusion.timesteps(steps)
        return drawn(self._scheduler(diffusion), predict, noise_BCHW, timestep_S, options={"generator": generator})

    def scheduler(self, diffusion: Diffusion, steps: int) -> Any | None:
        # By themselves those of diffusers add noise to the last image too, which only the small variance has none of.
        return self._scheduler(diffusion) if self.variance == "small" and diffusion.steps % steps == 0 else None

    def _scheduler(self, diffusion: Diffusion) -> Any:
        from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

        from trainers.models.samplers._schedulers import process

        return DDPMScheduler(
            **process(diffusion), variance_type=f"fixed_{self.variance}", clip_sample=diffusion.is_clipped
        )
