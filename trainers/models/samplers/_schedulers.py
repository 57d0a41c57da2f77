"""Drawing through the schedulers of diffusers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from trainers.models.diffusion import Diffusion
    from trainers.models.samplers.sampler import Predict

_THEIR_NAME = {"epsilon": "epsilon", "x": "sample", "v": "v_prediction"}


def drawn(
    scheduler: Any, predict: Predict, noise_BCHW: Tensor, timestep_S: Tensor, *, options: dict[str, Any] | None = None
) -> Tensor:
    """Images after the steps S of a scheduler of diffusers; ``options`` are of its ``step``."""
    # Its own spacing of some numbers of steps (61 of 1000) has one more, which comes after the image.
    scheduler.set_timesteps(timesteps=timestep_S.tolist(), device=noise_BCHW.device)
    image_BCHW = noise_BCHW
    for timestep in scheduler.timesteps:
        prediction_BCHW = predict(image_BCHW, timestep.expand(len(image_BCHW)))
        image_BCHW, *estimated = scheduler.step(
            prediction_BCHW, timestep, image_BCHW, return_dict=False, **(options or {})
        )
    # That of DDPM adds noise to the last image too; the image it estimates there is the mean, without noise.
    return estimated[0] if estimated else image_BCHW


def process(diffusion: Diffusion) -> dict[str, Any]:
    """The options of a scheduler that describe the process."""
    written: dict[str, Any] = {
        "num_train_timesteps": diffusion.steps,
        "prediction_type": _THEIR_NAME[diffusion.prediction],
        # Few steps must still begin at pure noise (Lin et al. 2024).
        "timestep_spacing": "trailing",
    }
    if diffusion.schedule in ("linear", "scaled_linear"):
        return written | {
            "beta_start": diffusion.beta_start,
            "beta_end": diffusion.beta_end,
            "beta_schedule": diffusion.schedule,
        }
    alpha_bar_T = diffusion.alpha_bar_T().double()
    before_T = torch.cat((torch.ones(1, dtype=torch.float64), alpha_bar_T[:-1]))
    return written | {"trained_betas": (1 - alpha_bar_T / before_T).tolist()}
