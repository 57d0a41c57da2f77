"""Unstructured pruning: single weights become zero, and the network keeps its shape (work on MNIST diffusion)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from trainers.stage import STAGES, Stage

if TYPE_CHECKING:
    from trainers.models.arch_spec import ArchSpec
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run


@STAGES.register("mask")
@dataclass(frozen=True, kw_only=True)
class Mask(Stage):
    """Sets single weights to zero and keeps them there in training; only the compressed size falls (compressed_mb).

    MACs, latency and size_mb stay what they are: a dense kernel multiplies zeros too. Weights and biases of
    convolutions and linear layers count; norms, and what all blocks share of time and label, are left out. Of two
    masks one after the other, the second counts the zeros of the first as its own.

    Args:
        ratio: Share of the weights that is zero afterwards.
        method: ``l1`` takes those nearest to zero, ``random`` any.
        scope: ``global``: the whole network; ``middle`` or ``end``: only the inner or the outer part of the U.
        rank: ``together`` compares the weights of all layers in scope, ``each`` takes the same share of every tensor.
    """

    ratio: Annotated[float, Field(ge=0, lt=1)]
    method: Literal["l1", "random"] = "l1"
    scope: Literal["global", "middle", "end"] = "global"
    rank: Literal["together", "each"] = "together"

    def plan(self, spec: ArchSpec) -> ArchSpec:
        from trainers.compression import _masking

        return _masking.planned(self, spec)

    def apply(self, model: DiffusionModel, run: Run) -> DiffusionModel:
        from trainers.compression import _masking

        return _masking.masked(self, model, run)
