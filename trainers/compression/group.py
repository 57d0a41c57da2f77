"""Grouped convolution: each output channel reads only its own group of input channels (work on MNIST diffusion)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from trainers.bounds import Count
from trainers.stage import STAGES, Stage

if TYPE_CHECKING:
    from trainers.models.arch_spec import ArchSpec
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run


@STAGES.register("group")
@dataclass(frozen=True, kw_only=True)
class Group(Stage):
    """Splits every convolution, transposed ones too, whose two channel counts divide; the others stay dense.

    Args:
        groups: Number of groups, or ``max`` for the largest number that divides both counts of a layer.
        init: ``dense`` starts from the block diagonal of the dense weights; ``scratch`` from fresh weights, for such a
            network that is to be trained from scratch.
    """

    groups: Count | Literal["max"] = 1
    init: Literal["dense", "scratch"] = "dense"

    def plan(self, spec: ArchSpec) -> ArchSpec:
        from trainers.compression import _grouping

        return _grouping.planned(spec, groups=self.groups, init=self.init)

    def apply(self, model: DiffusionModel, run: Run) -> DiffusionModel:
        from trainers.compression import _grouping

        return _grouping.grouped(self, model, run)
