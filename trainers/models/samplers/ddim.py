"""Denoising diffusion implicit models (Song et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass
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
        from trainers.models.samplers._schedulers import drawn

        options = {"eta": self.eta, "generator": generator} if self.eta else None
        return drawn(scheduler_of(diffusion), predict, noise_BCHW, steps=steps, options=options)


def scheduler_of(diffusion: Diffusion) -> Any:
    """Of diffusers, for this process."""
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    from trainers.models.samplers._schedulers import process

    return DDIMScheduler(**process(diffusion), clip_sample=diffusion.is_clipped)
