"""A model of a device: how long an architecture takes on it, known before anything is trained.

Calibrated once per device, number of threads and version of torch, in a few seconds, and kept in the cache.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from objectives._layer_terms import terms_of
from trainers.provenance import device_name

if TYPE_CHECKING:
    import torch

    from trainers.cache import Cache
    from trainers.models.arch_spec import ArchSpec


@dataclass(frozen=True, kw_only=True)
class DeviceModel:
    """Linear in the terms of the layers.

    Args:
        name: Of the device, with its threads: ``cpu: AMD EPYC (1 thread)``.
        weights: Seconds per term, by kind of layer (``_layer_terms``).
        generation_seconds: What every generation costs besides its steps.
        forward_macs_per_second: MACs of a batch of 64 that a forward pass gets through each second.
        forward_layer_seconds: And what each layer costs besides, whatever the batch.
        train_macs_per_second, train_layer_seconds: The same of forward and backward pass together.
    """

    name: str
    weights: Mapping[str, tuple[float, ...]]
    generation_seconds: float
    forward_macs_per_second: float
    forward_layer_seconds: float
    train_macs_per_second: float
    train_layer_seconds: float

    def predict(self, spec: ArchSpec, *, batch: int = 1) -> float:
        """Milliseconds of one full generation; takes a fraction of a millisecond."""
        step_seconds = sum(
            weight * value
            for kind, values in terms_of(spec, batch=batch).items()
            for weight, value in zip(self.weights[kind], values, strict=True)
        )
        return 1000 * (self.generation_seconds + spec.evaluations * step_seconds)

    def training_seconds(self, spec: ArchSpec, *, images: float, batch: int) -> float:
        """About how long it takes to train on so many images; without the optimiser, and without a teacher."""
        layers, macs = len(spec.layers), sum(layer.macs for layer in spec.layers.values())
        return images / batch * layers * self.train_layer_seconds + images * macs / self.train_macs_per_second

    def forward_seconds(self, spec: ArchSpec, *, images: float, batch: int) -> float:
        """About how long so many images take through the network once, such as a teacher's or one sampling step's."""
        layers, macs = len(spec.layers), sum(layer.macs for layer in spec.layers.values())
        return images / batch * layers * self.forward_layer_seconds + images * macs / self.forward_macs_per_second


def calibrated(device: torch.device, cache: Cache, *, threads: int | None = None) -> DeviceModel:
    """The model of ``device``, calibrated now if it is not in the cache.

    Args:
        threads: That measurements will run on; this process's own number when left out.
    """
    import torch

    from objectives import _calibration

    threads = threads or torch.get_num_threads()
    name = device_name(device, threads=threads)
    key = {"device": name, "torch": torch.__version__, "calibration": _source_hash()}
    stored = cache.tensors("device", key, lambda: _calibration.measured(device, cache, threads=threads))
    weights = {kind: tuple(vector.tolist()) for kind, vector in stored.items()}
    generation, forward_rate, forward_layer, train_rate, train_layer = weights.pop(_calibration.RATES)
    return DeviceModel(
        name=name,
        weights=weights,
        generation_seconds=generation,
        forward_macs_per_second=forward_rate,
        forward_layer_seconds=forward_layer,
        train_macs_per_second=train_rate,
        train_layer_seconds=train_layer,
    )


@lru_cache(maxsize=1)
def _source_hash() -> str:
    """Changes with the terms, their calibration and our layers and drawing, so that no other weights are applied."""
    from trainers.models import diffusion, group_norm, quantized, sampling
    from trainers.models.samplers import ddim

    own = [
        Path(__file__).parent / f"{name}.py" for name in ("_calibration", "_layer_terms", "_micro", "_timing", "_unets")
    ]
    digest = hashlib.sha256()
    for path in (*own, *(Path(str(module.__file__)) for module in (diffusion, group_norm, quantized, sampling, ddim))):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
