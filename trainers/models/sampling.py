"""Drawing images: DDIM (Song et al. 2021, eta = 0) through diffusers' scheduler."""

from __future__ import annotations

import torch
from torch import Tensor

from trainers.models.diffusion import Diffusion
from trainers.models.diffusion_model import DiffusionModel


@torch.no_grad()
def draw(model: DiffusionModel, noise_BCHW: Tensor, label_B: Tensor | None = None) -> Tensor:
    """Images in [-1, 1] that the model makes of this noise in ``spec.sampling_steps`` steps; deterministic.

    Raises:
        FloatingPointError: when the model answers NaN or infinity, which would pass for ordinary pixels later.
    """
    scheduler = ddim_scheduler(model.spec.diffusion)
    scheduler.set_timesteps(model.spec.sampling_steps, device=noise_BCHW.device)
    image_BCHW = noise_BCHW
    for timestep in scheduler.timesteps:
        prediction_BCHW = model.predict(image_BCHW, timestep.expand(len(image_BCHW)), label_B)
        image_BCHW = scheduler.step(prediction_BCHW, timestep, image_BCHW, return_dict=False)[0]
    if not torch.isfinite(image_BCHW).all():
        raise FloatingPointError("the model draws values that are not finite; it has diverged")
    return image_BCHW.clamp(-1, 1)


def draw_uint8(model: DiffusionModel, *, count: int, seed: int, batch: int = 250) -> Tensor:
    """``count`` images as uint8 on the CPU, from noise that depends on ``seed`` alone.

    Labels of a class-conditional model go round: 0, 1, 2 ...
    """
    generator = torch.Generator().manual_seed(seed)
    spec = model.spec
    noise_NCHW = torch.randn(count, spec.image_channels, spec.image_size, spec.image_size, generator=generator)
    label_N = torch.arange(count) % spec.network.classes if spec.network.classes else None
    drawn = []
    for first in range(0, count, batch):
        label_B = None if label_N is None else label_N[first : first + batch].to(model.device)
        drawn.append(to_uint8(draw(model, noise_NCHW[first : first + batch].to(model.device), label_B)).cpu())
    return torch.cat(drawn)


def to_uint8(image_BCHW: Tensor) -> Tensor:
    """Images in [-1, 1] as 0..255."""
    return ((image_BCHW + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def from_uint8(image_BCHW: Tensor) -> Tensor:
    """Images in 0..255 as float32 in [-1, 1]."""
    return image_BCHW.float() / 127.5 - 1


def ddim_scheduler(diffusion: Diffusion):  # type: ignore[no-untyped-def]  # diffusers has no types
    """Of diffusers, for this process."""
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    return DDIMScheduler(
        num_train_timesteps=diffusion.steps,
        beta_start=diffusion.beta_start,
        beta_end=diffusion.beta_end,
        beta_schedule=diffusion.schedule,
        prediction_type=diffusion.prediction,
        clip_sample=True,
        # Few steps must still begin at pure noise (Lin et al. 2024).
        timestep_spacing="trailing",
    )
