"""Generating one batch, to be timed or weighed."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from objectives._timing import alone, median_stderr, repeated_seconds
from objectives.objective import Measurement
from trainers.models.sampling import draw
from trainers.provenance import device_name

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.cache import Cache
    from trainers.models.diffusion_model import DiffusionModel


def generation(model: DiffusionModel, *, batch: int) -> Callable[[], Tensor]:
    """A call that generates a batch, all sampling steps, where the model is."""
    spec = model.spec
    shape = (batch, spec.image_channels, spec.image_size, spec.image_size)
    noise_BCHW = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(model.device)
    classes = spec.network.classes
    label_B = (torch.arange(batch, device=model.device) % classes) if classes else None
    return lambda: draw(model, noise_BCHW, label_B)


def timed_generation(
    model: DiffusionModel, *, device: torch.device, cache: Cache, batch: int, seconds: float, repeats: int
) -> Measurement:
    """Median milliseconds of a batch on this device, with no other measurement beside it.

    Repeated for about so many seconds, 5 times at least and ``repeats`` times at most.
    """
    generate = generation(model.to(device), batch=batch)
    with alone(cache.folder):
        repeated_seconds(generate, device=device, least=2, most=2, within=0)  # warm-up
        taken = repeated_seconds(generate, device=device, least=5, most=repeats, within=seconds)
    return Measurement(
        value=1000 * statistics.median(taken),
        stderr=1000 * median_stderr(taken),
        samples=len(taken),
        by=device_name(device, threads=torch.get_num_threads()),
    )
