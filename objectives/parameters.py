"""Number of parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from objectives import costs
from objectives.objective import OBJECTIVES, Measurement, Objective

if TYPE_CHECKING:
    from objectives.device_model import DeviceModel
    from trainers.models.arch_spec import ArchSpec
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run


@OBJECTIVES.register("parameters")
@dataclass(frozen=True, kw_only=True)
class Parameters(Objective):
    """Weights and biases of the network, in whatever precision they are stored."""

    title = "Parameters"
    is_exact = True

    def measure(self, model: DiffusionModel, run: Run) -> Measurement:
        return Measurement(value=float(costs.parameters(model.spec)))

    def predict(self, spec: ArchSpec, device: DeviceModel) -> float:
        return float(costs.parameters(spec))
