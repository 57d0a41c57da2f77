"""Size of the stored tensors."""

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

_BYTES_PER_MB = 1_000_000


@OBJECTIVES.register("size_mb")
@dataclass(frozen=True, kw_only=True)
class SizeMb(Objective):
    """Bytes of the stored tensors in MB of 10^6 bytes (not MiB), with the scales of quantised weights."""

    title = "Size"
    unit = "MB"
    is_exact = True

    def measure(self, model: DiffusionModel, run: Run) -> Measurement:
        return Measurement(value=_megabytes(model.spec))

    def predict(self, spec: ArchSpec, device: DeviceModel) -> float:
        return _megabytes(spec)


def _megabytes(spec: ArchSpec) -> float:
    return costs.stored_bytes(spec) / _BYTES_PER_MB
