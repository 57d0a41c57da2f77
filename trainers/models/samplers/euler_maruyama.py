"""Euler-Maruyama steps through the reverse stochastic equation (Song et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from trainers.models.samplers.sampler import SAMPLERS, Sampler, steep

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from trainers.models.diffusion import Diffusion
    from trainers.models.samplers.sampler import Predict


@SAMPLERS.register("euler_maruyama")
@dataclass(frozen=True, kw_only=True)
class EulerMaruyama(Sampler):
    """Euler-Maruyama steps back in time through the stochastic equation; the last one adds no noise.

    The score network's own; it needs hundreds of steps.
    """

    def draw(
        self, predict: Predict, noise_BCHW: Tensor, *, diffusion: Diffusion, steps: int, generator: torch.Generator
    ) -> Tensor:
        from trainers.models.samplers._equations import Equations, noise_like, times

        equations = Equations(predict, diffusion)
        noisy_BCHW, passed = noise_BCHW * diffusion.noisiest, times(steps)
        for time, following in pairwise(passed):
            drift, variance = equations.rates(time)
            step = time - following
            mean_BCHW = noisy_BCHW - step * (drift * noisy_BCHW - variance * equations.score(noisy_BCHW, time))
            noisy_BCHW = mean_BCHW + (variance * step) ** 0.5 * noise_like(noise_BCHW, generator)
        return mean_BCHW

    def mistakes(self, diffusion: Diffusion) -> list[str]:
        return steep(diffusion)
