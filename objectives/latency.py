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
    repeats: Annotated[int, Field(ge=5)] = 50

    def measure(self, model: DiffusionModel, run: Run) -> Measurement:
        import statistics

        import torch

        from objectives._timing import alone, median_stderr, repeated_seconds
        from trainers.models.sampling import draw
        from trainers.provenance import device_name

        model = model.to(run.device)
        spec = model.spec
        shape = (1, spec.image_channels, spec.image_size, spec.image_size)
        noise_BCHW = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(run.device)
        label_B = torch.zeros(1, dtype=torch.long, device=run.device) if spec.network.classes else None

        def generate() -> None:
            draw(model, noise_BCHW, label_B)

        with alone(run.cache.folder):
            repeated_seconds(generate, device=run.device, least=2, most=2, within=0)  # warm-up
            taken = repeated_seconds(generate, device=run.device, least=5, most=self.repeats, within=self.seconds)
        return Measurement(
            value=1000 * statistics.median(taken),
            stderr=1000 * median_stderr(taken),
            samples=len(taken),
            by=device_name(run.device, threads=torch.get_num_threads()),
        )

    def predict(self, spec: ArchSpec, device: DeviceModel) -> float:
        return device.predict(spec)
