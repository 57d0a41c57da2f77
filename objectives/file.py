"""Size of the model file, to the last byte."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from objectives.objective import OBJECTIVES, Measurement, Objective

if TYPE_CHECKING:
    from objectives.device_model import DeviceModel
    from trainers.models.arch_spec import ArchSpec
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run

_BYTES_PER_MB = 1_000_000


@OBJECTIVES.register("file_mb")
@dataclass(frozen=True, kw_only=True)
class FileMb(Objective):
    """Bytes of the model file as it is saved, in MB of 10^6 bytes: ``size_mb``, a header and what was done to it.

    The text takes some 20 kB, more with every layer: next to nothing of published networks (0.03 % of the CIFAR-10
    teacher), but a third of a small student in 4 bits. Predicted without the log and the surviving channels, which
    only the finished model has: a few per cent of a small student.
    """

    title = "Size of the file"
    unit = "MB"

    def measure(self, model: DiffusionModel, run: Run) -> Measurement:
        from safetensors.torch import save

        from trainers.models.files import packed

        state, metadata = packed(model)
        return Measurement(value=len(save(state, metadata=metadata)) / _BYTES_PER_MB)

    def predict(self, spec: ArchSpec, device: DeviceModel) -> float:
        from trainers.models.file_size import file_bytes

        # The architecture is a text within the header's text, so its quotes are escaped.
        return (file_bytes(spec) + len(json.dumps(spec.to_json()))) / _BYTES_PER_MB
