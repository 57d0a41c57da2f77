"""Denoising diffusion implicit models (Song et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from trainers.models.samplers.sampler import SAMPLERS, Sampler

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from trainers.models.diffusion import Diffusion
    from trainers.models.samplers.sampler import Predict


@SAMPLERS.register("ddim")
@dataclass(frozen=True, kw_only=True)
class Ddim(Sampler):
    """DDIM: deterministic with ``eta`` 0 (Song et al. 2021, Eq. 12).

    Args:
        eta: Share of the noise of a DDPM's step that is added again in each step; 1 is ancestral.
    """

    eta: Annotated[float, Field(ge=0, le=1)] = 0.0

    def draw(
        self, predict: Predict, noise_BCHW: Tensor, *, diffusion: Diffusion, steps: int, generator: torch.Generator
    ) -> Tensor:
        import torch

        from trainers.models.samplers._equations import noise_like

        noisy_BCHW = noise_BCHW
        # Not diffusers' steps: those go to timestep t - T // steps, which is not the next where steps do not divide T.
        for place, following in pairwise((*diffusion.timesteps(steps).tolist(), -1)):
            from_B, to_B = (torch.full((len(noise_BCHW),), at, device=noise_BCHW.device) for at in (place, following))
            added_B111 = self.eta * _ancestral_deviation(diffusion, from_B, to_B) if self.eta else 0.0
            noisy_BCHW = ddim_step(
                predict(noisy_BCHW, from_B), noisy_BCHW, from_B, to_B, diffusion=diffusion, added_B111=added_B111
            )
            if self.eta:
                noisy_BCHW = noisy_BCHW + added_B111 * noise_like(noise_BCHW, generator)
        return noisy_BCHW

    def scheduler(self, diffusion: Diffusion, steps: int) -> Any | None:
        return scheduler_of(diffusion) if diffusion.steps % steps == 0 else None


def ddim_step(
    prediction_BCHW: Tensor,
    noisy_BCHW: Tensor,
    timestep_B: Tensor,
    following_B: Tensor,
    *,
    diffusion: Diffusion,
    added_B111: Tensor | float = 0.0,
) -> Tensor:
    """x_s = alpha_s x_0 + sqrt(sigma_s^2 - added^2) epsilon (Song et al. 2021, Eq. 12, before noise is added).

    The image is clipped where the process says so, the noise in it is not.
    """
    image_BCHW = diffusion.image_of(prediction_BCHW, noisy_BCHW, timestep_B)
    noise_BCHW = diffusion.epsilon_of(prediction_BCHW, noisy_BCHW, timestep_B)
    if diffusion.is_clipped:
        image_BCHW = image_BCHW.clamp(-1, 1)
    alpha_B111, sigma_B111 = diffusion.alpha_sigma(following_B)
    return alpha_B111 * image_BCHW + (sigma_B111.square() - added_B111**2).clamp(min=0).sqrt() * noise_BCHW


def _ancestral_deviation(diffusion: Diffusion, from_B: Tensor, to_B: Tensor) -> Tensor:
    """Of the noise in a step of ancestral sampling (Song et al. 2021, Eq. 16 with eta 1)."""
    (alpha_from, sigma_from), (alpha_to, sigma_to) = (diffusion.alpha_sigma(timestep) for timestep in (from_B, to_B))
    return sigma_to / sigma_from * (1 - (alpha_from / alpha_to).square()).sqrt()


def scheduler_of(diffusion: Diffusion) -> Any:
    """Of diffusers, for this process; its steps are these where their number divides that of the timesteps."""
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    from trainers.models.samplers._schedulers import process

    return DDIMScheduler(**process(diffusion), clip_sample=diffusion.is_clipped)
