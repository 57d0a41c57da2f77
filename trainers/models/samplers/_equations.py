"""The reverse equations of a diffusion process in continuous time (Song et al. 2021).

With f(t) = d ln(alpha_t) / dt and g(t)^2 = d(sigma_t^2) / dt - 2 f(t) sigma_t^2, images are noised by
dx = f(t) x dt + g(t) dw, and drawn by going back through

    dx = [f(t) x - g(t)^2 score] dt + g(t) dw             (their Eq. 6, stochastic)
    dx = [f(t) x - g(t)^2 score / 2] dt                   (their Eq. 13, the probability flow)

where score = -epsilon / sigma_t.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from trainers.models.diffusion import Diffusion
    from trainers.models.samplers.sampler import Predict

#: The score is not defined at t = 0; Song et al. (2021) stop here.
EARLIEST = 1e-3


@dataclass(frozen=True)
class Equations:
    """The equations of one network.

    Args:
        predict: What the network predicts.
        diffusion: Its process.
    """

    predict: Predict
    diffusion: Diffusion

    def score(self, noisy_BCHW: Tensor, time: float) -> Tensor:
        """Gradient of the log density of noisy images at a time in (0, 1]."""
        timestep_B = noisy_BCHW.new_full((len(noisy_BCHW),), time * self.diffusion.steps - 1)
        prediction_BCHW = self.predict(noisy_BCHW, timestep_B)
        _, sigma_B111 = self.diffusion.alpha_sigma(timestep_B)
        return -self.diffusion.epsilon_of(prediction_BCHW, noisy_BCHW, timestep_B) / sigma_B111

    def rates(self, time: float) -> tuple[float, float]:
        """f(t) and g(t)^2."""
        if not self.diffusion.preserves_variance:
            return 0.0, self.diffusion.noise_scale ** (2 * time)
        if self.diffusion.schedule == "cosine":
            slope = math.pi * math.tan(min(time, 0.9999) * math.pi / 2)
            return -slope / 2, slope
        # Of whole timesteps only abar is known; between them its log is straight.
        step = 0.5 / self.diffusion.steps
        later, earlier = min(1.0, time + step), max(0.0, time - step)
        at_B = torch.tensor([later, earlier], dtype=torch.float64) * self.diffusion.steps - 1
        alpha_B111, _ = self.diffusion.alpha_sigma(at_B)
        log_later, log_earlier = alpha_B111.flatten().double().log().tolist()
        drift = (log_later - log_earlier) / (later - earlier)
        return drift, -2 * drift


def times(steps: int) -> list[float]:
    """``steps`` + 1 times from 1 down to the earliest, evenly spaced."""
    return [1 - place * (1 - EARLIEST) / steps for place in range(steps + 1)]


def noise_like(image_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal noise from a generator on the CPU."""
    return torch.randn(image_BCHW.shape, generator=generator).to(image_BCHW.device)


def denoised(equations: Equations, noisy_BCHW: Tensor) -> Tensor:
    """Tweedie's estimate of the image at the earliest time: without it, the last bit of noise stays in."""
    time_B = torch.full((1,), EARLIEST * equations.diffusion.steps - 1)
    alpha_B111, sigma_B111 = (value.to(noisy_BCHW.device) for value in equations.diffusion.alpha_sigma(time_B))
    return (noisy_BCHW + sigma_B111.square() * equations.score(noisy_BCHW, EARLIEST)) / alpha_B111
