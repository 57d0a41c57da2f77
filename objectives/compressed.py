"""Size of the stored tensors after a general compressor went over them: where zeros of masks are worth something."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from objectives.objective import OBJECTIVES, Measurement, Objective
from trainers.models import stored_bits

if TYPE_CHECKING:
    from objectives.device_model import DeviceModel
    from trainers.models.arch_spec import ArchSpec, Layer
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run

_BYTES_PER_MB = 1_000_000


@OBJECTIVES.register("compressed_mb")
@dataclass(frozen=True, kw_only=True)
class CompressedMb(Objective):
    """Bytes of the compressed model file, its text left out, in MB of 10^6 bytes; predicted to about 5 % before.

    Args:
        codec: ``zlib`` or ``zstd``.
        level: Of the codec, 1 is fastest: zlib to 9, zstd to 19.
    """

    title = "Compressed size"
    unit = "MB"

    codec: Literal["zlib", "zstd"] = "zlib"
    level: Annotated[int, Field(ge=1, le=19)] = 6

    def measure(self, model: DiffusionModel, run: Run) -> Measurement:
        from safetensors.torch import save

        from trainers.models.files import packed

        state, _ = packed(model)
        return Measurement(value=len(self._compressed(save(state))) / _BYTES_PER_MB)

    def predict(self, spec: ArchSpec, device: DeviceModel) -> float:
        return sum(_predicted_bytes(layer) for layer in spec.layers.values()) / _BYTES_PER_MB

    def _compressed(self, content: bytes) -> bytes:
        if self.codec == "zlib":
            return zlib.compress(content, min(self.level, 9))
        import pyarrow

        compressed: bytes = pyarrow.Codec("zstd", compression_level=self.level).compress(content, asbytes=True)
        return compressed


#: What is left of weights by bits, at each share of zeros: normal weights, mean of both codecs. Trained weights are
#: nearly normal, and the codecs differ by a few per cent.
_SHARES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 1.0)
_LEFT = {
    32: (0.925, 0.87, 0.72, 0.545, 0.355, 0.134, 0.045, 0.001),
    16: (0.92, 0.885, 0.755, 0.595, 0.405, 0.163, 0.057, 0.001),
    8: (0.912, 0.865, 0.765, 0.62, 0.45, 0.2, 0.077, 0.001),
    4: (0.965, 0.956, 0.87, 0.725, 0.55, 0.265, 0.105, 0.001),
}


def _predicted_bytes(layer: Layer) -> float:
    weights = stored_bits.weight_bytes(layer) * _left(layer.bits, layer.zeros)
    biases = stored_bits.bias_bytes(layer) * _left(layer.bias_bits, layer.zeros)
    return weights + stored_bits.scale_bytes(layer) * _left(32, 0.0) + biases


def _left(bits: int, zeros: float) -> float:
    left = _LEFT[bits]
    upper = next(place for place, share in enumerate(_SHARES) if share >= zeros)
    if upper == 0:
        return left[0]
    low, high = _SHARES[upper - 1], _SHARES[upper]
    return left[upper - 1] + (left[upper] - left[upper - 1]) * (zeros - low) / (high - low)
