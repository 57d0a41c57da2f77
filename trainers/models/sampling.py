"""Drawing images from a model, by the sampler, steps and guidance that its spec names."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from trainers.data.pixels import to_uint8
from trainers.errors import UserError
from trainers.models.diffusion_model import DiffusionModel


@torch.no_grad()
def draw(
    model: DiffusionModel,
    noise_BCHW: Tensor,
    label_B: Tensor | None = None,
    *,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Images that the model makes of this noise in ``spec.sampling_steps`` steps, in [-1, 1] where they are clipped.

    Args:
        noise_BCHW: Standard normal.
        generator: On the CPU, for samplers that add noise on the way; one with seed 0 when left out.

    Raises:
        FloatingPointError: when the model answers NaN or infinity, which would pass for ordinary pixels later.
    """
    spec = model.spec
    image_BCHW = spec.sampler.draw(
        guided(model, label_B),
        noise_BCHW,
        diffusion=spec.diffusion,
        steps=spec.sampling_steps,
        generator=generator if generator is not None else torch.Generator().manual_seed(0),
    )
    if not torch.isfinite(image_BCHW).all():
        raise FloatingPointError("the model draws values that are not finite; it has diverged")
    return image_BCHW.clamp(-1, 1) if spec.diffusion.is_clipped else image_BCHW


def draw_uint8(
    model: DiffusionModel,
    *,
    count: int,
    seed: int,
    label: int | None = None,
    batch: int = 250,
    decode: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """``count`` images as uint8 on the CPU, from noise that depends on ``seed`` alone.

    Args:
        label: Class of all images, of a class-conditional model; its labels go round, 0, 1, 2 ..., when left out.
        decode: What makes uint8 images of what is drawn, for models of latents; pixels when left out.

    Raises:
        UserError: when there is no such count, seed or label.
    """
    spec, classes = model.spec, model.spec.network.classes
    if count < 1:
        raise UserError(f"the count of images must be at least 1, got {count}.")
    if not 0 <= seed < 2**63:
        raise UserError(f"the seed must be from 0 to 2**63 - 1, got {seed}.")
    if classes and label is not None and not 0 <= label < classes:
        raise UserError(f"the label must be from 0 to {classes - 1}, got {label}.")
    generator = torch.Generator().manual_seed(seed)
    noise_NCHW = torch.randn(count, spec.image_channels, spec.image_size, spec.image_size, generator=generator)
    label_N = None
    if classes:
        label_N = torch.arange(count) % classes if label is None else torch.full((count,), label)
    drawn = []
    for first in range(0, count, batch):
        label_B = None if label_N is None else label_N[first : first + batch].to(model.device)
        noise_BCHW = noise_NCHW[first : first + batch].to(model.device)
        image_BCHW = draw(model, noise_BCHW, label_B, generator=generator)
        drawn.append((decode or to_uint8)(image_BCHW).cpu())
    return torch.cat(drawn)


def guided(model: DiffusionModel, label_B: Tensor | None) -> Callable[[Tensor, Tensor], Tensor]:
    """What the network predicts, moved away from its prediction without labels (Ho and Salimans 2022).

    epsilon = epsilon(no label) + guidance * (epsilon(label) - epsilon(no label)); both in one batch.
    """
    guidance, unlabelled = model.spec.guidance, model.spec.network.unlabelled
    if label_B is None or guidance == 1 or unlabelled is None:
        return lambda noisy_BCHW, timestep_B: model.predict(noisy_BCHW, timestep_B, label_B)
    both_B = torch.cat((label_B, torch.full_like(label_B, unlabelled)))

    def predict(noisy_BCHW: Tensor, timestep_B: Tensor) -> Tensor:
        twice_BCHW = model.predict(noisy_BCHW.repeat(2, 1, 1, 1), timestep_B.repeat(2), both_B)
        labelled_BCHW, free_BCHW = twice_BCHW.chunk(2)
        return free_BCHW + guidance * (labelled_BCHW - free_BCHW)

    return predict
