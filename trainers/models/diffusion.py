"""The diffusion process: how images are noised and what a network predicts (Ho et al. 2020, Salimans and Ho 2022)."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Field

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Weighting = Literal["plain", "truncated_snr", "snr_plus_one"]

#: The cosine schedule has no signal left at t = 1, where predicted noise would say nothing about the image.
_LATEST = 0.9999


@dataclass(frozen=True, kw_only=True)
class Diffusion:
    """q(x_t | x_0) = N(alpha_t x_0, sigma_t^2 I); the network predicts noise, image or velocity.

    Timestep k = 0 .. T - 1 is the time t = (k + 1) / T of the process; at t = 0, timestep -1, there is no noise. A
    timestep need not be whole: between whole ones the log of alpha_t^2 is interpolated where it has no closed form.

    Args:
        steps: Timesteps T of the process that was trained; sampling may use fewer.
        schedule: ``linear``: the variance of a step rises linearly from ``beta_start`` to ``beta_end``;
            ``scaled_linear``: its root does, as in latent diffusion (Rombach et al. 2022);
            ``cosine``: alpha_t = cos(pi t / 2); ``ve``: alpha_t = 1 and sigma_t^2 = (s^(2t) - 1) / (2 ln s), the
            variance-exploding process of the score network (Song et al. 2021).
        beta_start, beta_end: Of the linear schedule.
        noise_scale: s of the variance-exploding one.
        prediction: What the network gives back: ``epsilon``, the noise; ``x``, the image; or ``v``, the velocity
            alpha_t epsilon - sigma_t x_0, which keeps its meaning at few steps.
        time: Timesteps of training are whole (``discrete``) or any in (-1, T - 1] (``continuous``).
        is_clipped: Predicted images are clipped to [-1, 1] while drawing; not for latents.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    steps: Annotated[int, Field(ge=1, le=100_000)] = 1000
    schedule: Literal["linear", "scaled_linear", "cosine", "ve"] = "linear"
    beta_start: Annotated[float, Field(gt=0, lt=1)] = 1e-4
    beta_end: Annotated[float, Field(gt=0, lt=1)] = 0.02
    noise_scale: Annotated[float, Field(gt=1, le=1e6)] = 25.0
    prediction: Literal["epsilon", "x", "v"] = "epsilon"
    time: Literal["discrete", "continuous"] = "discrete"
    is_clipped: bool = True

    def __post_init__(self) -> None:
        if self.schedule == "ve" and self.prediction == "v":
            raise ValueError("prediction v needs alpha^2 + sigma^2 = 1, which schedule ve has not. Use epsilon or x.")

    @property
    def preserves_variance(self) -> bool:
        """Whether alpha_t^2 + sigma_t^2 = 1, which the samplers of DDPMs rely on."""
        return self.schedule != "ve"

    @property
    def noisiest(self) -> float:
        """sigma_1, the standard deviation of the noise that drawing begins with."""
        return 1.0 if self.preserves_variance else _exploding_sigma(self.noise_scale, 1.0)

    def alpha_bar_T(self) -> Tensor:
        """alpha_t^2 for the timesteps 0 .. T - 1, float32 on the CPU; abar_t of Ho et al. (2020)."""
        return _log_alpha_bar(self)[1:].exp().float()

    def alpha_sigma(self, timestep_B: Tensor) -> tuple[Tensor, Tensor]:
        """alpha_t and sigma_t of timesteps in [-1, T - 1], each (B, 1, 1, 1) in float32."""
        if timestep_B.is_floating_point():
            return self._levels(timestep_B)
        # Drawing asks for a whole timestep several times a step, where small networks take little longer themselves.
        alpha_T111, sigma_T111 = _whole_levels(self, timestep_B.device)
        return alpha_T111[timestep_B + 1], sigma_T111[timestep_B + 1]

    def _levels(self, timestep_B: Tensor) -> tuple[Tensor, Tensor]:
        import torch

        time_B = (timestep_B.double() + 1) / self.steps
        match self.schedule:
            case "linear" | "scaled_linear":
                log_B = _interpolated(_log_alpha_bar(self).to(timestep_B.device), timestep_B.double() + 1)
                alpha_B, sigma_B = (log_B / 2).exp(), (-torch.expm1(log_B)).sqrt()
            case "cosine":
                angle_B = time_B.clamp(max=_LATEST) * (math.pi / 2)
                alpha_B, sigma_B = angle_B.cos(), angle_B.sin()
            case "ve":
                log_scale = math.log(self.noise_scale)
                alpha_B = torch.ones_like(time_B)
                sigma_B = (torch.expm1(2 * log_scale * time_B) / (2 * log_scale)).sqrt()
        return alpha_B.float()[:, None, None, None], sigma_B.float()[:, None, None, None]

    def noised(self, image_BCHW: Tensor, noise_BCHW: Tensor, timestep_B: Tensor) -> Tensor:
        """x_t = alpha_t x_0 + sigma_t noise (Ho et al. 2020, Eq. 4)."""
        alpha_B111, sigma_B111 = self.alpha_sigma(timestep_B)
        return alpha_B111 * image_BCHW + sigma_B111 * noise_BCHW

    def target(self, image_BCHW: Tensor, noise_BCHW: Tensor, timestep_B: Tensor) -> Tensor:
        """What the network should predict for ``noised`` of the same arguments."""
        match self.prediction:
            case "epsilon":
                return noise_BCHW
            case "x":
                return image_BCHW
        alpha_B111, sigma_B111 = self.alpha_sigma(timestep_B)
        return alpha_B111 * noise_BCHW - sigma_B111 * image_BCHW

    def image_of(self, prediction_BCHW: Tensor, noisy_BCHW: Tensor, timestep_B: Tensor) -> Tensor:
        """x_0 as the prediction implies it; not clipped."""
        if self.prediction == "x":
            return prediction_BCHW
        alpha_B111, sigma_B111 = self.alpha_sigma(timestep_B)
        if self.prediction == "v":
            return alpha_B111 * noisy_BCHW - sigma_B111 * prediction_BCHW
        return (noisy_BCHW - sigma_B111 * prediction_BCHW) / alpha_B111

    def epsilon_of(self, prediction_BCHW: Tensor, noisy_BCHW: Tensor, timestep_B: Tensor) -> Tensor:
        """The noise as the prediction implies it; timesteps must be above -1, where there is none to tell."""
        if self.prediction == "epsilon":
            return prediction_BCHW
        alpha_B111, sigma_B111 = self.alpha_sigma(timestep_B)
        if self.prediction == "v":
            return sigma_B111 * noisy_BCHW + alpha_B111 * prediction_BCHW
        return (noisy_BCHW - alpha_B111 * prediction_BCHW) / sigma_B111

    def prediction_of(self, image_BCHW: Tensor, noisy_BCHW: Tensor, timestep_B: Tensor) -> Tensor:
        """What the network has to predict for its x_0 to be this image."""
        if self.prediction == "x":
            return image_BCHW
        alpha_B111, sigma_B111 = self.alpha_sigma(timestep_B)
        noise_BCHW = (noisy_BCHW - alpha_B111 * image_BCHW) / sigma_B111
        return self.target(image_BCHW, noise_BCHW, timestep_B)

    def error_weight(self, weighting: Weighting, timestep_B: Tensor) -> Tensor:
        """What the squared error of the prediction is multiplied with, (B, 1, 1, 1).

        ``plain`` is 1 (Ho et al. 2020, Eq. 14). The others weight the squared error of x_0 (Salimans and Ho 2022,
        section 4): ``truncated_snr`` with max(alpha^2 / sigma^2, 1), ``snr_plus_one`` with 1 + alpha^2 / sigma^2.
        """
        import torch

        alpha_B111, sigma_B111 = self.alpha_sigma(timestep_B)
        if weighting == "plain":
            return torch.ones_like(alpha_B111)
        ratio_B111 = (alpha_B111 / sigma_B111).square()
        image_B111 = ratio_B111.clamp(min=1) if weighting == "truncated_snr" else 1 + ratio_B111
        match self.prediction:
            case "epsilon":
                return image_B111 / ratio_B111
            case "x":
                return image_B111
        return image_B111 * sigma_B111.square()

    def timesteps(self, count: int) -> Tensor:
        """The ``count`` timesteps of drawing, falling from T - 1, evenly spaced and whole; then comes -1, the image.

        Drawing must begin at pure noise also with few steps ("trailing", Lin et al. 2024). Those of half the count are
        every second of these.
        """
        import torch

        place = torch.arange(count, dtype=torch.float64)
        return (self.steps - place * self.steps / count).round().long() - 1

    def shortened(self, steps: int) -> Diffusion:
        """The same process in another number of timesteps: at equal times t the noise is equal, or nearly (linear)."""
        from dataclasses import replace

        if self.schedule in ("cosine", "ve"):
            return replace(self, steps=steps)
        scale = self.steps / steps
        start, end = (min(0.999, scale * beta) for beta in (self.beta_start, self.beta_end))
        return replace(self, steps=steps, beta_start=start, beta_end=end)

    def written(self) -> dict[str, Any]:
        """The options that differ from their defaults, as JSON or YAML data."""
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name)) != field.default}


@lru_cache(maxsize=64)
def _whole_levels(diffusion: Diffusion, device: torch.device) -> tuple[Tensor, Tensor]:
    """alpha and sigma at the timesteps -1 .. T - 1, each (T + 1, 1, 1, 1)."""
    import torch

    return diffusion._levels(torch.arange(-1, diffusion.steps, device=device))


def _exploding_sigma(scale: float, time: float) -> float:
    return math.sqrt(math.expm1(2 * math.log(scale) * time) / (2 * math.log(scale)))


@lru_cache(maxsize=64)
def _log_alpha_bar(diffusion: Diffusion) -> Tensor:
    """log(alpha_t^2) for the timesteps -1 .. T - 1, float64."""
    import torch

    if diffusion.schedule in ("linear", "scaled_linear"):
        power = 1 if diffusion.schedule == "linear" else 2
        start, end = (beta ** (1 / power) for beta in (diffusion.beta_start, diffusion.beta_end))
        beta_T = torch.linspace(start, end, diffusion.steps, dtype=torch.float64) ** power
        log_T = (1 - beta_T).log().cumsum(dim=0)
        return torch.cat((torch.zeros(1, dtype=torch.float64), log_T))
    time_T = torch.arange(diffusion.steps + 1, dtype=torch.float64) / diffusion.steps
    if diffusion.schedule == "ve":
        return torch.zeros_like(time_T)
    return 2 * (time_T.clamp(max=_LATEST) * (math.pi / 2)).cos().log()


def _interpolated(value_T: Tensor, place_B: Tensor) -> Tensor:
    """Values at whole or fractional places."""
    before_B = place_B.floor().clamp(max=len(value_T) - 2)
    share_B = place_B - before_B
    index_B = before_B.long()
    return value_T[index_B] * (1 - share_B) + value_T[index_B + 1] * share_B
