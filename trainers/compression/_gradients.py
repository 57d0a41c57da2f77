"""Gradients of the denoising loss over a grid of timesteps, summed from t = 0 upwards.

Diff-Pruning (Fang et al. 2023), Algorithm 1. L_max is the largest loss of the whole grid, as in Eq. 10; the running
maximum of the algorithm is the same wherever the first timestep has the largest loss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from trainers.compression.criteria.criterion import GradientCriterion
    from trainers.models.arch_spec import ArchSpec
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run

_MOST_ACTIVATIONS = 2**27
"""Values of layers that may be kept for the backward pass (half a gigabyte), however many images are asked for."""


def timestep_grid(model: DiffusionModel, criterion: GradientCriterion) -> Tensor:
    """Timesteps at which gradients are taken, rising, evenly spaced over all of them."""
    steps = model.spec.diffusion.steps
    return torch.linspace(0, steps - 1, min(criterion.timesteps, steps)).round().long()


def kept_prefix(loss_G: Tensor, threshold: float) -> int:
    """How many timesteps stay: from 0 upwards while L_t / L_max > threshold, at least one."""
    is_above_G = loss_G / loss_G.max() > threshold
    return max(1, int(is_above_G.int().cumprod(dim=0).sum()))


def cache_key(model: DiffusionModel, run: Run, criterion: GradientCriterion) -> dict[str, Any]:
    """What the gradients depend on."""
    return {
        "model": model.fingerprint(),
        "data": run.images.hash,
        "timesteps": criterion.timesteps,
        "images": criterion.images,
    }


def computed_once(
    kind: str, key: Mapping[str, Any], run: Run, make: Callable[[], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """What is computed of the teacher, from the cache when it was before.

    Of a student it is made each time: no other trial has the same, and what each leaves would only fill the cache.

    Args:
        key: With its model's fingerprint, see ``cache_key``.
    """
    return run.cache.tensors(kind, key, make) if key["model"] == run.teacher.fingerprint() else make()


def running_sums(
    model: DiffusionModel, run: Run, criterion: GradientCriterion
) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """For each timestep of the grid its loss, and the sum of the gradients up to it by parameter.

    There is one such sum, which grows: read it before going on.

    Raises:
        FloatingPointError: when a loss is not finite.
    """
    net, batch = model.copy_of_net(), _batch(model, run, criterion)
    parameters = dict(net.named_parameters())
    for timestep in timestep_grid(model, criterion).tolist():
        loss = torch.zeros((), device=run.device)
        for part in _loss_parts(net, model.spec, batch, timestep):
            # Gradients add up in .grad, over images and timesteps alike.
            part.backward()
            loss += part.detach()
        yield _finite(loss, timestep), {name: _gradient(parameter) for name, parameter in parameters.items()}


def kept_sums(model: DiffusionModel, run: Run, criterion: GradientCriterion) -> dict[str, Tensor]:
    """The sum of the gradients over the timesteps that the criterion keeps, by parameter.

    Those of the teacher come from the cache when they were computed before, one file the size of the teacher per number
    of timesteps kept.
    """
    key = cache_key(model, run, criterion)
    loss_G = computed_once("losses", key, run, lambda: {"loss": _losses(model, run, criterion)})["loss"]
    kept = kept_prefix(loss_G, criterion.threshold)

    def summed() -> dict[str, Tensor]:
        return next(islice(running_sums(model, run, criterion), kept - 1, None))[1]

    return computed_once("gradients", {**key, "kept": kept}, run, summed)


@torch.no_grad()
def _losses(model: DiffusionModel, run: Run, criterion: GradientCriterion) -> Tensor:
    """The loss at each timestep of the grid, for a third of the time that the gradients take."""
    batch = _batch(model, run, criterion)
    losses = []
    for timestep in timestep_grid(model, criterion).tolist():
        loss = torch.zeros((), device=run.device)
        for part in _loss_parts(model.net, model.spec, batch, timestep):
            loss += part
        losses.append(_finite(loss, timestep))
    return torch.stack(losses)


@dataclass(frozen=True)
class _Batch:
    image_BCHW: Tensor
    noise_BCHW: Tensor
    label_B: Tensor | None


def _batch(model: DiffusionModel, run: Run, criterion: GradientCriterion) -> _Batch:
    # The seed is fixed: the gradients belong to the model, whichever trial asks first.
    generator = torch.Generator().manual_seed(0)
    image_BCHW, label_B = run.images.drawn(criterion.images, generator)
    return _Batch(
        image_BCHW=image_BCHW.to(run.device),
        noise_BCHW=torch.randn(image_BCHW.shape, generator=generator).to(run.device),
        label_B=label_B.to(run.device) if model.spec.network.classes else None,
    )


def _loss_parts(net: nn.Module, spec: ArchSpec, batch: _Batch, timestep: int) -> Iterator[Tensor]:
    """What each micro-batch adds to the mean loss over all images."""
    images, size = len(batch.image_BCHW), micro_batch(spec)
    for first in range(0, images, size):
        part = slice(first, first + size)
        image_MCHW, noise_MCHW = batch.image_BCHW[part], batch.noise_BCHW[part]
        label_M = batch.label_B[part] if batch.label_B is not None else None
        timestep_M = torch.full((len(image_MCHW),), timestep, device=image_MCHW.device)
        noisy_MCHW = spec.diffusion.noised(image_MCHW, noise_MCHW, timestep_M)
        # Of the noise, whatever the network predicts: only that loss is largest at the first timesteps, as the criteria
        # that stop at a share of the largest take it to be.
        predicted_MCHW = spec.network.call(net, noisy_MCHW, timestep_M, label_M)
        error = (spec.diffusion.epsilon_of(predicted_MCHW, noisy_MCHW, timestep_M) - noise_MCHW).square().mean()
        yield error * (len(image_MCHW) / images)


def micro_batch(spec: ArchSpec) -> int:
    """Images that are differentiated at once: all that fit, because few at a time take up to twice as long."""
    return max(1, _MOST_ACTIVATIONS // sum(layer.outputs * layer.positions for layer in spec.layers.values()))


def _finite(loss: Tensor, timestep: int) -> Tensor:
    if not torch.isfinite(loss):
        raise FloatingPointError(f"the model's loss at timestep {timestep} is not finite; it has diverged")
    return loss


def _gradient(parameter: nn.Parameter) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
