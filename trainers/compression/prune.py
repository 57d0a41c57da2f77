"""Structured pruning: whole channels leave the network, together with everything that is coupled to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from trainers.compression.criteria.criterion import CRITERIA, Criterion
from trainers.compression.criteria.diff_pruning import DiffPruning
from trainers.stage import STAGES, Stage

if TYPE_CHECKING:
    from trainers.models.arch_spec import ArchSpec
    from trainers.models.diffusion_model import DiffusionModel
    from trainers.run import Run

Ratio = Annotated[float, Field(ge=0, lt=1)]


@STAGES.register("prune")
@dataclass(frozen=True, kw_only=True)
class Prune(Stage):
    """Removes channels; the student keeps the teacher's remaining weights.

    Args:
        ratio: Share of channels to remove: one number for all blocks, or one per block (``down_0``, ``mid``, ``up_0``,
            ``time`` ...; blocks that are not named keep all). Input and output channels of the image are never removed.
        criterion: Which channels go first.
        rule: ``paper`` removes the same count, floor(ratio * s), from each norm group of s channels, as Diff-Pruning
            does; ``flexible`` ranks freely, and norm groups become uneven (Flexible Group Normalization).
    """

    ratio: Ratio | dict[str, Ratio] = 0.0
    criterion: Annotated[Criterion, CRITERIA] = field(default_factory=DiffPruning)
    rule: Literal["paper", "flexible"] = "paper"

    def plan(self, spec: ArchSpec) -> ArchSpec:
        from trainers.compression import _pruning

        return _pruning.planned(spec, ratio=self.ratio, rule=self.rule)

    def apply(self, model: DiffusionModel, run: Run) -> DiffusionModel:
        from trainers.compression import _pruning

        return _pruning.pruned(self, model, run, ratio=self.ratio, rule=self.rule, criterion=self.criterion)

    def prepare(self, run: Run) -> None:
        from trainers.compression._importance import importance_of

        if self.criterion.needs_gradient:
            importance_of(run.teacher, run, self.criterion)
