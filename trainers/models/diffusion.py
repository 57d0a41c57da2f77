"""The diffusion process: how images are noised and what a network predicts (Ho et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import ConfigDict, Field

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Diffusion:
    """q(x_t | x_0) = N(sqrt(abar_t) x_0, (1 - abar_t) I) over ``steps`` timesteps; the network predicts the noise.

    Args:
        steps: Timesteps T of the process that was trained; sampling may use fewer.
        schedule: ``linear``: beta rises linearly from ``beta_start`` to ``beta_end``.
        beta_start, beta_end: First and last variance of a step.
        prediction: What the network gives back; ``epsilon`` is the noise.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    steps: Annotated[int, Field(ge=1, le=100_000)] = 1000
    schedule: Literal["linear"] = "linear"
    beta_start: float = 1e-4
    beta_end: float = 0.02
    prediction: Literal["epsilon"] = "epsilon"

    def alpha_bar_T(self) -> Tensor:
        """abar_t = prod_{s <= t} (1 - beta_s) for t = 0 .. T - 1, float32 on the CPU."""
        return _alpha_bar_T(self)

    def noised(self, image_BCHW: Tensor, noise_BCHW: Tensor, timestep_B: Tensor) -> Tensor:
        """x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise (Eq. 4)."""
        alpha_bar_B111 = self.alpha_bar_T().to(image_BCHW.device)[timestep_B, None, None, None]
        return alpha_bar_B111.sqrt() * image_BCHW + (1 - alpha_bar_B111).sqrt() * noise_BCHW


@lru_cache(maxsize=16)
def _alpha_bar_T(diffusion: Diffusion) -> Tensor:
    import torch

    beta_T = torch.linspace(diffusion.beta_start, diffusion.beta_end, diffusion.steps, dtype=torch.float64)
    return (1 - beta_T).cumprod(dim=0).float()
