"""Multiply-accumulates of one forward pass."""

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


@OBJECTIVES.register("macs_g")
@dataclass(frozen=True, kw_only=True)
class MacsG(Objective):
    """MACs of convolutions and linear layers in one forward pass of one image, in 10^9; FLOPs are twice as many.

    The matrix products inside attentions are not in it, as in the papers this is compared with;
    ``costs.attention_macs`` counts them. Nor are the sampling steps: multiply for a whole generation.
    """

    title = "MACs per step"
    unit = "G"
    is_exact = True

    def measure(self, model: DiffusionModel, run: Run) -> Measurement:
        return Measurement(value=_giga_macs(model.spec))

    def predict(self, spec: ArchSpec, device: DeviceModel) -> float:
        return _giga_macs(spec)


def _giga_macs(spec: ArchSpec) -> float:
    return costs.macs(spec) / 1e9
