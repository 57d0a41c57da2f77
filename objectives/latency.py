"""How long one image takes to generate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from objectives.objective import OBJECTIVES, Measurement, Objective

if TYPE_CHECKING:
    from objectives.device_model import DeviceModel
    from trainers.models.arch_spec import ArchSpec
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run


@OBJECTIVES.register("latency_ms")
@dataclass(frozen=True, kw_only=True)
class LatencyMs(Objective):
    """Median time of one full generation, all sampling steps, at batch 1 on the run's device and threads.

    Two trials never measure latency at the same time on one machine, but trials that train on its other cores go on and
    cost some cache and memory bandwidth. On one CPU thread, time without a core does not count. ``Measurement.by``
    names the device.

    Args:
        seconds: Generations are repeated for about so long, 5 at least.
        repeats: And so often at most.
    """

    title = "Latency of one image on this device"
    unit = "ms"

    seconds: Annotated[float, Field(gt=0)] = 0.5
    repeats: Annotated[int, Field(ge=5, le=10**6)] = 50

    def measure(self, model: DiffusionModel, run: Run) -> Measurement:
        from objectives._generation import timed_generation

        return timed_generation(
            model, device=run.device, cache=run.cache, batch=1, seconds=self.seconds, repeats=self.repeats
        )

    def predict(self, spec: ArchSpec, device: DeviceModel) -> float:
        return device.predict(spec)
