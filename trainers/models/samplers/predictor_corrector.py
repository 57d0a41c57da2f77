"""Predictor-corrector sampling (Song et al. 2021, Algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from trainers.models.samplers.sampler import SAMPLERS, Sampler, steep

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from trainers.models.diffusion import Diffusion
    from trainers.models.samplers.sampler import Predict


@SAMPLERS.register("predictor_corrector")
@dataclass(frozen=True, kw_only=True)
class PredictorCorrector(Sampler):
    """Langevin steps at each noise level, then an Euler-Maruyama step to the next (Song et al. 2021, Algorithm 1).

    Args:
        snr: Ratio of signal to noise of a Langevin step; it sets the step's size, 2 (snr |z| / |score|)^2 with
            the mean norm of the batch.
        corrections: Langevin steps at each level; each is a forward pass more.
    """

    snr: Annotated[float, Field(gt=0)] = 0.16
    corrections: Annotated[int, Field(ge=1, le=1_000)] = 1

    def draw(
        self, predict: Predict, noise_BCHW: Tensor, *, diffusion: Diffusion, steps: int, generator: torch.Generator
    ) -> Tensor:
        from trainers.models.samplers._equations import Equations, noise_like, times

        equations = Equations(predict, diffusion)
        noisy_BCHW, passed = noise_BCHW * diffusion.noisiest, times(steps)
        noise_norm = noise_BCHW[0].numel() ** 0.5
        for time, following in pairwise(passed):
            for _ in range(self.corrections):
                score_BCHW = equations.score(noisy_BCHW, time)
                # An image's own norm in place of the batch's mean would bias the walk where there are few pixels.
                size = 2 * (self.snr * noise_norm / score_BCHW.flatten(1).norm(dim=1).mean()).square()
                noisy_BCHW = noisy_BCHW + size * score_BCHW
                noisy_BCHW = noisy_BCHW + (2 * size).sqrt() * noise_like(noise_BCHW, generator)
            drift, variance = equations.rates(time)
            step = time - following
            mean_BCHW = noisy_BCHW - step * (drift * noisy_BCHW - variance * equations.score(noisy_BCHW, time))
            noisy_BCHW = mean_BCHW + (variance * step) ** 0.5 * noise_like(noise_BCHW, generator)
        return mean_BCHW

    def evaluations(self, steps: int) -> float:
        return steps * (1 + self.corrections)

    def mistakes(self, diffusion: Diffusion) -> list[str]:
        return steep(diffusion)
