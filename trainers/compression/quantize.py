"""Weight-only quantisation: weights are stored in fewer bits and restored when they are used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from trainers.stage import STAGES, Stage

if TYPE_CHECKING:
    from trainers.models.arch_spec import ArchSpec
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run


@STAGES.register("quantize")
@dataclass(frozen=True, kw_only=True)
class Quantize(Stage):
    """Stores the weights of convolutions and linear layers in fewer bits; not trained further after this.

    Args:
        bits: 8 (blocks of 256 weights) or 4 (blocks of 64); 32 leaves the model as it is.
        format: Of 4 bits: ``nf4`` (quantiles of a normal distribution) or ``fp4``.
        skip: Layers kept in full precision, by name pattern (``conv_out``, ``mid*``).
    """

    bits: Literal[32, 8, 4]
    format: Literal["nf4", "fp4"] = "nf4"
    skip: tuple[str, ...] = ()

    def plan(self, spec: ArchSpec) -> ArchSpec:
        from trainers.compression import _quantizing

        return _quantizing.planned(spec, bits=self.bits, format=self.format, skip=self.skip)

    def apply(self, model: DiffusionModel, run: Run) -> DiffusionModel:
        from trainers.compression import _quantizing

        return _quantizing.quantized(self, model, bits=self.bits, format=self.format, skip=self.skip)
