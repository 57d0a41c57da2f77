"""Quantisation: weights are stored in fewer bits and restored when they are used."""

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
    """Stores weights in fewer bits. Several of them add up: a weight that is stored in fewer bits already stays so.

    A stage that trains later trains the rest, such as biases and norms; weights in 8 or 4 bits stay as they are.

    Patterns name layers (``conv_out``, ``*.to_q``) or blocks (``mid``, ``down_*``).

    Args:
        bits: 16 (float16: every layer with weights), 8 (blocks of 256 weights) or 4 (blocks of 64); 32 leaves the model
            as it is, whatever the other options are.
        format: Of 4 bits: ``nf4`` (quantiles of a normal distribution) or ``fp4``.
        layers: ``all`` convolutions and linear layers, or only the ``linear`` ones.
        rest: 16 stores everything else as float16, norms, embeddings and every bias included, inside ``where`` or not.
        activations: 8 multiplies linear layers in int8 with quantised activations, each row of weights with one scale
            (LLM.int8(), Dettmers et al. 2022); needs 8 bits. Convolutions stay weight-only.
        where: Only the layers that one of these patterns names.
        skip: Layers kept in full precision, ``rest`` or not.
        dequantise_once: Restore each weight at first use and keep it dense in memory: as fast as before quantisation,
            small on disk only. Layers with 8-bit activations need no restoring.
    """

    bits: Literal[32, 16, 8, 4]
    format: Literal["nf4", "fp4"] = "nf4"
    layers: Literal["all", "linear"] = "all"
    rest: Literal[32, 16] = 32
    activations: Literal[32, 8] = 32
    where: str | tuple[str, ...] = "*"
    skip: str | tuple[str, ...] = ()
    dequantise_once: bool = False

    def plan(self, spec: ArchSpec) -> ArchSpec:
        from trainers.compression import _quantizing

        return _quantizing.planned(self, spec)

    def apply(self, model: DiffusionModel, run: Run) -> DiffusionModel:
        from trainers.compression import _quantizing

        return _quantizing.quantized(self, model)
