"""How long a batch of images takes to generate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from objectives.objective import OBJECTIVES, Measurement, Objective
from trainers.bounds import BatchSize

if TYPE_CHECKING:
    import torch

    from objectives.device_model import DeviceModel
    from trainers.cache import Cache
    from trainers.models.arch_spec import ArchSpec
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run


@OBJECTIVES.register("generation_ms")
@dataclass(frozen=True, kw_only=True)
class GenerationMs(Objective):
    """Median time in which one batch is generated, all sampling steps, on the run's device and threads.

    Where ``latency_ms`` asks how long one image takes, this shows what the device gets through: small networks are slow
    by their number of layers alone until a batch is large. ``search.analyse MODEL --what generation`` measures several
    batch sizes. ``Measurement.by`` names the device. Predicted as latency is, to about 10 % on a CPU while a layer's
    images fit its caches; beyond, and for grouped layers, a large batch takes up to twice what is predicted.

    Args:
        batch: Images at a time.
        seconds: Batches are repeated for about so long, 5 at least.
        repeats: And so often at most.
    """

    title = "Time of one batch on this device"
    unit = "ms"

    batch: BatchSize = 64
    seconds: Annotated[float, Field(gt=0)] = 0.5
    repeats: Annotated[int, Field(ge=5, le=10**6)] = 50

    def measure(self, model: DiffusionModel, run: Run) -> Measurement:
        from objectives._generation import timed_generation

        return timed_generation(
            model, device=run.device, cache=run.cache, batch=self.batch, seconds=self.seconds, repeats=self.repeats
        )

    def predict(self, spec: ArchSpec, device: DeviceModel) -> float:
        return device.predict(spec, batch=self.batch)


def generation_curve(
    model: DiffusionModel, batches: Sequence[int], *, device: torch.device, cache: Cache
) -> Iterator[tuple[int, Measurement]]:
    """Each batch size with the time of one batch in milliseconds, as ``generation_ms`` measures it."""
    from objectives._generation import timed_generation

    for batch in batches:
        usual = GenerationMs(batch=batch)
        yield (
            batch,
            timed_generation(
                model, device=device, cache=cache, batch=batch, seconds=usual.seconds, repeats=usual.repeats
            ),
        )
